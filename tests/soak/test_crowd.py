"""The crowd and the races, for a few seconds."""

from pathlib import Path

import pytest

from tests.soak.crowd import crowd, new_lake
from tests.soak.race import insert_twice, run_at_once

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_lake(tmp_path_factory.mktemp("crowd") / "lake")


def test_crowd__loses_nothing_and_sees_whole_commits(path: Path) -> None:
    found = crowd(path, seconds=4.0, writers=3, readers=1)
    assert (found.errors, found.torn, found.lost) == ([], [], [])
    assert len(found.latencies) >= 3
    assert found.looks >= 2


def test_shard__that_two_insert_is_there_once(path: Path) -> None:
    stored, refused = insert_twice(path, 12)
    assert stored == [1] * 12
    assert refused == 12


def test_run__that_three_start_is_done_once(path: Path) -> None:
    done = run_at_once(path, 3)
    assert sorted(done) == ["did", "found", "found"]
