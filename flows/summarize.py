"""summarize: statistics of every feature of some codes, as partials over shards that are merged."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest

from actlake.flows.codes_blocks import require_rows
from actlake.flows.codes_sets import members_of, refuse_name, set_table
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.runners import TURN, Later, Runner, Threads
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import (
    Sources,
    blocks_of,
    sources_of,
    statistics_of,
    versions_of,
)
from actlake.flows.summary_tables import tables_of
from actlake.storage.codes import Codes
from actlake.storage.durable import Digest
from actlake.storage.errors import InputError
from actlake.storage.keys import Json, fingerprint
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.partials import commit_partials, partial_row, write_partial
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = ["summarize"]

STEP_ROWS = 1 << 14
"""Rows of the shards that are computed in one step and committed together: about a second's work.
A killed run does at most that much again."""
STEPS = 4
"""At least, where there are as many shards: so that there is progress to see, and to keep."""
TABLES_VERSION = 4
"""Rises whenever the same states are written as other rows."""


def summarize(
    lake: Lake,
    *,
    codes: str | Sequence[str],
    name: str | None = None,
    mask: str = "all",
    examples: int = 20,
    tokens: int = 20,
    source: str | None = None,
    runner: Runner | None = None,
) -> None:
    """Fill the tables of statistics, profiles, histograms, positions, tokens and examples.

    What an earlier summary of the codes under the mask left there is replaced. States of shards
    that it computed are merged again and not computed, unless the code of one has changed since.

    codes
        Of one dictionary and tokenizer, over several corpora: a set, which is told of as one
        corpus of all their rows, in that order, would be, without rows on which features are
        silent. Its codes are read for those states alone that they lack.
    name
        What a set is called where tables name codes. One of other codes before it is replaced.
    examples, tokens
        Rows of each kind, and tokens by count, by lift and by mean, to keep of each feature.
    source
        A label of documents, such as their author, over whose values ``gini_sources`` is taken.

    Rows outside ``mask`` count neither as firing nor as silent. InputError if no row of some codes
    is under it, and for codes that make no set (``codes_sets.members_of``).
    """
    members = members_of(lake, codes, name)
    called = members[0].name if name is None else name
    if examples < 1 or tokens < 1:
        raise InputError(
            "a summary without examples or tokens tells nothing; give 1 or more of each"
        )
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": called if name is None else [one.name for one in members],
        "mask": mask,
        "examples": examples,
        "tokens": tokens,
        "source": source,
    }
    inputs = {"codes": members[0].fingerprint, "mask": rule.fingerprint}
    if name is not None:
        parameters["name"] = name
        inputs = {f"codes {one.name}": one.fingerprint for one in members} | {
            "mask": rule.fingerprint
        }
    sources = [] if source is None else [sources_of(lake, one, source) for one in members]
    works = [
        _Work(lake, one, rule, examples, of_one) for one, of_one in zip_longest(members, sources)
    ]
    versions = {version for one in works for version in one.versions.values()}
    inputs["version"] = fingerprint(TABLES_VERSION, *sorted(versions))
    same = {"codes": called, "mask": mask}
    inputs["replaces"] = replaced(lake, "feature_statistics", same, parameters, inputs)
    for one in members:
        require_rows(lake, one, rule)
    with lake.run("summarize", parameters, inputs) as run:
        if run.done:
            say(f"summarize: {called} under {mask} found complete")
            return
        for work in works:
            _complete(work, run, runner or Threads())
        partials = [one.stored() for one in works]
        merging = Merging(lake, called, members, mask, partials, sources)
        tables = tables_of(merging, run.run, examples, tokens)
        if name is not None:
            tables["codes_sets"] = set_table(name, mask, members, run.run)

        def replace(transaction: Transaction) -> None:
            if name is not None:  # which codes may have taken meanwhile
                refuse_name(transaction.rows, name, members[0])
            # An earlier summary, of other parameters or of a run that died before its end.
            for table in tables:
                deletion(transaction, table, same)

        run.append(tables, f"statistics of {called} under {mask}", check=replace)


@dataclass(frozen=True, slots=True)
class _Work:
    """The states of some codes that a summary is made of."""

    lake: Lake
    codes: Codes
    mask: Mask
    examples: int
    sources: Sources | None

    @property
    def versions(self) -> dict[str, str]:
        return versions_of(self.examples, self.sources)

    def stored(self) -> dict[tuple[str, int], tuple[str, Digest]]:
        """Path and digest of those that are there, by statistic and shard."""
        return self.lake.partials(self.codes.name, self.mask.name, [*self.versions.values()])


def _complete(work: _Work, run: Run, runner: Runner) -> None:
    """Compute and commit the states that are not there yet."""
    grid, versions, stored = work.codes.grid, work.versions, work.stored()
    lacking = {
        shard: [statistic for statistic in versions if (statistic, shard) not in stored]
        for shard in range(len(grid))
    }
    todo = [shard for shard, statistics in lacking.items() if statistics]
    if not todo:
        return
    step = partial(_write_states, work=work, run=run, lacking=lacking)
    total = sum(grid.span(shard)[1] - grid.span(shard)[0] for shard in todo)
    most = min(STEP_ROWS // grid.shard_rows, len(todo) // STEPS)
    groups = _groups(todo, max(most, 1))
    of = f"{work.codes.name} under {work.mask.name}"
    steps: Generator[list[dict[str, object]]] = runner.map("summarize shards", step, groups)
    with closing(steps), progress(f"summarize {of}", total) as advance:
        for shards, rows in zip(groups, steps, strict=True):
            what = f"shards {shards[0]} to {shards[-1]}" if shards[1:] else f"shard {shards[0]}"
            commit_partials(run, rows, f"{what} of {of}")
            advance(sum(grid.span(one)[1] - grid.span(one)[0] for one in shards))


def _write_states(
    shards: Sequence[int], *, work: _Work, run: Run, lacking: Mapping[int, Sequence[str]]
) -> Later[list[dict[str, object]]]:
    """Write the states of consecutive ``shards`` that are ``lacking``; rows of ``partials``."""
    lake, codes, mask, sources = work.lake, work.codes, work.mask, work.sources
    label, of_document = (sources.label, sources.of_document) if sources else (None, None)
    make, versions = statistics_of(work.examples, label), work.versions
    with TURN:
        blocks = zip(shards, blocks_of(lake, codes, mask, shards, of_document), strict=True)
        states = [
            (statistic, shard, make[statistic](block).arrays())
            for shard, block in blocks
            for statistic in lacking[shard]
        ]

    def write() -> list[dict[str, object]]:
        return [
            partial_row(
                run,
                codes.name,
                mask.name,
                statistic,
                shard,
                versions[statistic],
                *write_partial(lake.store, state),
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
