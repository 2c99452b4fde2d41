"""An export is the lake at one snapshot, whole or not there, readable without actlake."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from actlake import sql
from actlake.flows import export as module
from actlake.flows.export import export
from actlake.flows.export_record import claim_on, reason, release_pins
from actlake.storage.backup import back_up, restore
from actlake.storage.errors import InputError
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.flows.found_lake import shared_found_lake  # noqa: F401 - a fixture
from tests.storage.test_retention import grow

READER = """
import sys, duckdb
con = duckdb.connect(sys.argv[1], read_only=True, config={"autoload_known_extensions": "false"})
for name in sys.argv[2:]:
    print(name, con.sql(f"SELECT count(*) FROM {name}").fetchone()[0])
assert not [name for name in sys.modules if name.startswith("actlake")]
"""


@pytest.fixture(scope="module")
def lake(found_lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A copy: an export leaves a pin."""
    copy = tmp_path_factory.mktemp("exported") / "lake"
    return Lake.open(shutil.copytree(found_lake.root, copy))


@pytest.fixture(scope="module")
def folder(lake: Lake) -> Path:
    export(lake, lake.root / "export")
    return lake.root / "export"


@dataclass(frozen=True)
class Exported:
    """A lake without codes, whose newest of two snapshots is exported, and backed up before it."""

    lake: Lake
    out: Path

    def pins(self) -> list[int]:
        return [number for number, why in self.lake._claims.pins() if "is exported to" in why]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with such a ``lake`` and its export ``out``, once; most tests change a copy."""
    folder = tmp_path_factory.mktemp("made")
    (folder / ".out.0123.tmp" / "tables").mkdir(parents=True)
    (folder / ".other.0123.tmp").mkdir()
    (folder / "out").mkdir()
    with closing(Lake.create(folder / "lake")) as lake, pytest.MonkeyPatch.context() as patch:
        back_up(lake.root, lake._catalog, lake._claims, keep=1)
        grow(lake, "first")
        patch.setattr(module, "CSV_ROWS", 10)
        export(lake, folder / "out")
        lake._claims.unpin(reason(lake.newest_snapshot(), folder / "out"))
    return folder


@pytest.fixture
def exported(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exported]:
    """A copy, of which further exports have no pictures: half of their time."""
    monkeypatch.setattr(module, "_draw", lambda *_: {})
    out = Path(shutil.copytree(made / "out", tmp_path / "out"))
    with closing(Lake.open(shutil.copytree(made / "lake", tmp_path / "lake"))) as lake:
        lake._claims.pin(lake.newest_snapshot(), reason(lake.newest_snapshot(), out))
        yield Exported(lake, out)


def masks(out: Path) -> set[str]:
    """Those that are not in every lake."""
    names = set(pl.read_parquet(out / "tables" / "masks.parquet")["mask"].to_list())
    return names - {"all", "no_special", "not_first"}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_export__holds_every_row_of_every_table_three_times(lake: Lake, folder: Path) -> None:
    with duckdb.connect(str(folder / "lake.duckdb"), read_only=True) as database:
        for table, fields in TABLES.items():
            order = [f'"{field.name}"' for field in fields]
            select = f"SELECT {', '.join(order)} FROM {{}} ORDER BY ALL"
            rows = lake.sql(select.format(table)).rows()
            parquet = folder / "tables" / f"{table}.parquet"
            assert database.execute(select.format(table)).fetchall() == rows, table
            assert database.execute(select.format(f"'{parquet}'")).fetchall() == rows, table
            text = pl.read_csv(parquet.with_suffix(".csv"), infer_schema=False)
            assert (text.height, text.columns) == (len(rows), [field.name for field in fields])


def test_export__answers_a_plain_duckdb_wherever_it_is_moved(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copy(folder / "lake.duckdb", tmp_path / "renamed.db")
    names = [*sql.names("views"), *TABLES, "export"]
    run = subprocess.run(
        [sys.executable, "-c", READER, moved, *names], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    counts = dict(line.split() for line in run.stdout.splitlines())
    assert counts.keys() == set(names)
    assert counts["feature_summary"] == counts["feature_statistics"] == "32"
    assert counts["tokens_text"] == counts["tokens"] == "997"


def test_export__explains_itself(lake: Lake, folder: Path) -> None:
    snapshot = str(lake.newest_snapshot())
    with duckdb.connect(str(folder / "lake.duckdb"), read_only=True) as database:
        query = "SELECT lake, lake_id, snapshot FROM export"
        assert database.sql(query).fetchall() == [("lake", lake.settings.lake, snapshot)]
        query = "SELECT comment FROM duckdb_columns() WHERE table_name = 'codes'"
        comments = {comment for (comment,) in database.sql(query).fetchall()}
        assert comments == {field.meaning for field in TABLES["codes"]}
    metadata = pq.read_schema(folder / "tables" / "runs.parquet").metadata
    assert metadata[b"snapshot"] == snapshot.encode()
    readme = (folder / "README.txt").read_text()
    assert f"at snapshot {snapshot}" in readme
    assert "postings                       2,622 rows" in readme
    assert "Left out" not in readme


def test_export__has_plots_and_the_page(lake: Lake, folder: Path) -> None:
    assert {path.name for path in (folder / "plots").iterdir()} == {
        f"{kind}.{suffix}" for kind in module.PLOTS for suffix in ("png", "svg")
    }
    assert len(module.PLOTS) == 7
    text = (folder / "features.html").read_text("utf-8")
    assert f"{lake.newest_snapshot()}, committed 20" in text
    assert text.count('<img alt="') == 3
    assert "Report on lake" in (folder / "report.html").read_text("utf-8")


def test_export__is_not_made_twice(lake: Lake, folder: Path) -> None:
    made = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    files = export(lake, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == made
    assert set(files) == {path for path in made if path.is_file() and path.name != "export.json"}


def test_export__refuses_a_mask_that_is_not_summarized(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no codes are summarized under the mask all"):
        export(lake, tmp_path / "out", mask="all")
    with pytest.raises(InputError, match="0 features; give 1 or more"):
        export(lake, tmp_path / "out", features=0)
    assert not (tmp_path / "out").exists()


def test_export__says_what_it_left_out_and_clears_what_a_killed_one_left(made: Path) -> None:
    readme = (made / "out" / "README.txt").read_text()
    assert "plots/density: no codes are summarized" in readme
    assert "features.html: no codes are summarized" in readme
    rows = len(sql.names("schema"))
    assert f"tables/migrations.csv: {rows} rows are more than 10; use the Parquet" in readme
    names = {path.name for path in (made / "out" / "tables").iterdir()}
    assert "migrations.csv" not in names
    assert {"migrations.parquet", "masks.csv"} <= names
    assert {path.name for path in made.iterdir()} == {"lake", "out", ".other.0123.tmp"}


def test_export__of_a_newer_snapshot_replaces_the_old_one_and_its_pin(exported: Exported) -> None:
    lake, out = exported.lake, exported.out
    first = lake.newest_snapshot()
    assert (masks(out), exported.pins()) == ({"first"}, [first])
    grow(lake, "second")
    export(lake, out)
    assert (masks(out), exported.pins()) == ({"first", "second"}, [first + 1])

    export(lake.at(first), out)
    assert (masks(out), exported.pins()) == ({"first"}, [first])
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_export__is_made_again_when_its_number_is_of_another_history(exported: Exported) -> None:
    lake, out = exported.lake, exported.out
    number = lake.newest_snapshot()
    lake.close()
    restore(lake.root)
    assert (lake.newest_snapshot(), exported.pins()) == (number - 1, [])
    grow(lake, "second")
    assert lake.newest_snapshot() == number
    export(lake, out)
    assert (masks(out), exported.pins()) == ({"second"}, [number])


def test_export__that_is_found_complete_has_its_pin_again(
    exported: Exported, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, out = exported.lake, exported.out
    number = lake.newest_snapshot()
    lake._claims.unpin(reason(number, out))  # as claims from a backup that is older than it
    export(lake, out)
    assert "found complete" in capsys.readouterr().err
    assert exported.pins() == [number]


def test_release__drops_the_pins_of_exports_that_are_gone(
    exported: Exported, tmp_path: Path
) -> None:
    lake, out = exported.lake, exported.out
    number, claims = lake.newest_snapshot(), lake._claims
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "export.json").write_text("{")
    stay = {"kept by the test"} | {
        reason(number, one) for one in (out, tmp_path / "damaged", tmp_path / "in the making")
    }
    for why in (*stay, reason(number, tmp_path / "gone")):
        claims.pin(number, why)
    claims.pin(number - 1, reason(number - 1, out))  # of an export that was killed at its very end

    def reasons() -> set[str]:
        return {why for _, why in claims.pins() if not why.startswith("backup")}

    with claims.held(claim_on(tmp_path / "in the making")):
        release_pins(lake)
    assert reasons() == stay
    shutil.rmtree(out)
    export(lake, tmp_path / "other")
    assert reasons() == {
        "kept by the test",
        reason(number, tmp_path / "damaged"),
        reason(number, tmp_path / "other"),
    }


def test_export__that_is_not_what_is_asked_for_is_made_again(exported: Exported) -> None:
    file = exported.out / "tables" / "masks.parquet"
    whole = file.stat()
    file.write_bytes(file.read_bytes()[:-1])
    export(exported.lake, exported.out)
    mended = file.stat()
    assert (mended.st_size, mended.st_ino != whole.st_ino) == (whole.st_size, True)
    export(exported.lake, exported.out, features=7)
    assert file.stat().st_ino != mended.st_ino


def test_export__waits_for_another_and_finds_its_work_done(
    exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, file = exported.lake, exported.out / "README.txt"
    written = file.stat().st_ino
    monkeypatch.setattr("actlake.storage.run.POLL_SECONDS", 0.01)
    with ThreadPoolExecutor() as pool, closing(Lake.open(lake.root)) as other:
        with lake._claims.held(claim_on(exported.out)):
            second = pool.submit(export, other, exported.out)
            with pytest.raises(TimeoutError):
                second.result(0.5)
        assert file in second.result(60)
    assert file.stat().st_ino == written


def test_export__that_fails_leaves_the_old_one_and_nothing_else(exported: Exported) -> None:
    lake, out = exported.lake, exported.out
    old, pins = contents(out), exported.pins()
    grow(lake, "second")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("_readme", "publish_folder"):  # all but written, and after the old one is moved
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, step, crash)
            with pytest.raises(KeyboardInterrupt):
                export(lake, out)
        assert contents(out) == old
        assert exported.pins() == pins
        assert {path.name for path in out.parent.iterdir()} == {"lake", "out"}


def test_export__refuses_any_folder_but_an_empty_one_and_its_own(
    exported: Exported, tmp_path: Path
) -> None:
    lake, out = exported.lake, exported.out
    for place in (lake.root, lake.root / "tables" / "mine", lake.root / "codes"):
        with pytest.raises(InputError, match="part of the lake"):
            export(lake, place)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_text('{"files": []}')
    for name in ("file", "mine", "."):
        with pytest.raises(InputError, match="something else than an export"):
            export(lake, tmp_path / name)
    with pytest.raises(InputError, match="cannot write beside"):
        export(lake, tmp_path / "file" / "below")
    assert (tmp_path / "mine" / "export.json").read_text() == '{"files": []}'

    (out / "plots" / "mine.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"mine\.png is no part of the export"):
        export(lake, out, features=3)
    assert (out / "plots" / "mine.png").read_bytes() == b"mine"

    record = json.loads((out / "export.json").read_text())
    record["arguments"]["lake"] = "another"
    (out / "export.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="export of another lake"):
        export(lake, out)
