"""A pool of documents as arrays that take no more bytes than the codes that it was made of.

Of documents of a few rows most features fire once, so a pair costs as much as in the codes: its
feature and its value. Pairs are told apart by how often they fire, 1, 2, 3 times or more: the first
need their maximum alone, the second the other value too, the third the sum, the last the sum and
how often. The numbers of a document, its own and those of its rows and pairs, are one byte each
where they are below 255. Every array has the smallest type that keeps its values to the last bit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import stable_order
from actlake.analytics.hypotheses.pooling import DocumentPool
from actlake.analytics.statistic import Arrays
from actlake.storage.csr import index_dtype

__all__ = ["PAIR_BYTES", "pairs_of_features", "pool_arrays", "pool_of_arrays"]

Whole = NDArray[np.int64]
PAIR_BYTES = 4
"""Of a pair of a document and a feature, at least."""

KINDS = (1, 2, 3, 4)
"""Rows on which a pair fires; the last: so many or more."""
ESCAPE = 255
"""Stands for a number that lies, whole, in another array."""


def pool_arrays(pool: DocumentPool) -> dict[str, NDArray[Any]]:
    """What ``pool_of_arrays`` makes the same pool of, to the last bit.

    Without an array as long as the corpus: a shard names its own documents only.
    """
    document, feature = np.divmod(pool.key, pool.n_features)
    place = np.searchsorted(pool.document, document)
    kind = np.minimum(pool.count, KINDS[-1])
    numbers = [np.diff(pool.document, prepend=0), pool.rows]
    arrays = {"sizes": np.array([pool.documents, pool.n_features, len(pool.document)])}
    for one in KINDS:
        at = np.flatnonzero(kind == one)
        if not len(at):
            continue
        numbers.append(np.bincount(place[at], minlength=len(pool.document)))
        arrays[f"feature{one}"] = feature[at].astype(index_dtype(pool.n_features))
        arrays[f"largest{one}"] = _narrow(pool.largest[at])
        if one == 2:  # the sum is at most twice the larger, so this is exact (Sterbenz)
            arrays["other2"] = _narrow(pool.total[at] - pool.largest[at])
        if one >= 3:
            arrays[f"total{one}"] = _narrow(pool.total[at])
        if one == KINDS[-1]:
            arrays[f"count{one}"] = _narrow_whole(pool.count[at])
    each = np.concatenate(numbers)
    arrays["numbers"] = np.minimum(each, ESCAPE).astype(np.uint8)
    arrays["escaped"] = _narrow_whole(each[each >= ESCAPE])
    return arrays


def pool_of_arrays(arrays: Arrays, start: int = 0, stop: int | None = None) -> DocumentPool:
    """The pool that ``pool_arrays`` was given.

    With ``start`` or ``stop`` of the features [start, stop) alone, which are then numbered from 0
    on; their pairs are all that is made whole, and the others cost a look at their feature.
    """
    documents, n_features, _ = (int(one) for one in arrays["sizes"])
    stop = n_features if stop is None else stop
    document, rows, pairs = _documents(arrays)
    place = np.arange(len(document), dtype=np.int32)
    parts = []
    for one, count in pairs.items():
        feature = arrays[f"feature{one}"]
        here: NDArray[Any] | slice = slice(None)
        if (start, stop) != (0, n_features):
            here = np.flatnonzero((feature >= start) & (feature < stop))
        of_document = document[np.repeat(place, count)[here]]
        key = of_document * (stop - start) + feature[here] - start
        largest = arrays[f"largest{one}"][here].astype(np.float64)
        total, fires = largest, np.full(len(key), one)
        if one == 2:
            total = largest + arrays["other2"][here]
        if one >= 3:
            total = arrays[f"total{one}"][here].astype(np.float64)
        if one == KINDS[-1]:
            fires = arrays[f"count{one}"][here].astype(np.int64)
        parts.append((key, total, largest, fires))
    if not parts:
        pool = DocumentPool.empty(documents, stop - start)
        parts.append((pool.key, pool.total, pool.largest, pool.count))
    key, total, largest, fires = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = stable_order(key)
    pairs_of = key[order], total[order], largest[order], fires[order]
    return DocumentPool(documents, stop - start, *pairs_of, document, rows)


def pairs_of_features(arrays: Arrays) -> NDArray[np.int64]:
    """How many documents of a pool, whose arrays these are, each feature fires in; (features,)."""
    counted = np.zeros(int(arrays["sizes"][1]), np.int64)
    for name in (f"feature{one}" for one in KINDS):
        if name in arrays:
            counted += np.bincount(arrays[name], minlength=len(counted))
    return counted


def _documents(arrays: Arrays) -> tuple[Whole, Whole, dict[int, Whole]]:
    """Documents and rows of each, and its pairs of each of ``KINDS`` that is there."""
    each = arrays["numbers"].astype(np.int64)
    each[each == ESCAPE] = arrays["escaped"]
    kinds = [one for one in KINDS if f"feature{one}" in arrays]
    difference, rows, *pairs = each.reshape(2 + len(kinds), int(arrays["sizes"][2]))
    return np.cumsum(difference), rows, dict(zip(kinds, pairs, strict=True))


def _narrow(values: NDArray[np.float64]) -> NDArray[Any]:
    """``values`` in the smallest floating type that has all of them."""
    with np.errstate(over="ignore"):
        for dtype in (np.float16, np.float32):
            small = values.astype(dtype)
            if (small == values).all():
                return small
    return values


def _narrow_whole(values: NDArray[np.int64]) -> NDArray[Any]:
    """``values``, all at least 0, in the smallest type of whole numbers that has all of them."""
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))
