"""Disks that are full, failing, read-only or slow, and processes that sleep while others go on.

Each flow is told once, in one line, what the disk refuses; when that has ended it goes on, and
what it leaves is what an undisturbed run would have left.
"""

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from actlake.storage.spool import LIST
from tests.flows.aftermath import resumed
from tests.flows.scenes import DRIVEN, Stage
from tests.flows.victims import Attack, Ended, Victim, run
from tests.soak.outcome import Outcome

STEPS = ("write", "fsync", "link", "rename", "replace")
"""Of those that the system may refuse."""
REFUSALS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)
QUOTAS = 8
"""File sizes for each flow."""
ROOM = range(0, 260, 10)
"""KiB that are free on a disk when the flow begins: it is full within one of its writes."""


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    """Each refusal at each step of each flow; quotas; full disks; slow ones; sleepers."""
    stage = Stage(folder)
    places = (folder / f"attacked-{number}" / "lake" for number in range(1 << 30))
    for name in ("migrate", *DRIVEN):
        wrong = []
        for step, number in refusals(stage, name):
            call = random.integers(1, stage.right(name).ended.calls[step], endpoint=True)
            at = f"{step}:{call}"
            wrong.append(refused(stage, name, next(places), at=at, raises=number))
        yield outcome(f"{name} refused by the disk", wrong)
        largest = np.geomspace(64, 1 << 19, QUOTAS)
        quotas = [
            refused(stage, name, next(places), largest_bytes=int(one), must=False)
            for one in largest
        ]
        yield outcome(f"{name} under a quota", quotas)
    if may_mount(folder):
        for name in ("ingest", "extract", "encode"):
            full = [filled(stage, name, folder, room) for room in ROOM]
            yield outcome(f"{name} on a disk that fills up", full)
        yield outcome("lakes on a read-only disk", [read_only(stage, folder)])
    yield outcome("a flush takes 2 s longer", [slow(stage, next(places), 2.0, 10.0)])
    yield outcome("asleep for longer than a claim lasts", [asleep(stage, next(places), 3.0)])


def outcome(attack: str, wrong: list[list[str]]) -> Outcome:
    bad = [one for one in wrong if one]
    seen = "; ".join(str(one[:3]) for one in bad)
    return Outcome(attack, len(wrong), len(wrong) - len(bad), len(bad), None, seen)


def refusals(stage: Stage, name: str) -> Iterator[tuple[str, int]]:
    """Which step of a flow fails, and with which error number."""
    for step in STEPS:
        if step in stage.right(name).ended.calls:
            yield from ((step, number) for number in REFUSALS)


def refused(stage: Stage, name: str, place: Path, *, must: bool = True, **attack: Any) -> list[str]:
    """Run a flow on a disk that refuses, then on a sound one; what is not as it must be.

    must
        Whether something has to be refused at all.
    """
    scene = stage.scene(name)
    stage.start(name, place)
    ended = run(scene.flow, place, **attack)
    wrong = [] if ended.error is None and not must else told(ended)
    wrong += unreadable(place)
    wrong += resumed(scene, place, stage.right(name), ended)
    shutil.rmtree(place)
    return wrong


def unreadable(place: Path) -> list[str]:
    """What of a lake cannot be read after a run that was refused."""
    try:
        with closing(Lake.open(place)) as lake:
            for table in ("runs", "documents", "labels"):  # empty where the first was refused
                lake.table(table).collect()
            for (name,) in lake.sql("SELECT tensor FROM tensors").rows():
                tensor = lake.tensor(str(name))
                for shard in tensor.committed:
                    tensor.shard(shard)
    except (LakeError, duckdb.Error, OSError) as error:
        return [f"the lake cannot be read: {error!r}"]
    return []


def told(ended: Ended) -> list[str]:
    """What is wrong with how a flow told that a disk refused."""
    error = str(ended.error)
    good = error.startswith("DiskError: ") and "\n" not in error and "then run this again" in error
    return [] if good else [f"told as {error}"]


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a disk of its own."""
    try:
        with disk(folder, 64):
            return True
    except (subprocess.CalledProcessError, FileNotFoundError):
        return False


@contextmanager
def disk(folder: Path, kibibytes: int, *options: str) -> Iterator[Path]:
    """A disk of that size in memory, below ``folder`` while the block runs."""
    place = folder / "disk"
    place.mkdir(exist_ok=True)
    size = ",".join((f"size={kibibytes}k", *options))
    mount = ["mount", "-t", "tmpfs", "-o", size, "none", str(place)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def filled(stage: Stage, name: str, folder: Path, room: int) -> list[str]:
    """Run a flow on a disk with ``room`` KiB, twice, read the lake, then give it room."""
    scene, right = stage.scene(name), stage.right(name)
    size = sum(
        -(-one.stat().st_size // 4096) * 4 + 4
        for one in stage.start(name, folder / "sized").rglob("*")
    )
    shutil.rmtree(folder / "sized")
    with disk(folder, size + room) as place:
        try:
            stage.start(name, place / "lake")
        except shutil.Error:  # not even the lake itself has room
            return []
        lake = place / "lake"
        first, second = run(scene.flow, lake, lapse_seconds=60.0), Victim(scene.flow, lake).end()
        wrong = [one for ended in (first, second) if ended.error for one in told(ended)]
        wrong += [
            f"half a file is left: {one}"
            for one in lake.rglob("*.tmp")
            if not (one / LIST).exists()  # a spool, which the next run takes up
        ]
        wrong += unreadable(lake)
        subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
        return wrong + resumed(scene, lake, right, first, second)


def read_only(stage: Stage, folder: Path) -> list[str]:
    """Write on a disk that may not be written, then on one that may again."""
    scene = stage.scene("encode")
    with disk(folder, 1 << 16) as place:
        lake = stage.start("encode", place / "lake")
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        ended = Victim(scene.flow, lake).end()
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        return told(ended) + resumed(scene, lake, stage.right("encode"), ended)


def slow(stage: Stage, place: Path, flush_seconds: float, lapse_seconds: float) -> list[str]:
    """A disk whose flushes are slow: another run of the same waits for it, and finds all done."""
    scene = stage.scene("extract")
    stage.start("extract", place)
    attack = Attack(flush_seconds=flush_seconds, lapse_seconds=lapse_seconds)
    first = Victim(scene.flow, place, attack)
    first.reach("capture")
    second = Victim(scene.flow, place, Attack(lapse_seconds=lapse_seconds)).end()
    ended = first.end()
    wrong = [one.error for one in (ended, second) if one.error is not None]
    if second.calls.get("capture", 0):
        wrong.append("a live run lost its claim")
    return wrong + resumed(scene, place, stage.right("extract"), ended, second)


def asleep(stage: Stage, place: Path, lapse_seconds: float) -> list[str]:
    """A process that sleeps for longer than its claim lasts: another does the work, and what it
    says when it wakes up is refused."""
    scene = stage.scene("extract")
    stage.start("extract", place)
    attack = Attack(at="capture:3", sends=signal.SIGSTOP, lapse_seconds=lapse_seconds)
    sleeper = Victim(scene.flow, place, attack)
    sleeper.reach("capture", 3)
    time.sleep(lapse_seconds)
    started = time.monotonic()
    second = Victim(scene.flow, place, Attack(lapse_seconds=lapse_seconds)).end()
    took = time.monotonic() - started
    os.kill(sleeper.process.pid or 0, signal.SIGCONT)
    ended = sleeper.end()
    wrong = [] if second.error is None else [second.error]
    if "BusyError: another process took over" not in str(ended.error):
        wrong.append(f"a late commit: {ended.error}")
    if second.calls.get("capture") != stage.right("extract").ended.calls["capture"] - 2:
        wrong.append(f"not what was left to do: {second.calls} in {took:.0f} s")
    return wrong + resumed(scene, place, stage.right("extract"), ended, second)
