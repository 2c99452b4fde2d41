"""Races: processes that want to do the same thing at the same time."""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from actlake.storage.errors import InputError
from actlake.storage.lake import Lake
from actlake.storage.shards import Receipt
from actlake.storage.tensor_writer import commit_shards, plan_tensors, publish_shard
from tests.flows.aftermath import resumed
from tests.flows.scenes import DRIVEN, Stage
from tests.flows.victims import Victim
from tests.forked import CONTEXT, child
from tests.soak.crowd import WIDTH, new_lake, plan_of
from tests.soak.outcome import Outcome

SHARDS = 200
RUNNERS = 4
ROUNDS = 5
"""Of two processes that start a flow, for each flow."""
ONCE = {"maintain": "swap", "export": "rename"}
"""The step that tells whether a flow did its work, where that is not done shard by shard."""


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    path = new_lake(folder / "lake")
    stored, refused = insert_twice(path, SHARDS)
    yield Outcome(
        attack="two processes insert the same shard, without a claim between them",
        attempts=SHARDS,
        survived=sum(count == 1 for count in stored),
        lost=sum(abs(count - 1) for count in stored),
        seen=f"{refused} were refused as already committed",
    )
    done = run_at_once(path, RUNNERS)
    yield Outcome(
        attack=f"{RUNNERS} processes start the same run",
        attempts=RUNNERS,
        survived=sum(state in ("did", "found") for state in done),
        lost=abs(done.count("did") - 1),
        seen=f"{done.count('did')} did it, {done.count('found')} found it done",
    )
    stage = Stage(folder / "stage")
    for name in DRIVEN:
        wrong = [flow_twice(stage, name, folder / f"{name}-{at}") for at in range(ROUNDS)]
        bad = [one for one in wrong if one]
        yield Outcome(
            attack=f"two processes start {name} on one lake",
            attempts=ROUNDS,
            survived=ROUNDS - len(bad),
            lost=len(bad),
            seen="; ".join(str(one[:3]) for one in bad),
        )


def flow_twice(stage: Stage, name: str, folder: Path) -> list[str]:
    """Start a flow in two processes at once, on one lake; what is not as if one had done it."""
    scene, right = stage.scene(name), stage.right(name)
    place = stage.start(name, folder / "lake")
    both = [Victim(scene.flow, place) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        ended = [*pool.map(Victim.end, both)]
    wrong = [f"one of two failed: {one.error}" for one in ended if one.error is not None]
    step = scene.work or ONCE[name]
    done = [one.calls.get(step, 0) for one in ended]
    if sum(done) != right.ended.calls[step]:
        wrong.append(f"{step} was done {done} times")
    wrong += resumed(scene, place, right, *ended)
    stage.where.remove(place)
    shutil.rmtree(folder)
    return wrong


def insert_twice(path: Path, shards: int) -> tuple[list[int], int]:
    """How often each shard is there after two processes inserted all, and how many were refused.

    Claims would keep them apart; here only the check inside the commit does.
    """
    lake = Lake.open(path)
    with lake.run("race", {}, {}) as run:
        plan = plan_of("race", lake.rowset("crowd"))
        tensor = plan_tensors(run, [plan])[plan.name]
        receipts = [
            receipt
            for shard in range(shards)
            for receipt in publish_shard(
                run, plan, tensor, shard, np.full((1, WIDTH), shard, np.float32)
            )
        ]
    answers = _together(2, _insert, path, receipts)
    query = "SELECT count(*) FROM shards WHERE owner = $id AND shard = $shard"
    stored = [int(str(lake.sql(query, id=tensor, shard=at).rows()[0][0])) for at in range(shards)]
    lake.close()
    return stored, sum(answers)


def _insert(path: Path, index: int, receipts: list[Receipt]) -> int:
    lake = Lake.open(path)
    refused = 0
    with lake.run("insert", {"process": index}, {}) as run:
        for receipt in receipts:
            try:
                commit_shards(run, [receipt], "race")
            except InputError:
                refused += 1
    return refused


def run_at_once(path: Path, processes: int) -> list[str]:
    """What each of so many processes that start one run came to: did it, or found it done."""
    return _together(processes, _run, path, str(time.time()))


def _run(path: Path, index: int, key: str) -> str:
    lake = Lake.open(path)
    with lake.run("at-once", {"key": key}, {}) as run:
        if run.done:
            return "found"
        time.sleep(1.0)  # so that the others come while it works
    return "did"


def _together(processes: int, job: Any, path: Path, argument: Any) -> list[Any]:
    """The answers of ``job`` from processes that start it at the same time, by index."""
    start, answers = CONTEXT.Barrier(processes), CONTEXT.Queue()
    children = [
        child(_child, job, path, index, argument, start, answers) for index in range(processes)
    ]
    for one in children:
        one.start()
    found = dict(answers.get(timeout=600) for _ in children)
    for one in children:
        one.join(60)
    return [found[index] for index in range(processes)]


def _child(job: Any, path: Path, index: int, argument: Any, start: Any, answers: Any) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    start.wait(300)
    try:
        answer = job(path, index, argument)
    except BaseException as error:  # noqa: BLE001 - the test tells it
        answer = f"{type(error).__name__}: {error}"
    answers.put((index, answer))
