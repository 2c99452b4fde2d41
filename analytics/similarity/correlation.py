"""Pearson correlations between the features of two codes, silent rows counted as zeros."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr

Floats = NDArray[np.float64]
Sums = tuple[NDArray[np.int64], Floats, Floats]
"""Firing rows, sum and sum of squares of each feature."""
TILE_BYTES = 16 << 20
"""Of a tile's products. While one is made, about four times as much is held."""


@dataclass(frozen=True, slots=True)
class CoGram:
    """Sums over rows of the features [start, stop) of A, of all of B, and of their products.

    Held bytes: 8·tile·F_B, whatever the number of rows. Counts of joint firings, and phi
    coefficients, are those of codes whose values are all 1.
    """

    n: int
    """Rows seen, firing or not."""
    start: int
    """First feature of A in the tile."""
    fires_a: NDArray[np.int64]
    """Rows on which each fires, shape (tile,)."""
    sum_a: Floats
    square_a: Floats
    """Σa²."""
    fires_b: NDArray[np.int64]
    """Shape (F_B,)."""
    sum_b: Floats
    square_b: Floats
    product: Floats
    """Σab, shape (tile, F_B)."""

    @classmethod
    def empty(cls, start: int, stop: int, n_features_b: int) -> Self:
        a, b = np.zeros(stop - start), np.zeros(n_features_b)
        none_a, none_b = a.astype(np.int64), b.astype(np.int64)
        product = np.zeros((stop - start, n_features_b))
        return cls(0, start, none_a, a, a, none_b, b, b, product)

    @classmethod
    def of(cls, a: Csr, b: Csr, *, start: int, stop: int) -> Self:
        """Sums of two codes of the same rows; ``start`` and ``stop`` cut A's features."""
        of_b = sparse(b)
        return cls._of_sparse(_features_first(sparse(a)), of_b, _column_sums(of_b), start, stop)

    @classmethod
    def _of_sparse(
        cls, a_features: csr_array, b: csr_array, sums_b: Sums, start: int, stop: int
    ) -> Self:
        tile = a_features[start:stop]
        feature_a = np.repeat(np.arange(stop - start), np.diff(tile.indptr))
        return cls(
            b.shape[0],
            start,
            *_sums(feature_a, tile.data, stop - start),
            *sums_b,
            (tile @ b).toarray(),
        )

    def merge(self, other: Self) -> Self:
        require_same("first feature", self.start, other.start)
        require_same("features of a", len(self.sum_a), len(other.sum_a))
        require_same("features of b", len(self.sum_b), len(other.sum_b))
        return type(self)(
            self.n + other.n,
            self.start,
            self.fires_a + other.fires_a,
            self.sum_a + other.sum_a,
            self.square_a + other.square_a,
            self.fires_b + other.fires_b,
            self.sum_b + other.sum_b,
            self.square_b + other.square_b,
            self.product + other.product,
        )

    def correlation(self) -> Floats:
        """Pearson's r of each pair, shape (tile, F_B), in [-1, 1]; NaN if either is constant."""
        scale_a, scale_b = (
            _scale(self.n, total, square)
            for total, square in ((self.sum_a, self.square_a), (self.sum_b, self.square_b))
        )
        r = self.product * self.n
        r -= np.outer(self.sum_a, self.sum_b)
        r /= scale_a[:, None]
        r /= scale_b
        return np.clip(r, -1, 1, out=r)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def correlation_tiles(
    a: csr_array, b: csr_array, *, tile_bytes: int = TILE_BYTES
) -> Iterator[Floats]:
    """Correlations of consecutive ranges of A's features, shape (some, F_B), with all of B.

    ``a`` and ``b`` are ``sparse`` codes of the same rows; a tile takes at most ``tile_bytes``, or
    one feature. Costs Σ over rows of firing(a)·firing(b), whatever the number of features.
    """
    a_features, (features_a, features_b) = _features_first(a), (a.shape[1], b.shape[1])
    tile = max(tile_bytes // (8 * max(features_b, 1)), 1)
    sums_b = _column_sums(b)
    for start in range(0, features_a, tile):
        stop = min(start + tile, features_a)
        yield CoGram._of_sparse(a_features, b, sums_b, start, stop).correlation()


def sparse(codes: Csr) -> csr_array:
    """``codes`` as a float64 matrix of scipy, shape (rows, n_features); 12 bytes a value."""
    parts = (codes.values.astype(np.float64), codes.indices.astype(np.int32), codes.indptr)
    return csr_array(parts, shape=(codes.rows, codes.n_features))


def _features_first(a: csr_array) -> csr_array:
    return a.T.tocsr()


def _column_sums(matrix: csr_array) -> Sums:
    return _sums(matrix.indices, matrix.data, matrix.shape[1])


def _sums(feature: NDArray[Any], values: Floats, features: int) -> Sums:
    return (
        np.bincount(feature, minlength=features).astype(np.int64),
        np.bincount(feature, values, minlength=features).astype(np.float64),
        np.bincount(feature, values**2, minlength=features).astype(np.float64),
    )


def _scale(n: int, total: Floats, square: Floats) -> Floats:
    """√(nΣa² - (Σa)²); NaN where what is left is rounding, not spread."""
    spread = n * square - total**2
    return np.sqrt(np.where(spread > 1e-12 * n * square, spread, np.nan))
