"""Documents or rows as the units that labels are compared over, one range of features at a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.features.grouping import consecutive
from actlake.flows.codes_blocks import blocks, documents_before, masked_shards
from actlake.flows.document_pools import DocumentPools, document_pools
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import BusyError
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.run import Run

__all__ = ["Range", "Units", "documents_as_units", "rows_as_units"]

PASSES = 32
"""Ranges of features at most, but for features of more values, since each reads all codes."""
VALUES = 5_000_000
"""Of a range, at most, or of one feature: each takes some 40 bytes while it is ranked."""


@dataclass(frozen=True, slots=True)
class Range:
    """What units have of the features from ``start`` on."""

    start: int
    values: scipy.sparse.csr_array
    """Shape (units, features)."""
    fires: scipy.sparse.csr_array | None
    """Firing rows of each document, shape (documents, features); None where units are documents,
    or a label is of spans."""


@dataclass(frozen=True, slots=True)
class Units:
    """What is compared: documents, or rows."""

    are_documents: bool
    document: NDArray[np.int64]
    """Of each unit; of a set numbered one corpus after the other, as by ``documents_before``."""
    rows: NDArray[np.int64]
    """Rows under the mask of each document."""
    ranges: Callable[[], Iterator[Range]]
    """Of all features, anew each time."""


def documents_as_units(
    lake: Lake, members: Sequence[Codes], mask: Mask, run: Run, pooling: str
) -> Units:
    """Documents with rows under the mask; their values are pooled."""
    pools = [document_pools(lake, one, mask, run) for one in members]
    *before, documents = documents_before(lake, members).tolist()
    rows = np.zeros(documents, np.int64)
    for document in _documents_of_rows(lake, members, mask, before):
        np.add.at(rows, document, 1)
    used = np.flatnonzero(rows > 0)

    def ranges() -> Iterator[Range]:
        n = members[0].n_features
        held = sum(one.most_pairs for one in pools) <= VALUES
        cuts = [(0, n)] if held else _cuts(np.sum([one.pairs() for one in pools], axis=0))
        for start, stop in cuts:
            # Nothing of a range is held here once it is given: the next one takes its place.
            yield Range(start, _pooled(pools, start, stop, pooling)[used], None)

    return Units(True, used, rows, ranges)


def _pooled(
    pools: Sequence[DocumentPools], start: int, stop: int, pooling: str
) -> scipy.sparse.csr_array:
    """The features [start, stop) of all documents, shape (documents, features)."""
    first, *others = [one.merged(start, stop).finish(pooling).values for one in pools]
    return scipy.sparse.vstack((first, *others), format="csr") if others else first


def rows_as_units(lake: Lake, members: Sequence[Codes], mask: Mask, *, of_spans: bool) -> Units:
    """Rows under the mask; ``of_spans`` says that what they are compared by are spans."""
    *before, documents = documents_before(lake, members).tolist()
    document = np.concatenate([*_documents_of_rows(lake, members, mask, before)])

    def ranges() -> Iterator[Range]:
        held = sum(sum(one.values_of_shard.values()) for one in members) <= VALUES
        cuts = [(0, members[0].n_features)] if held else _cuts(_values(lake, members, mask))
        for start, stop in cuts:
            read = blocks(lake, members, mask, most=VALUES)
            values = _values_of_range(start, stop, read, len(document))
            yield Range(start, values, None if of_spans else _fires(values, document, documents))
            del values  # before the next is read

    return Units(False, document, np.bincount(document, minlength=documents), ranges)


def _documents_of_rows(
    lake: Lake, members: Sequence[Codes], mask: Mask, before: Sequence[int]
) -> Iterator[NDArray[np.int64]]:
    """The document of each row under the mask, shard by shard; ``before`` is as by
    ``documents_before``, of each member."""
    for first, codes in zip(before, members, strict=True):
        for _, kept, document in masked_shards(lake, codes, mask):
            yield first + document[kept]


def _cuts(values: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of features; ``values`` are those of each."""
    return consecutive(values, max(VALUES, int(values.sum()) // PASSES))


def _values(lake: Lake, members: Sequence[Codes], mask: Mask) -> NDArray[np.int64]:
    """Of each feature, under the mask."""
    counted = np.zeros(members[0].n_features, np.int64)
    for one in blocks(lake, members, mask, most=VALUES):
        counted += np.bincount(one.indices, minlength=len(counted))
    return counted


def _values_of_range(
    start: int, stop: int, read: Iterable[Csr], rows: int
) -> scipy.sparse.csr_array:
    values: scipy.sparse.csr_array = scipy.sparse.vstack(
        [_within(one, start, stop) for one in read], format="csr"
    )
    if values.shape[0] != rows:
        raise BusyError(
            "rows were withdrawn while they were compared; run this again to compare what is left"
        )
    return values


def _within(codes: Csr, start: int, stop: int) -> scipy.sparse.csr_array:
    """The values of the features [start, stop), numbered from 0 on."""
    kept = (codes.indices >= start) & (codes.indices < stop)
    starts = np.concatenate(([0], np.cumsum(kept)))[codes.indptr]
    indices = codes.indices[kept].astype(np.int32) - start
    values = codes.values[kept].astype(np.float64)
    return scipy.sparse.csr_array((values, indices, starts), shape=(codes.rows, stop - start))


def _fires(
    values: scipy.sparse.csr_array, document: NDArray[np.int64], documents: int
) -> scipy.sparse.csr_array:
    """On how many rows of each document each feature fires, shape (documents, features)."""
    rows = np.arange(len(document))
    gather = scipy.sparse.csr_array(
        (np.ones(len(rows)), (document, rows)), shape=(documents, len(rows))
    )
    parts = np.ones(values.nnz), values.indices, values.indptr
    return gather @ scipy.sparse.csr_array(parts, shape=values.shape)
