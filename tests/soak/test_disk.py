"""A disk that refuses is told in one line, and what it refused is done when it no longer does."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from actlake.flows.cli import main
from tests.flows.commands import refused
from tests.flows.scenes import Stage
from tests.soak import disk

pytestmark = pytest.mark.slow
INLINE = ("--runner", "inline")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize(
    ("at", "number"),
    [
        ("write:40", errno.ENOSPC),
        pytest.param("rename:2", errno.EROFS, marks=pytest.mark.soak),
    ],
)
def test_extraction__refused_by_the_disk(
    at: str, number: int, stage: Stage, tmp_path: Path
) -> None:
    assert disk.refused(stage, "extract", tmp_path / "lake", at=at, raises=number) == []


@pytest.mark.soak
def test_extraction__under_a_quota(stage: Stage, tmp_path: Path) -> None:
    # Its Parquet files fit, the log of its catalog does not.
    assert disk.refused(stage, "extract", tmp_path / "lake", largest_bytes=40_000) == []


@pytest.mark.soak
def test_extraction__on_a_disk_that_fills_up(stage: Stage, tmp_path: Path) -> None:
    if not disk.may_mount(tmp_path):
        pytest.skip("to mount a disk takes rights that this process does not have")
    assert disk.filled(stage, "extract", tmp_path, 110) == []


@pytest.mark.soak
def test_slow_disk__loses_no_claim(stage: Stage, tmp_path: Path) -> None:
    assert disk.slow(stage, tmp_path / "lake", 0.05, 3.0) == []


@pytest.mark.soak
def test_sleeper__commits_nothing_when_it_wakes_up(stage: Stage, tmp_path: Path) -> None:
    assert disk.asleep(stage, tmp_path / "lake", 1.0) == []


def test_command__says_it_in_one_line(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = stage.start("encode", tmp_path / "lake")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    line = refused(CliRunner().invoke(main, ["encode", "d", "--lake", str(lake), *INLINE]))
    assert f"Error: {lake}" in line
    assert "cannot be written (no space left on device); make room there" in line
