"""The distribution of each feature's values, in bins of equal relative width."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import sum_by_key
from actlake.analytics.features.postings import Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
# Bins of float32 values lie in ±5,200: a bin and a feature fit one 64-bit key.
BIN_OFFSET = 1 << 15
BINS = 1 << 16


def bin_edges(bins: NDArray[np.integer[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower (excluded) and upper (included) edges of ``bins``: γ^(b-1) < value <= γ^b."""
    upper = bins.astype(np.float64)
    return GAMMA ** (upper - 1), GAMMA**upper


def bins_of(values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The bin of each of ``values``, > 0, of any shape."""
    bins: NDArray[np.int64] = np.ceil(np.log(values.astype(np.float64)) / np.log(GAMMA)).astype(
        np.int64
    )
    return bins


@dataclass(frozen=True, slots=True)
class FeatureHistogram:
    """Counts of values > 0 by (feature, bin), bin b holding γ^(b-1) < value <= γ^b.

    γ = 1.01/0.99, so a quantile read from a bin is within 1 % of the exact one, over any range
    of values. Merging adds counts and is exact. Counts are stored where they are not zero.

    Source: Masson, Rim & Lee (2019), "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees", PVLDB 12(12).
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("feature", "bin", "count")

    n_rows: int
    """Rows under the mask, firing or not."""
    n_features: int
    feature: NDArray[np.int64]
    """Shape (bins used,), ascending; with ``bin`` the key."""
    bin: NDArray[np.int64]
    count: NDArray[np.int64]

    @classmethod
    def empty(cls, n_features: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(0, n_features, none, none, none)

    @classmethod
    def of(cls, codes: Csr, mask: NDArray[np.bool_]) -> Self:
        """Histogram over the rows of ``codes`` where ``mask``, shape (rows,), is true."""
        return cls.of_postings(Postings.of(codes, mask))

    @classmethod
    def of_postings(cls, postings: Postings) -> Self:
        feature, value = postings.feature, postings.rising
        # Values as stored repeat a lot: one logarithm a value and feature is enough.
        changes = (np.diff(value, prepend=0) != 0) | (np.diff(feature, prepend=-1) != 0)
        first = np.flatnonzero(changes)
        count = np.diff(first, append=len(feature))
        found = feature[first].astype(np.int64), bins_of(value[first]), count
        return cls._summed(postings.n_rows, postings.n_features, *found)

    def merge(self, other: Self) -> Self:
        return self.merge_all((self, other))

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        for other in states[1:]:
            require_same("n_features", states[0].n_features, other.n_features)
        return cls._summed(
            sum(one.n_rows for one in states),
            states[0].n_features,
            np.concatenate([one.feature for one in states]),
            np.concatenate([one.bin for one in states]),
            np.concatenate([one.count for one in states]),
        )

    @classmethod
    def _summed(
        cls,
        n_rows: int,
        n_features: int,
        feature: NDArray[np.int64],
        bins: NDArray[np.int64],
        count: NDArray[np.int64],
    ) -> Self:
        keys, (count,) = sum_by_key(feature * BINS + (bins + BIN_OFFSET), count)
        return cls(n_rows, n_features, keys // BINS, keys % BINS - BIN_OFFSET, count)

    def n_fires(self) -> NDArray[np.int64]:
        """Stored values of each feature, shape (n_features,)."""
        total = np.bincount(self.feature, weights=self.count, minlength=self.n_features)
        return total.astype(np.int64)

    def quantile(self, q: float) -> NDArray[np.float64]:
        """Quantile ``q`` in [0, 1] of each feature's values where it fires; NaN if it never does.

        Shape (n_features,), within 1 % of the value at rank ⌊q(n-1)⌋, numpy's method "lower".
        """
        fires = self.n_fires()
        values = self._at(_rank(q, fires))
        return np.where(fires > 0, values, np.nan)

    def quantile_all(self, q: float) -> NDArray[np.float64]:
        """Quantile ``q`` over all rows under the mask, silent ones as 0; NaN without rows.

        Shape (n_features,); same rank rule and error as ``quantile``.
        """
        fires = self.n_fires()
        silent = self.n_rows - fires
        rank = _rank(q, np.full(self.n_features, self.n_rows)) - silent
        values = np.where(rank >= 0, self._at(np.maximum(rank, 0)), 0.0)
        return values if self.n_rows else np.full(self.n_features, np.nan)

    def _at(self, rank: NDArray[np.int64]) -> NDArray[np.float64]:
        """The middle of the bin that holds each feature's value of ``rank``, counted from 0."""
        if len(self.count) == 0:
            return np.zeros(self.n_features)
        fires = self.n_fires()
        before = np.cumsum(fires) - fires
        entry = np.searchsorted(np.cumsum(self.count), before + rank, side="right")
        bins = self.bin[np.minimum(entry, len(self.bin) - 1)]
        return 2 * GAMMA ** bins.astype(np.float64) / (GAMMA + 1)

    def coarse(self, bins: int) -> Self:
        """The same with ``bins`` of its bins in one, which has the number of the first of them,
        counted from ``-BIN_OFFSET`` on."""
        wide = (self.bin + BIN_OFFSET) // bins * bins - BIN_OFFSET
        first = np.flatnonzero(np.diff(self.feature, prepend=-1) | np.diff(wide, prepend=-BINS))
        count = np.add.reduceat(self.count, first) if len(first) else self.count
        return replace(self, feature=self.feature[first], bin=wide[first], count=count)

    def among(self, start: int, stop: int) -> Self:
        """The same where features before ``start``, and from ``stop`` on, never fire."""
        some = slice(*np.searchsorted(self.feature, (start, stop)))
        parts = self.feature[some], self.bin[some], self.count[some]
        return type(self)(self.n_rows, self.n_features, *parts)

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_histograms: feature, bin, count; only bins that hold something."""
        return {"feature": self.feature, "bin": self.bin, "count": self.count}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _rank(q: float, n: NDArray[np.int64]) -> NDArray[np.int64]:
    if not 0 <= q <= 1:
        raise InputError(f"quantile {q} is outside [0, 1]; give a share such as 0.99")
    return np.floor(q * np.maximum(n - 1, 0)).astype(np.int64)
