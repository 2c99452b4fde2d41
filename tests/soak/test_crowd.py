"""The crowd, for a few seconds."""

from pathlib import Path

import pytest

from tests.soak.crowd import crowd, new_lake

pytestmark = pytest.mark.slow


def test_crowd__loses_nothing_and_sees_whole_commits(tmp_path: Path) -> None:
    found = crowd(new_lake(tmp_path / "lake"), seconds=4.0, writers=3, readers=1)
    assert (found.errors, found.torn, found.lost) == ([], [], [])
    assert len(found.latencies) >= 3
    assert found.looks >= 2
