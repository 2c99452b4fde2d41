"""Merging small files: the same rows in fewer files, whoever else is at work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actlake.storage import Lake, merging
from actlake.storage.merging import merge_small_files
from actlake.storage.run import Run
from actlake.storage.table_files import live_files, replace_files
from tests.storage.conftest import fresh_name

MASKS = "SELECT mask, predicate, fingerprint FROM masks ORDER BY mask"


def merged(lake: Lake) -> dict[str, int]:
    """Merge; how many files of each table went into one."""
    with lake.run("test", {"merge": fresh_name()}, {}) as run:
        return {one.table: one.files for one in merge_small_files(run)}


def files(lake: Lake, table: str) -> list[str]:
    connection = lake._connection()
    ask: Callable[..., Any] = lambda query, **given: connection.execute(query, given).fetchall()  # noqa: E731
    return [one.path for one in live_files(ask, table)]


@pytest.fixture
def many(fresh: Lake) -> Lake:
    """A lake with ten masks, each from a commit of its own, of which one is gone again."""
    for index in range(10):
        fresh.create_mask(f"m{index}", f"position > {index}")
    fresh._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask = 'm4'"), "test")
    return fresh


def test_merge__keeps_the_rows_and_the_older_snapshots(many: Lake) -> None:
    before, runs, snapshot = (
        many.sql(MASKS).pl(),
        many.table("runs").collect(),
        many.newest_snapshot(),
    )
    assert len(files(many, "masks")) == 10  # with that of the three that every lake has

    found = merged(many)

    assert found == {"runs": 11, "masks": 10}
    assert many.sql(MASKS).pl().equals(before)
    assert many.table("runs").collect().sort("run").head(10).equals(runs.sort("run"))
    assert many.at(snapshot).sql(MASKS).pl().equals(before)
    [path] = files(many, "masks")
    assert path in many._claims.files()
    assert merged(many) == {}
    assert files(many, "masks") == [path]
    assert [*many.verify()] == []


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
                lambda now: now.execute("DELETE FROM masks WHERE mask = 'm7'"), "late"
            )
            late.append(table)
        return replace(run, table, *rest)

    monkeypatch.setattr(merging, "replace_files", slow)
    assert merged(many)["masks"] == 9
    assert "m7" not in many.sql(MASKS).pl()["mask"].to_list()
    assert many.sql(MASKS).pl()["mask"].to_list() == other.sql(MASKS).pl()["mask"].to_list()
    unnamed = {path.name for path in Path(many.root / "tables/main/masks").iterdir()} - {
        path.rpartition("/")[2] for path in many._claims.files()
    }
    assert unnamed == set()  # what the first try staged is gone
    other.close()
    assert [*many.verify()] == []
