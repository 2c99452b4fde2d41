"""Flows that are killed: at random moments, at every step of the commit protocol, several times in
a row, and under Prefect. What the next run leaves is what an undisturbed one would have left."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.flows.scenes import Stage, exported, extracting_under_prefect, resumed
from tests.flows.victims import Attack, Victim, run
from tests.soak.outcome import Outcome

MOMENTS = {
    "migrate": 10,
    "ingest": 30,
    "extract": 50,
    "train": 30,
    "encode": 30,
    "summarize": 25,
    "maintain": 15,
    "export": 10,
}
"""Of killing each flow."""
UNDER_PREFECT = ("capture:2", "commit:5", "link:9:end", "land:7:end", "end:1")
IN_A_ROW = 5
"""Lakes of each flow on which three runs are killed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of runs that were killed on one lake, and of the run after them."""

    name: str
    attack: str
    kills: int
    wrong: tuple[str, ...]


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    """200 random moments; begin and end of every step of every flow; three kills in a row."""
    stage = Stage(folder)
    yield from outcomes("at a random moment", _all(folder, _random(stage, random)))
    yield from outcomes("at the begin and end of every step", _all(folder, _steps(stage, random)))
    yield from outcomes("three times in a row", _all(folder, _in_a_row(stage, random)))
    yield from outcomes("under Prefect", _under_prefect(stage, folder))


Attacks = tuple[Stage, str, Sequence[dict[str, Any]]]
"""A scene of a stage, and what is done to its runs, one after the other on one lake."""


def _random(stage: Stage, random: np.random.Generator) -> Iterator[Attacks]:
    for name, count in MOMENTS.items():
        seconds = stage.right(name).ended.seconds
        for after in random.uniform(0, seconds, count):
            yield stage, name, [{"after": float(after)}]


def _steps(stage: Stage, random: np.random.Generator) -> Iterator[Attacks]:
    for name in ("create", *MOMENTS):
        for step, calls in stage.right(name).ended.calls.items():
            for end in ("", ":end"):
                yield (
                    stage,
                    name,
                    [{"at": f"{step}:{random.integers(1, calls, endpoint=True)}{end}"}],
                )


def _in_a_row(stage: Stage, random: np.random.Generator) -> Iterator[Attacks]:
    for name in MOMENTS:
        seconds = stage.right(name).ended.seconds
        for _ in range(IN_A_ROW):
            yield stage, name, [{"after": float(one)} for one in random.uniform(0, seconds, 3)]


def _under_prefect(stage: Stage, folder: Path) -> Iterator[Attempt]:
    """Kill extractions that are flow runs, each followed by one that completes."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    right = stage.right("extract")
    with prefect_test_harness(server_startup_timeout=180):
        flow = partial(extracting_under_prefect, str(PREFECT_API_URL.value()), stage.model)
        # One is captured while another is committed.
        scene = replace(stage.scenes["extract"], flow=flow, in_flight=2)
        for number, at in enumerate(UNDER_PREFECT):
            place = stage.start("extract", folder / f"prefect-{number}")
            ended = run(flow, place, at=at)
            wrong = resumed(scene, place, right, ended)
            yield Attempt("extract", at, int(ended.killed), tuple(wrong))


def _all(folder: Path, attacks: Iterable[Attacks]) -> Iterator[Attempt]:
    """Carry attacks out, one on each core at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        places = (folder / f"killed-{number}" for number in range(1 << 30))
        yield from pool.map(attempt, list(attacks), places)


def attempt(attacks: Attacks, place: Path) -> Attempt:
    """Run a flow under each of the attacks, then once more."""
    stage, name, those = attacks
    scene = stage.scenes[name]
    stage.start(name, place)
    before = [Victim(scene.flow, place, Attack(**one)).end() for one in those]
    if len(those) == 1 and "after" in those[0] and not before[0].killed:  # it had ended by then
        shutil.rmtree(place)
        shutil.rmtree(exported(place), ignore_errors=True)
        return attempt((stage, name, [{"after": those[0]["after"] / 2}]), place)
    wrong = resumed(scene, place, stage.right(name), *before)
    shutil.rmtree(place)
    shutil.rmtree(exported(place), ignore_errors=True)  # others may be given its name
    return Attempt(name, str(those), sum(one.killed for one in before), tuple(wrong))


def outcomes(how: str, attempts: Iterable[Attempt]) -> Iterator[Outcome]:
    """One row for each flow, in the order of the attempts."""
    found: dict[str, list[Attempt]] = {}
    for one in attempts:
        found.setdefault(one.name, []).append(one)
    for name, those in found.items():
        bad = [one for one in those if one.wrong]
        seen = f"{sum(one.kills for one in those)} kills"
        seen += "".join(f"; {one.attack}: {', '.join(one.wrong[:3])}" for one in bad)
        yield Outcome(
            f"SIGKILL of {name} {how}", len(those), len(those) - len(bad), len(bad), None, seen
        )
