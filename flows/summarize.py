"""summarize: statistics of every feature of some codes, as partials over shards that are merged."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.runners import TURN, Runner, Threads
from actlake.flows.summary_states import blocks_of, sources_of, statistics_of, versions_of
from actlake.flows.summary_tables import Merging, tables_of
from actlake.storage.codes import Codes
from actlake.storage.errors import IncompleteError, InputError
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
    codes: str,
    mask: str = "all",
    examples: int = 20,
    tokens: int = 20,
    source: str | None = None,
    runner: Runner | None = None,
) -> None:
    """Fill the tables of statistics, profiles, histograms, positions, tokens and examples.

    What an earlier summary of the codes under the mask left there is replaced. States of shards
    that it computed are merged again and not computed, unless the code of one has changed since.

    examples, tokens
        Rows of each kind, and tokens by count, by lift and by mean, to keep of each feature.
    source
        A label of documents, such as their author, over whose values ``gini_sources`` is taken.

    Rows outside ``mask`` count neither as firing nor as silent. InputError if no row is under it.
    """
    reader = lake.codes(codes)
    if missing := reader.missing():
        raise IncompleteError(
            f"codes {codes} lack {len(missing)} of {len(reader.grid)} shards; "
            "finish encoding them first"
        )
    if examples < 1 or tokens < 1:
        raise InputError(
            "a summary without examples or tokens tells nothing; give 1 or more of each"
        )
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": codes,
        "mask": mask,
        "examples": examples,
        "tokens": tokens,
        "source": source,
    }
    of_document = None if source is None else sources_of(lake, reader, source)
    versions = versions_of(examples, source)
    version = fingerprint(TABLES_VERSION, *sorted(versions.values()))
    inputs = {"codes": reader.fingerprint, "mask": rule.fingerprint, "version": version}
    same = {"codes": codes, "mask": mask}
    inputs["replaces"] = replaced(lake, "feature_statistics", same, parameters, inputs)
    grid = reader.grid
    under = (lake.mask_rows(rule, reader.rowset, *grid.span(shard)) for shard in range(len(grid)))
    if not any(kept.any() for kept in under):
        raise InputError(
            f"no row of {reader.rowset.name} is under the mask {mask}, so nothing is counted; "
            "choose another mask"
        )
    with lake.run("summarize", parameters, inputs) as run:
        if run.done:
            say(f"summarize: {codes} under {mask} found complete")
            return
        stored = lake.partials(codes, mask, [*versions.values()])
        lacking = {
            shard: [statistic for statistic in versions if (statistic, shard) not in stored]
            for shard in range(len(grid))
        }
        todo = [shard for shard, statistics in lacking.items() if statistics]

        step = partial(
            _write_states,
            lake=lake,
            run=run,
            codes=reader,
            mask=rule,
            examples=examples,
            source=source,
            of_document=of_document,
            lacking=lacking,
        )
        total = sum(grid.span(shard)[1] - grid.span(shard)[0] for shard in todo)
        most = min(STEP_ROWS // grid.shard_rows, len(todo) // STEPS)
        groups = _groups(todo, max(most, 1))
        steps = (runner or Threads()).map("summarize shards", step, groups)
        with closing(steps), progress(f"summarize {codes} under {mask}", total) as advance:
            for shards, rows in zip(groups, steps, strict=True):
                what = f"shards {shards[0]} to {shards[-1]}" if shards[1:] else f"shard {shards[0]}"
                commit_partials(run, rows, f"{what} of {codes} under {mask}")
                advance(sum(grid.span(one)[1] - grid.span(one)[0] for one in shards))
        partials = lake.partials(codes, mask, [*versions.values()])
        merging = Merging(lake, reader, mask, partials)
        tables = tables_of(merging, run.run, examples, tokens, with_sources=source is not None)

        def replace(transaction: Transaction) -> None:
            # An earlier summary, of other parameters or of a run that died before its end.
            for table in tables:
                deletion(transaction, table, same)

        run.append(tables, f"statistics of {codes} under {mask}", check=replace)


def _write_states(
    shards: Sequence[int],
    *,
    lake: Lake,
    run: Run,
    codes: Codes,
    mask: Mask,
    examples: int,
    source: str | None,
    of_document: NDArray[np.int64] | None,
    lacking: Mapping[int, Sequence[str]],
) -> list[dict[str, object]]:
    """Write the states of consecutive ``shards`` that are ``lacking``; rows of ``partials``."""
    make, versions = statistics_of(examples, source), versions_of(examples, source)
    blocks = blocks_of(lake, codes, mask, shards, of_document)
    rows = []
    for shard, block in zip(shards, blocks, strict=True):
        with TURN:
            states = {one: make[one](block).arrays() for one in lacking[shard]}
        for statistic, state in states.items():
            place, of = write_partial(lake.store, state), versions[statistic]
            rows.append(partial_row(run, codes.name, mask.name, statistic, shard, of, *place))
    return rows


def _groups(shards: Sequence[int], most: int) -> list[list[int]]:
    """``shards``, ascending, in runs of consecutive ones, each of ``most`` at most."""
    groups: list[list[int]] = []
    for shard in shards:
        if groups and shard == groups[-1][-1] + 1 and len(groups[-1]) < most:
            groups[-1].append(shard)
        else:
            groups.append([shard])
    return groups
