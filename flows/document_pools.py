"""The codes of whole documents: every feature pooled over the rows of each, merged of partials."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.hypotheses.pool_files import (
    PAIR_BYTES,
    pairs_of_features,
    pool_arrays,
    pool_of_arrays,
)
from actlake.analytics.hypotheses.pooling import DocumentPool
from actlake.analytics.statistic import Arrays, merge_in_order
from actlake.flows.codes_blocks import documents_of, masked_shards
from actlake.flows.progress import progress
from actlake.flows.runners import Threads
from actlake.flows.shard_states import Lacking, ShardStates, State, complete
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError
from actlake.storage.keys import fingerprint
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.partials import read_partial
from actlake.storage.run import Run
from actlake.storage.threads import default_threads

__all__ = ["POOL", "DocumentPools", "document_pool", "document_pools", "pools_of"]

POOL = "document_pool"
"""The statistic whose partials these are."""
VERSION = 1
"""Rises whenever the state's meaning or its bits change."""
STEP_ROWS = 1 << 17
"""Of the shards that are computed in one step: about a second's work."""


@dataclass(frozen=True, slots=True)
class DocumentPools:
    """What is kept of every shard of some codes under a mask."""

    lake: Lake
    codes: Codes
    stored: Mapping[int, tuple[str, Digest]]
    """Path and digest of the partial of each shard."""

    @property
    def most_pairs(self) -> int:
        """No fewer pairs of a document and a feature than they hold, by the files' bytes."""
        return sum(digest.bytes for _, digest in self.stored.values()) // PAIR_BYTES

    def pairs(self) -> NDArray[np.int64]:
        """Of each feature, shape (features,); a document that lies in two shards counts twice."""
        counted = np.zeros(self.codes.n_features, np.int64)
        for arrays in self.each():
            counted += pairs_of_features(arrays)
        return counted

    def merged(self, start: int = 0, stop: int | None = None) -> DocumentPool:
        """Of the features [start, stop), numbered from 0 on; by default of all."""
        return merge_in_order(pool_of_arrays(arrays, start, stop) for arrays in self.each())

    def each(self) -> Iterator[Arrays]:
        """What is kept of each shard, in order."""
        for shard in range(len(self.codes.grid)):
            yield read_partial(self.lake.store, *self.stored[shard])


def document_pool(lake: Lake, codes: Codes, mask: Mask, run: Run) -> DocumentPool:
    """Every feature pooled over the rows under the mask of each document."""
    pools = document_pools(lake, codes, mask, run)

    def states() -> Iterator[DocumentPool]:
        for shard, arrays in enumerate(pools.each()):
            yield pool_of_arrays(arrays)
            advance(codes.grid.rows_of(shard))

    with progress(f"merge {codes.name} over documents", codes.rowset.rows) as advance:
        return merge_in_order(states())


def document_pools(lake: Lake, codes: Codes, mask: Mask, run: Run) -> DocumentPools:
    """The pools of all shards. Only shards without a partial are read; theirs are kept, whatever
    becomes of ``run``."""
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
    stored = work.stored()
    return DocumentPools(
        lake, codes, {shard: stored[POOL, shard] for shard in range(len(codes.grid))}
    )


def pools_of(lake: Lake, codes: Codes, mask: Mask, shards: Sequence[int]) -> dict[int, Arrays]:
    """What is kept of each of consecutive ``shards``."""
    documents = documents_of(lake, codes)

    def pooled(block: Csr, document: NDArray[np.int64], keep: NDArray[np.bool_]) -> Arrays:
        return pool_arrays(DocumentPool.of(block, document, keep, documents=documents))

    with ThreadPoolExecutor(default_threads(), "pool") as pool:
        found = {
            shard: pool.submit(pooled, codes.shard(shard), document, keep)
            for shard, keep, document in masked_shards(lake, codes, mask, shards)
        }
        return {shard: one.result() for shard, one in found.items()}


def _states(work: ShardStates, shards: Sequence[int], _: Lacking) -> list[State]:
    found = pools_of(work.lake, work.codes, work.mask, shards)  # all lack the one that there is
    return [(POOL, shard, arrays) for shard, arrays in found.items()]
