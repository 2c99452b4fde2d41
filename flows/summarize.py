"""summarize: statistics of every feature of some codes, as partials over shards that are merged."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.statistic import Arrays, Statistic, merge_in_order
from actlake.flows.progress import progress, say
from actlake.flows.replacing import deletion, replaced
from actlake.flows.runners import Inline, Runner
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.durable import Digest
from actlake.storage.errors import IncompleteError, InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json, fingerprint
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.partials import commit_partials, partial_row, read_partial, write_partial
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = ["block_of", "statistics_of", "summarize"]

CODE_VERSION = "1"
"""Changes whenever a state's meaning changes, so that old partials are not merged with new ones."""

QUANTILES = {"q50_active": 0.5, "q90_active": 0.9, "q99_active": 0.99}
S = TypeVar("S", bound=Statistic)


@dataclass(frozen=True, slots=True)
class Block:
    """One shard of codes with what its statistics need."""

    codes: Csr
    mask: NDArray[np.bool_]
    token_id: NDArray[np.int32]
    row_start: int


def summarize(
    lake: Lake,
    *,
    codes: str,
    mask: str = "all",
    examples: int = 20,
    tokens: int = 20,
    runner: Runner | None = None,
) -> None:
    """Fill feature_statistics, feature_histograms, feature_examples and feature_tokens.

    What an earlier summary of the codes under the mask left there is replaced.

    examples, tokens
        Strongest rows, and tokens by count and by lift, to keep of each feature.

    Rows outside ``mask`` count neither as firing nor as silent. InputError if no row is under it.
    """
    reader = lake.codes(codes)
    if missing := reader.missing():
        raise IncompleteError(
            f"codes {codes} lack {len(missing)} of {len(reader.grid)} shards; "
            "finish encoding them first"
        )
    if examples < 1 or tokens < 1:
        raise InputError("summarize keeps at least 1 example and 1 token of each feature")
    rule = lake.mask(mask)
    parameters: dict[str, Json] = {
        "codes": codes,
        "mask": mask,
        "examples": examples,
        "tokens": tokens,
    }
    inputs = {"codes": reader.fingerprint, "mask": rule.fingerprint, "version": CODE_VERSION}
    same = {"codes": codes, "mask": mask}
    inputs["replaces"] = replaced(lake, "feature_statistics", same, parameters, inputs)
    grid = reader.grid
    under = (lake.mask_rows(rule, reader.rowset, *grid.span(shard)) for shard in range(len(grid)))
    if not any(kept.any() for kept in under):
        raise InputError(
            f"no row of {reader.rowset.name} is under the mask {mask}, so there is nothing to count"
        )
    with lake.run("summarize", parameters, inputs) as run:
        if run.done:
            say(f"summarize: {codes} under {mask} found complete")
            return
        make = statistics_of(examples)
        version = fingerprint(CODE_VERSION, examples)
        stored = lake.partials(codes, mask, version)
        todo = [
            shard
            for shard in range(len(grid))
            if any((statistic, shard) not in stored for statistic in make)
        ]

        def step(shard: int) -> list[dict[str, object]]:
            rows = []
            block = block_of(lake, reader, rule, shard)
            for statistic, of in make.items():
                path, written = write_partial(lake.store, of(block).arrays())
                rows.append(partial_row(run, codes, mask, statistic, shard, version, path, written))
            return rows

        total = sum(grid.span(shard)[1] - grid.span(shard)[0] for shard in todo)
        with progress(f"summarize {codes} under {mask}", total) as advance:
            results = (runner or Inline()).map("summarize shard", step, todo)
            for shard, rows in zip(todo, results, strict=True):
                commit_partials(run, rows, f"shard {shard} of {codes} under {mask}")
                advance(grid.span(shard)[1] - grid.span(shard)[0])
        partials = lake.partials(codes, mask, version)
        tables = _tables(lake, run, reader, mask, partials, tokens)

        def replace(transaction: Transaction) -> None:
            # An earlier summary, of other parameters or of a run that died before its end.
            for table in tables:
                deletion(transaction, table, same)

        run.append(tables, f"statistics of {codes} under {mask}", check=replace)


def block_of(lake: Lake, codes: Codes, mask: Mask, shard: int) -> Block:
    """What the statistics of one shard are made of."""
    start, stop = codes.grid.span(shard)
    kept = lake.mask_rows(mask, codes.rowset, start, stop)
    return Block(codes.shard(shard), kept, codes.rowset.column("token_id", start, stop), start)


def statistics_of(examples: int) -> dict[str, Callable[[Block], Statistic]]:
    """How each statistic is made of a block, by its name in ``partials``."""
    return {
        "moments": lambda block: FeatureMoments.of(block.codes, block.mask),
        "histogram": lambda block: FeatureHistogram.of(block.codes, block.mask),
        "top_rows": lambda block: TopRows.of(
            block.codes, block.mask, row_start=block.row_start, k=examples
        ),
        "tokens": lambda block: FeatureTokens.of(
            block.codes, block.mask & (block.token_id >= 0), token_id=block.token_id
        ),
    }


def _tables(
    lake: Lake,
    run: Run,
    codes: Codes,
    mask: str,
    partials: Mapping[tuple[str, int], tuple[str, Digest]],
    tokens: int,
) -> dict[str, pa.Table]:
    def merged(name: str, from_arrays: Callable[[Arrays], S]) -> S:
        places = (partials[name, shard] for shard in range(len(codes.grid)))
        return merge_in_order(from_arrays(read_partial(lake.store, *place)) for place in places)

    moments = merged("moments", FeatureMoments.from_arrays)
    histogram = merged("histogram", FeatureHistogram.from_arrays)
    quantiles = {name: histogram.quantile(share) for name, share in QUANTILES.items()}
    key = {"codes": codes.name, "mask": mask}
    columns = moments.finish() | quantiles
    return {
        "feature_statistics": _table("feature_statistics", columns, key | {"run": run.run}),
        "feature_histograms": _table("feature_histograms", histogram.finish(), key),
        "feature_examples": _table(
            "feature_examples",
            merged("top_rows", TopRows.from_arrays).finish(),
            key | {"kind": "top"},
        ),
        "feature_tokens": _table(
            "feature_tokens", merged("tokens", FeatureTokens.from_arrays).finish(tokens), key
        ),
    }


def _table(
    name: str, columns: Mapping[str, NDArray[Any]], constants: Mapping[str, str]
) -> pa.Table:
    """Columns as rows of a table; NaN in a column that allows NULL becomes NULL."""
    schema = arrow_schema(name)
    rows = len(columns["feature"])
    arrays = []
    for field in schema:
        if field.name in constants:
            arrays.append(pa.array([constants[field.name]] * rows, field.type))
            continue
        values = columns[field.name]
        missing = np.isnan(values) if field.nullable else None
        arrays.append(pa.array(values, mask=missing).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema)
