"""The codes of whole documents: every feature pooled over the rows of each, merged of partials."""

from collections.abc import Iterator, Sequence

from actlake.analytics.hypotheses.pool_files import pool_arrays, pool_of_arrays
from actlake.analytics.hypotheses.pooling import DocumentPool
from actlake.analytics.statistic import Arrays, merge_in_order
from actlake.flows.codes_blocks import documents_of, masked_shards
from actlake.flows.progress import progress
from actlake.flows.runners import Threads
from actlake.flows.shard_states import Lacking, ShardStates, State, complete
from actlake.storage.codes import Codes
from actlake.storage.errors import BusyError
from actlake.storage.keys import fingerprint
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.partials import read_partial
from actlake.storage.run import Run

__all__ = ["POOL", "document_pool", "pools_of"]

POOL = "document_pool"
"""The statistic whose partials these are."""
VERSION = 1
"""Rises whenever the state's meaning or its bits change."""
STEP_ROWS = 1 << 17
"""Of the shards that are computed in one step: about a second's work."""


def document_pool(lake: Lake, codes: Codes, mask: Mask, run: Run) -> DocumentPool:
    """Every feature pooled over the rows under the mask of each document.

    Only shards without a partial are read; theirs are kept, whatever becomes of ``run``.
    """
    work = ShardStates(lake, codes, mask, {POOL: fingerprint(POOL, VERSION)}, _states, STEP_ROWS)
    before = -1
    while True:
        try:
            complete(work, run, Threads(), "pool")
            break
        except BusyError:  # labels of the same codes, say, which pools them too
            there = len(work.stored())
            if there <= before:
                raise
            before = there
    stored, grid = work.stored(), codes.grid

    def states() -> Iterator[DocumentPool]:
        for shard in range(len(grid)):
            yield pool_of_arrays(read_partial(lake.store, *stored[POOL, shard]))
            start, stop = grid.span(shard)
            advance(stop - start)

    with progress(f"merge {codes.name} over documents", codes.rowset.rows) as advance:
        return merge_in_order(states())


def pools_of(lake: Lake, codes: Codes, mask: Mask, shards: Sequence[int]) -> dict[int, Arrays]:
    """What is kept of each of consecutive ``shards``."""
    documents = documents_of(lake, codes)
    kept: dict[int, Arrays] = {}
    for shard, keep, document in masked_shards(lake, codes, mask, shards):
        pool = DocumentPool.of(codes.shard(shard), document, keep, documents=documents)
        kept[shard] = pool_arrays(pool)
    return kept


def _states(work: ShardStates, shards: Sequence[int], _: Lacking) -> list[State]:
    found = pools_of(work.lake, work.codes, work.mask, shards)  # all lack the one that there is
    return [(POOL, shard, arrays) for shard, arrays in found.items()]
