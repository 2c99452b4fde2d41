"""Flows that are killed: at random moments, at every step of the commit protocol, several times in
a row, and under Prefect. What the next run leaves is what an undisturbed one would have left."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from tests.flows.aftermath import resumed
from tests.flows.places import Servers
from tests.flows.scenes import DRIVEN, Do, Stage, by_prefect, inline
from tests.flows.victims import Attack, Victim
from tests.postgres import running_server
from tests.s3 import running_s3
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
UNDER_PREFECT = 5
"""Kills of each flow while Prefect drives it."""
ON_SERVERS = 4
"""Random moments of each flow on a lake in Postgres and S3."""
IN_A_ROW = 5
"""Lakes of each flow on which three runs are killed."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of runs that were killed on one lake, and of the run after them."""

    name: str
    attack: str
    kills: int
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attacks:
    """What is done to runs of one flow, one after the other on one lake."""

    stage: Stage
    name: str
    those: Sequence[dict[str, Any]]
    do: Do = inline
    sweep: bool = False
    """Whether ``gc`` removes what they left before the next run."""


def soak(folder: Path, random: np.random.Generator) -> Iterator[Outcome]:
    """200 random moments; begin and end of every step of every flow; three kills in a row; five of
    each flow under Prefect; on Postgres and S3 random moments, and begin or end of every step."""
    stage = Stage(folder / "stage")
    yield from outcomes("at a random moment", _all(folder, at_random(stage, random, MOMENTS)))
    every = at_steps(stage, random, ("create", *MOMENTS), 2)
    yield from outcomes("at the begin and end of every step", _all(folder, every))
    yield from outcomes("three times in a row", _all(folder, _in_a_row(stage, random)))
    with prefect_server() as do:
        each = under_prefect(stage, random, do, UNDER_PREFECT)
        yield from outcomes("under Prefect", _all(folder, each))
    with running_server() as postgres, running_s3() as s3:
        away = Stage(folder / "servers", Servers(postgres, s3))
        few = dict.fromkeys(MOMENTS, ON_SERVERS)
        both = chain(at_random(away, random, few), at_steps(away, random, MOMENTS, 1))
        yield from outcomes("on Postgres and S3", _all(folder, both))


def at_random(
    stage: Stage, random: np.random.Generator, moments: Mapping[str, int]
) -> Iterator[Attacks]:
    for name, count in moments.items():
        seconds = stage.right(name).ended.seconds
        for number, after in enumerate(random.uniform(0, seconds, count)):
            yield Attacks(stage, name, [{"after": float(after)}], sweep=_swept(name, number))


def at_steps(
    stage: Stage, random: np.random.Generator, names: Iterable[str], ends: int
) -> Iterator[Attacks]:
    """Each step of each flow once, as it begins or ends, or twice for both."""
    for name in names:
        for number, (step, calls) in enumerate(stage.right(name).ended.calls.items()):
            for end in random.permutation(["", ":end"])[:ends]:
                at = f"{step}:{random.integers(1, calls, endpoint=True)}{end}"
                yield Attacks(stage, name, [{"at": at}], sweep=_swept(name, number))


def _swept(name: str, number: int) -> bool:
    """Whether ``gc`` comes between, as after every other kill of what writes to its lake: of what
    makes or migrates one it would be the next run, and an export is of the newest snapshot."""
    return number % 2 == 1 and name in DRIVEN and name != "export"


def _in_a_row(stage: Stage, random: np.random.Generator) -> Iterator[Attacks]:
    for name in MOMENTS:
        seconds = stage.right(name).ended.seconds
        for _ in range(IN_A_ROW):
            yield Attacks(
                stage, name, [{"after": float(one)} for one in random.uniform(0, seconds, 3)]
            )


@contextmanager
def prefect_server() -> Iterator[Do]:
    """What carries verbs out by a server of its own."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield partial(by_prefect, str(PREFECT_API_URL.value()))


def under_prefect(
    stage: Stage, random: np.random.Generator, do: Do, kills: int
) -> Iterator[Attacks]:
    """Kill each flow at so many random steps, each of another kind, of a flow run."""
    for name in DRIVEN:
        calls = stage.right(name).ended.calls
        for step in random.choice(sorted(calls), kills, replace=False):
            at = f"{step}:{random.integers(1, calls[step], endpoint=True)}"
            yield Attacks(stage, name, [{"at": at + str(random.choice(["", ":end"]))}], do)


def _all(folder: Path, attacks: Iterable[Attacks]) -> Iterator[Attempt]:
    """Carry attacks out, one on each core at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        places = (folder / f"killed-{number}" for number in range(1 << 30))
        yield from pool.map(attempt, list(attacks), places)


def attempt(attacks: Attacks, folder: Path) -> Attempt:
    """Run a flow under each of the attacks, then once more, on a lake in a new folder."""
    stage, name, those = attacks.stage, attacks.name, attacks.those
    scene = stage.scene(name, attacks.do)
    place = stage.start(name, folder / "lake")
    before = [Victim(scene.flow, place, Attack(**one)).end() for one in those]
    if len(those) == 1 and "after" in those[0] and not before[0].killed:  # it had ended by then
        _remove(stage, folder)
        return attempt(replace(attacks, those=[{"after": those[0]["after"] / 2}]), folder)
    wrong = resumed(scene, place, stage.right(name), *before, sweep=attacks.sweep)
    if len(those) == 1 and not before[0].killed:
        wrong.append(f"it was not killed: {before[0]}")
    _remove(stage, folder)
    return Attempt(name, str(those), sum(one.killed for one in before), tuple(wrong))


def _remove(stage: Stage, folder: Path) -> None:
    stage.where.remove(folder / "lake")
    shutil.rmtree(folder)


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
