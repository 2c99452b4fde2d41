"""The states of the shards of some codes under a mask: those that lack are computed and kept.

A state is a partial, committed with the others of its step, and with steps that end soon after, so
that a run that is killed does little again, and one that comes later only merges.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from actlake.analytics.statistic import Arrays
from actlake.flows.runners import TURN, Later, Runner, carry_out
from actlake.storage.codes import Codes
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.partials import commit_partials, partial_row, write_partial
from actlake.storage.run import Run
from actlake.storage.shards import shards_told

__all__ = ["Lacking", "ShardStates", "State", "complete"]

STEPS = 4
"""At least, where there are as many shards: so that there is progress to see, and to keep."""

Lacking = Mapping[int, Sequence[str]]
"""The statistics that each shard lacks."""

State = tuple[str, int, Arrays]
"""A statistic, a shard, and what is kept."""


@dataclass(frozen=True, slots=True)
class ShardStates:
    """Which states are kept of every shard of some codes, and how they are computed."""

    lake: Lake
    codes: Codes
    mask: Mask
    versions: Mapping[str, str]
    """The ``code_version`` of each statistic."""
    compute: Callable[["ShardStates", Sequence[int], Lacking], list[State]]
    """The states that consecutive shards lack. It pickles, since workers do it."""
    step_rows: int
    """Rows of the shards that are computed in one step and committed together: about a second's
    work. A killed run does at most twice that again: what is computed, and what is written; and
    what waited for a commit."""

    def stored(self) -> dict[tuple[str, int], tuple[str, Digest]]:
        """Path and digest of those that are there, by statistic and shard."""
        return self.lake.partials(self.codes.name, self.mask.name, [*self.versions.values()])


def complete(work: ShardStates, run: Run, runner: Runner, verb: str = "summarize") -> None:
    """Compute and commit the states that are not there yet.

    BusyError if another run commits one of them meanwhile, and if the codes were made anew before
    ``run`` began, as a withdrawal does: from then on nobody does.
    """
    if work.lake.codes(work.codes.name).id != work.codes.id:
        raise BusyError(
            f"codes {work.codes.name} have just been replaced, as by a withdrawal; run this again"
        )
    grid, stored = work.codes.grid, work.stored()
    lacking = {
        shard: [statistic for statistic in work.versions if (statistic, shard) not in stored]
        for shard in range(len(grid))
    }
    todo = [shard for shard, statistics in lacking.items() if statistics]
    if not todo:
        return
    step = partial(_write_states, work=work, run=run, lacking=lacking)
    most = min(work.step_rows // grid.shard_rows, len(todo) // STEPS)
    groups = _groups(todo, max(most, 1))
    of = f"{work.codes.name} under {work.mask.name}"

    def commit(groups: Sequence[Sequence[int]], rows: Sequence[list[dict[str, object]]]) -> None:
        shards = [*chain.from_iterable(groups)]
        commit_partials(run, [*chain.from_iterable(rows)], f"{shards_told(shards)} of {of}")

    def rows_of(shards: Sequence[int]) -> int:
        return sum(map(grid.rows_of, shards))

    label = f"{verb} {of}"
    carry_out(runner, f"{verb} shards", step, groups, commit, label=label, rows=rows_of)


def _write_states(
    shards: Sequence[int], *, work: ShardStates, run: Run, lacking: Lacking
) -> Later[list[dict[str, object]]]:
    """Write the states of consecutive ``shards`` that are ``lacking``; rows of ``partials``."""
    names, store = (work.codes.name, work.mask.name), work.lake.store
    with TURN:
        states = work.compute(work, shards, lacking)

    def write() -> list[dict[str, object]]:
        return [
            partial_row(
                run,
                *names,
                statistic,
                shard,
                work.versions[statistic],
                *write_partial(store, state),
            )
            for statistic, shard, state in states
        ]

    return Later(write)


def _groups(shards: Sequence[int], most: int) -> list[list[int]]:
    """``shards``, ascending, in runs of consecutive ones, each of ``most`` at most."""
    groups: list[list[int]] = []
    for shard in shards:
        if groups and shard == groups[-1][-1] + 1 and len(groups[-1]) < most:
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return groups
