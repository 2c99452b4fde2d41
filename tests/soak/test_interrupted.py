"""Kill a flow anywhere, or let the disk refuse it: that is told in one line, and what the next run
leaves is what an undisturbed one would have left."""

import errno
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from actlake.flows.cli import main
from actlake.flows.gc import would_remove
from actlake.storage.lake import Lake
from tests.flows.aftermath import resumed, swept
from tests.flows.commands import refused
from tests.flows.places import Servers
from tests.flows.scenes import Stage
from tests.flows.victims import STEPS, Attack, Ended, Victim, run
from tests.postgres import Server
from tests.s3 import Objects
from tests.soak import disk
from tests.soak.crashes import Attacks, attempt
from tests.soak.race import flow_twice

pytestmark = pytest.mark.slow
INLINE = ("--runner", "inline")

STARTING = (
    *("lock:1:end", "claim:1", "claim:3:end", "stage:1", "write:1:end", "fsync:1", "link:1:end"),
    *("unlink:1", "pin:1:end", "begin:1:end", "register:1", "hashes:1:end", "commit:1"),
    *("land:1:end", "start:1:end"),
)
"""The first commit of a run, which says that it has begun."""
KILLS = {
    "extract": (
        *STARTING,
        *("name:1", "rename:1:end", "capture:2", "link:5", "commit:5:end"),
        *("end:1", "unpin:1:end", "release:1"),
    ),
    "train": ("checkpoint:3:end", "train:5", "replace:4", "end:1"),
    "encode": ("encode:3:end", "rename:3"),
    "maintain": ("swap:1:end", "record:1", "remove:1"),
}
"""Of one lake each, one after the other."""
FEW = {
    "extract": ("hashes:1:end", "link:5", "commit:5:end"),
    "train": ("train:5", "end:1"),
}
"""Those that every test run has."""
IN_A_ROW = 8


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


def test_steps__are_all_among_the_kills() -> None:
    found = {at.partition(":")[0] for those in KILLS.values() for at in those}
    assert found == STEPS.keys() - {"summarize", "spool", "put", "erase"}  # the rest is the soak's


@pytest.mark.parametrize(
    ("name", "kills"),
    [
        *FEW.items(),
        *(pytest.param(name, KILLS[name], marks=pytest.mark.soak) for name in KILLS),
    ],
)
def test_flow__killed_at_steps(
    name: str, kills: tuple[str, ...], stage: Stage, tmp_path: Path
) -> None:
    found = attempt(Attacks(stage, name, [{"at": at} for at in kills]), tmp_path / "killed")
    assert found.wrong == ()
    assert found.kills == len(kills)


def test_gc__finds_and_removes_what_a_killed_run_left(stage: Stage, tmp_path: Path) -> None:
    place = stage.start("extract", tmp_path / "lake")
    run(stage.scene("extract").flow, place, at="register:7")  # shards that no commit takes in
    with closing(Lake.open(place)) as lake:
        found = would_remove(lake, grace_hours=0).now
        assert {one.path.partition("/")[0] for one in found} == {"tables", "tensors"}
        assert [*swept(lake)] == []
        assert [*lake.verify()] == []


def test_extraction__that_two_start_is_done_once(stage: Stage, tmp_path: Path) -> None:
    assert flow_twice(stage, "extract", tmp_path / "twice") == []


def test_extraction__killed_at_ten_random_moments(stage: Stage, tmp_path: Path) -> None:
    """Eight times on one lake, early moments first, and once on each of two more."""
    right, scene = stage.right("extract"), stage.scene("extract")
    random, seconds = np.random.default_rng(0), right.ended.seconds
    lake = stage.start("extract", tmp_path / "lake")
    moments = [*np.sort(random.uniform(0.3, 1, IN_A_ROW)) * seconds]
    ended: list[Ended] = []
    while moments:
        ended.append(Victim(scene.flow, lake, Attack(after=moments.pop(0))).end())
        assert ended[-1].error is None
        if not ended[-1].killed:  # a resumed run is shorter, and this one came to its end
            assert len(ended) < 3 * IN_A_ROW
            moments.append(random.uniform(0.3, 0.9) * ended[-1].seconds)
    assert sum(one.killed for one in ended) == IN_A_ROW
    assert resumed(scene, lake, right, *ended) == []
    for part in (0.75, 0.9):  # when what extracts is loaded
        late = attempt(Attacks(stage, "extract", [{"after": part * seconds}]), tmp_path / "late")
        assert (late.wrong, late.kills) == ((), 1)


@pytest.mark.parametrize(("step", "later"), [("capture", 0), ("commit", 2)])
def test_extraction__killed_while_shards_wait_for_a_commit(
    stage: Stage, tmp_path: Path, step: str, later: int
) -> None:
    """As the last is captured, and in the commit of all, which the seal and the end come after."""
    right, scene = stage.right("extract"), stage.scene("extract")
    shards = right.ended.calls["capture"]
    calls = run(scene.flow, stage.start("extract", tmp_path / "whole"), patience=1e6).calls
    lake = stage.start("extract", tmp_path / "lake")
    ended = run(scene.flow, lake, at=f"{step}:{calls[step] - later}", patience=1e6)
    with closing(Lake.open(lake)) as opened:
        of_flow = "SELECT DISTINCT shard FROM shards JOIN runs USING (run) WHERE flow = 'extract'"
        assert [*opened.sql(of_flow).rows()] == [(0,)]
    # All that waited is done again, and nothing of it is left.
    assert resumed(replace(scene, in_flight=shards), lake, right, ended) == []


@pytest.mark.soak
def test_extraction__killed_on_postgres_and_s3(
    postgres: Server, s3: Objects, tmp_path: Path
) -> None:
    away = Stage(tmp_path / "stage", Servers(postgres, s3))
    kills = [{"at": at} for at in ("put:9", "hashes:9:end", "commit:8:end")]
    found = attempt(Attacks(away, "extract", kills, sweep=True), tmp_path / "killed")
    assert (found.wrong, found.kills) == ((), len(kills))
    assert flow_twice(away, "extract", tmp_path / "twice") == []


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
