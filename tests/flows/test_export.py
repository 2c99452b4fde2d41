"""An export is the lake at one snapshot, whole or not there, readable without actlake."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest

from actlake import sql
from actlake.flows import export as module
from actlake.flows.export import export
from actlake.storage.claims import Claims
from actlake.storage.corpora import Document
from actlake.storage.errors import InputError
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.flows.found_lake import shared_found_lake  # noqa: F401 - a fixture

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


@pytest.fixture(scope="module")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "lake"
    Lake.create(path).close()
    return path


@pytest.fixture
def empty(empty_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    """A lake without codes, whose export takes no plots and little time."""
    with closing(Lake.open(shutil.copytree(empty_lake, tmp_path / "lake"))) as lake:
        yield lake


def grow(lake: Lake, name: str) -> None:
    lake.create_corpus(name, [Document("1", "some text")])


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
    with pytest.raises(InputError, match="at least 1 feature"):
        export(lake, tmp_path / "out", features=0)
    assert not (tmp_path / "out").exists()


def test_export__says_what_it_left_out_and_clears_what_a_killed_one_left(
    empty: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".out.0123.tmp" / "tables").mkdir(parents=True)
    (tmp_path / ".other.0123.tmp").mkdir()
    monkeypatch.setattr(module, "CSV_ROWS", 10)
    export(empty, tmp_path / "out")
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert "plots/density: no codes are summarized" in readme
    assert "features.html: no codes are summarized" in readme
    rows = len(sql.names("schema"))
    assert f"tables/migrations.csv: {rows} rows are more than 10; use the Parquet" in readme
    names = {path.name for path in (tmp_path / "out" / "tables").iterdir()}
    assert "migrations.csv" not in names
    assert {"migrations.parquet", "masks.csv"} <= names
    assert {path.name for path in tmp_path.iterdir()} == {"lake", "out", ".other.0123.tmp"}


@pytest.mark.slow
def test_export__of_a_newer_snapshot_replaces_the_old_one_and_its_pin(
    empty: Lake, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = empty.newest_snapshot()
    export(empty, out)
    grow(empty, "corpus")
    export(empty, out)
    newest = empty.newest_snapshot()
    assert len(pl.read_parquet(out / "tables" / "corpora.parquet")) == 1
    assert [snapshot for snapshot, _ in Claims(empty.root).pins()] == [newest]

    export(empty.at(first), out)
    assert len(pl.read_parquet(out / "tables" / "corpora.parquet")) == 0
    assert [snapshot for snapshot, _ in Claims(empty.root).pins()] == [first]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_export__that_is_not_what_is_asked_for_is_made_again(empty: Lake, tmp_path: Path) -> None:
    file = tmp_path / "out" / "tables" / "masks.parquet"
    export(empty, tmp_path / "out")
    whole = file.stat()
    file.write_bytes(file.read_bytes()[:-1])
    export(empty, tmp_path / "out")
    mended = file.stat()
    assert (mended.st_size, mended.st_ino != whole.st_ino) == (whole.st_size, True)
    export(empty, tmp_path / "out", features=7)
    assert file.stat().st_ino != mended.st_ino


@pytest.mark.slow
def test_export__that_fails_leaves_the_old_one_and_nothing_else(
    empty: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(empty, out)
    old, pins = contents(out), Claims(empty.root).pins()
    grow(empty, "corpus")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("_readme", "publish_folder"):  # all but written, and after the old one is moved
        with monkeypatch.context() as patch:
            patch.setattr(module, step, crash)
            with pytest.raises(KeyboardInterrupt):
                export(empty, out)
        assert contents(out) == old
        assert Claims(empty.root).pins() == pins
        assert {path.name for path in tmp_path.iterdir()} == {"lake", "out"}


def test_export__takes_an_empty_folder_and_refuses_any_other(empty: Lake, tmp_path: Path) -> None:
    for place in (empty.root, empty.root / "tables" / "mine", empty.root / "codes"):
        with pytest.raises(InputError, match="part of the lake"):
            export(empty, place)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "export.json").write_text('{"files": []}')
    for name in ("file", "mine", "."):
        with pytest.raises(InputError, match="something else than an export"):
            export(empty, tmp_path / name)
    with pytest.raises(InputError, match="cannot write beside"):
        export(empty, tmp_path / "file" / "below")
    assert (tmp_path / "mine" / "export.json").read_text() == '{"files": []}'

    (tmp_path / "out").mkdir()
    export(empty, tmp_path / "out")
    (tmp_path / "out" / "plots" / "mine.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"mine\.png is no part of the export"):
        export(empty, tmp_path / "out", features=3)
    assert (tmp_path / "out" / "plots" / "mine.png").read_bytes() == b"mine"

    record = json.loads((tmp_path / "out" / "export.json").read_text())
    record["arguments"]["lake"] = "another"
    (tmp_path / "out" / "export.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="export of another lake"):
        export(empty, tmp_path / "out")
