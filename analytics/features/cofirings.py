"""Which features fire together: a sparse co-Gram of some features with all later ones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.statistic import Arrays, require_same
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError
from actlake.storage.threads import default_threads

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Pairs = tuple[Counts, Counts, Counts, Floats]
"""First and second feature, joint firings and Σab of some pairs."""
AT_ONCE = 1 << 20
"""Pairs that are looked at together, so that what is made of them stays small."""


@dataclass(frozen=True, slots=True)
class Margins:
    """What each feature does by itself; what pairs are compared with."""

    n: int
    """Units, firing or not."""
    fires: Counts
    """Units on which each feature fires, shape (features,)."""
    total: Floats
    """Σa."""
    square: Floats
    """Σa²."""
    work: Counts
    """Joint firings of each feature with any other and itself: what it costs to count them."""

    @classmethod
    def empty(cls, n_features: int) -> Self:
        none, zeros = np.zeros(n_features, np.int64), np.zeros(n_features)
        return cls(0, none, zeros, zeros, none)

    @classmethod
    def of(cls, codes: Csr) -> Self:
        lengths = np.diff(codes.indptr)
        features, values = codes.n_features, codes.values.astype(np.float64)

        def sums(weights: NDArray[Any]) -> Floats:
            return np.bincount(codes.indices, weights, minlength=features).astype(np.float64)

        fires = np.bincount(codes.indices, minlength=features).astype(np.int64)
        work = sums(np.repeat(lengths, lengths)).astype(np.int64)
        return cls(codes.rows, fires, sums(values), sums(values**2), work)

    def merge(self, other: Self) -> Self:
        require_same("n_features", len(self.fires), len(other.fires))
        return type(self)(
            self.n + other.n,
            self.fires + other.fires,
            self.total + other.total,
            self.square + other.square,
            self.work + other.work,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        names = ("fires", "total", "square", "work")
        return {"n": np.array([self.n])} | {name: getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        rest = (arrays[name] for name in ("fires", "total", "square", "work"))
        return cls(int(arrays["n"][0]), *rest)


@dataclass(frozen=True, slots=True)
class CoFirings:
    """Joint firings, and products of values, of the features [start, stop) with later ones.

    Only pairs that fire together somewhere are held, each once, under the smaller feature: 24 bytes
    a pair. All features are covered by consecutive ranges. Columns keep no order until ``arrays``.
    """

    start: int
    joint: csr_array
    """Units on which both fire, int64, shape (stop - start, features)."""
    product: csr_array
    """Σab over them, float64; stored at the same places."""

    @classmethod
    def empty(cls, start: int, stop: int, n_features: int) -> Self:
        shape = (stop - start, n_features)
        return cls(start, csr_array(shape, dtype=np.int64), csr_array(shape, dtype=np.float64))

    @classmethod
    def of(cls, block: "Sides", *, start: int, stop: int) -> Self:
        with ThreadPoolExecutor(min(2, default_threads())) as pool:  # scipy lets others run
            joint, product = pool.map(
                lambda rows_of, later: rows_of[start:stop] @ later,
                block.features,
                block.from_feature(start),
            )
        # Both products come with their entries at the same places, in the same order.
        inside = np.flatnonzero(joint.indices < stop)
        row = start + np.searchsorted(joint.indptr, inside, "right") - 1
        kept = np.ones(joint.nnz, np.bool_)
        kept[inside[joint.indices[inside] <= row]] = False
        starts = np.concatenate(([0], np.cumsum(kept)))[joint.indptr]
        later = joint.indices[kept]
        return cls(
            start,
            csr_array((joint.data[kept], later, starts), shape=joint.shape),
            csr_array((product.data[kept], later, starts), shape=joint.shape),
        )

    def merge(self, other: Self) -> Self:
        require_same("first feature", self.start, other.start)
        require_same("features", self.joint.shape[0], other.joint.shape[0])
        require_same("n_features", self.joint.shape[1], other.joint.shape[1])
        return type(self)(self.start, self.joint + other.joint, self.product + other.product)

    def strong(self, least: int) -> Iterator[Pairs]:
        """The pairs of ``least`` joint firings or more, in no order of the second feature."""
        for at in range(0, self.joint.nnz, AT_ONCE):
            found = at + np.flatnonzero(self.joint.data[at : at + AT_ONCE] >= least)
            first = self.start + np.searchsorted(self.joint.indptr, found, "right") - 1
            second = self.joint.indices[found].astype(np.int64)
            yield first, second, self.joint.data[found], self.product.data[found]

    def pairs(self) -> Pairs:
        """All of them, ascending in both features."""
        joint, product = (_in_order(one) for one in (self.joint, self.product))
        first = self.start + np.repeat(np.arange(joint.shape[0]), np.diff(joint.indptr))
        return first, joint.indices.astype(np.int64), joint.data, product.data

    def arrays(self) -> dict[str, NDArray[Any]]:
        first, second, joint, product = self.pairs()
        shape = np.array([self.start, *self.joint.shape], np.int64)
        pairs = {"first": first, "second": second, "joint": joint, "product": product}
        return {"shape": shape, **pairs}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        start, rows, n_features = arrays["shape"].tolist()
        indptr = np.searchsorted(arrays["first"], start + np.arange(rows + 1))
        joint, product = (
            csr_array((arrays[name], arrays["second"], indptr), shape=(rows, n_features))
            for name in ("joint", "product")
        )
        return cls(start, joint, product)


class DenseCoFirings:
    """``CoFirings`` of many blocks, added up in place: 12 bytes a pair, whether it fires or not,
    and 16 beyond 2^32 units.

    Merged, they take 24 bytes a pair three times over: before, beside and after.
    """

    def __init__(self, start: int, stop: int, n_features: int, *, units: int) -> None:
        """``units`` are those of all blocks together."""
        self._start = start
        shape = (stop - start, n_features - start)
        self._joint = np.zeros(shape, max(np.dtype(np.uint32), np.min_scalar_type(units)))
        self._product = np.zeros(shape)

    def add(self, counted: CoFirings) -> None:
        """What a block has of all these features, or of some."""
        rows, width = counted.joint.shape[0], self._joint.shape[1]
        first = np.arange(counted.start - self._start, counted.start - self._start + rows)
        at = np.repeat(first * width - self._start, np.diff(counted.joint.indptr))
        at += counted.joint.indices
        # Each pair is there once, so nothing is lost by adding to all of them together.
        self._joint.ravel()[at] += counted.joint.data.astype(self._joint.dtype)
        self._product.ravel()[at] += counted.product.data

    def strong(self, least: int) -> Iterator[Pairs]:
        """As those of ``CoFirings``."""
        joint, product = self._joint.ravel(), self._product.ravel()
        for at in range(0, len(joint), AT_ONCE):
            found = at + np.flatnonzero(joint[at : at + AT_ONCE] >= least)
            first, second = (self._start + one for one in np.divmod(found, self._joint.shape[1]))
            yield first, second, joint[found].astype(np.int64), product[found]


class Sides:
    """A block of codes by unit and by feature, as counts and as values; 40 bytes a value."""

    __slots__ = ("_units", "features")

    def __init__(self, codes: Csr) -> None:
        indices = codes.indices.astype(np.int32)
        if codes.nnz > np.iinfo(np.int32).max:
            raise InputError(f"{codes.nnz:,} values are too many for one block; cut it")
        shape, starts = (codes.rows, codes.n_features), codes.indptr.astype(np.int32)
        values = codes.values.astype(np.float64)
        ones = np.ones(codes.nnz, np.int64)
        self._units = [csr_array((data, indices, starts), shape=shape) for data in (ones, values)]
        self.features = [one.T.tocsr() for one in self._units]
        """Shape (features, units) each."""

    def from_feature(self, start: int) -> list[csr_array]:
        """Units by the features from ``start`` on; call it with rising numbers only."""
        first = self._units[0]
        kept = first.indices >= start
        if not kept.all():
            starts = np.concatenate(([0], np.cumsum(kept, dtype=np.int32)))[first.indptr]
            self._units = [
                csr_array((one.data[kept], one.indices[kept], starts), shape=one.shape)
                for one in self._units
            ]
        return self._units


def _in_order(matrix: csr_array) -> csr_array:
    ordered = matrix.copy()
    ordered.sort_indices()
    return ordered
