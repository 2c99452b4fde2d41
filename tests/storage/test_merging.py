"""Merging small files: the same rows in fewer files, whoever else is at work."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actlake.storage import Lake, merging
from actlake.storage.errors import CorruptError
from actlake.storage.merging import merge_small_files
from actlake.storage.run import Run
from actlake.storage.table_files import live_files, replace_files
from tests.storage.conftest import content, fresh_name
from tests.storage.test_retention import damaged

MASKS = "SELECT mask, predicate, fingerprint FROM masks ORDER BY mask"


def merged(lake: Lake) -> dict[str, int]:
    """Merge; how many files of each table went into one."""
    with lake.run("test", {"merge": fresh_name()}, {}) as run:
        return {one.table: one.files for one in merge_small_files(run)}


def files(lake: Lake, table: str) -> list[str]:
    connection = lake._connection()
    ask: Callable[..., Any] = lambda query, **given: connection.execute(query, given).fetchall()  # noqa: E731
    return [one.path for one in live_files(ask, table)]


@pytest.fixture(scope="module")
def many_files(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with five masks, each from a commit of its own, of which one is gone again."""
    root = Path(shutil.copytree(empty_lake, tmp_path_factory.mktemp("many") / "lake"))
    with closing(Lake.open(root)) as lake:
        for index in range(5):
            lake.create_mask(f"m{index}", f"position > {index}")
        lake._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask = 'm3'"), "test")
    return root


@pytest.fixture
def many(many_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    monkeypatch.setattr(merging, "FEWEST_FILES", 4)
    with closing(Lake.open(shutil.copytree(many_files, tmp_path / "lake"))) as lake:
        yield lake


def test_merge__keeps_the_rows_and_the_older_snapshots(many: Lake) -> None:
    before, runs, snapshot = (
        many.sql(MASKS).pl(),
        many.table("runs").collect(),
        many.newest_snapshot(),
    )
    assert len(files(many, "masks")) == 5  # with that of the three that every lake has

    found = merged(many)

    assert found == {"runs": 6, "masks": 5}
    assert many.sql(MASKS).pl().equals(before)
    assert many.table("runs").collect().sort("run").head(5).equals(runs.sort("run"))
    assert many.at(snapshot).sql(MASKS).pl().equals(before)
    [path] = files(many, "masks")
    assert path in many._claims.files()
    assert merged(many) == {}
    assert files(many, "masks") == [path]
    assert damaged(many) == []


def test_merge__leaves_few_and_large_files_alone(
    many: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "FEWEST_FILES", 30)
    assert merged(many) == {}
    monkeypatch.setattr(merging, "FEWEST_FILES", 2)
    monkeypatch.setattr(merging, "SMALL_BYTES", 10)
    assert merged(many) == {}


def test_merge__takes_in_what_another_commits_meanwhile(
    many: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, other = replace_files, Lake.open(many.root)
    late: list[str] = []

    def slow(run: Run, table: str, *rest: Any) -> bool:
        if table == "masks" and not late:
            other._catalog.commit(
                lambda now: now.execute("DELETE FROM masks WHERE mask = 'm4'"), "late"
            )
            late.append(table)
        return replace(run, table, *rest)

    monkeypatch.setattr(merging, "replace_files", slow)
    assert merged(many)["masks"] == 4
    assert "m4" not in many.sql(MASKS).pl()["mask"].to_list()
    assert many.sql(MASKS).pl()["mask"].to_list() == other.sql(MASKS).pl()["mask"].to_list()
    unnamed = {path.name for path in Path(many.root / "tables/main/masks").iterdir()} - {
        path.rpartition("/")[2] for path in many._claims.files()
    }
    assert unnamed == set()  # what the first try staged is gone
    other.close()
    assert damaged(many) == []


@pytest.mark.parametrize("kind", ["rows", "deletes"])
def test_merge__refuses_a_file_that_has_rotted(kind: str, many: Lake) -> None:
    """What it writes gets a hash of its own, so rot that it read could never be found again."""
    many._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask = 'all'"), "test")
    if kind == "rows":  # well formed, and another predicate
        of_file = "SELECT filename FROM masks WHERE mask = 'm2'"
        path = Path(many._connection().execute(of_file).fetchall()[0][0])
        table = pq.read_table(path)
        path.chmod(0o644)
        pq.write_table(table.set_column(1, "predicate", pa.array(["position > 7"])), path)
    else:  # which of the rows that every lake has were deleted
        [path] = (many.root / "tables/main/masks").glob("*-delete.parquet")
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"2")
    name = path.relative_to(many.root).as_posix()
    with many.run("test", {"rotten": kind}, {}) as run:
        tables = merge_small_files(run)
        assert next(tables).table == "runs"  # which is sound
        before = content(many)
        with pytest.raises(CorruptError, match=rf"{name} is not what was committed, .*verify`$"):
            next(tables)
        assert content(many) == before
    assert damaged(many) == [name]
