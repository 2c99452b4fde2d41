"""Rates over rows that come in documents: their difference, and how sure it is."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from actlake.analytics.hypotheses.pooling import Matrix
from actlake.analytics.statistic import Arrays, pack, require_same, unpack

Floats = NDArray[np.float64]
LEAST_DOCUMENTS = 5
"""In which a feature must fire, on both sides together: with fewer the normal law says little."""


@dataclass(frozen=True, slots=True)
class RateSums:
    """Sums over documents of each feature's firing rows f and of all rows r of the document.

    A document is in one block whole: states of parts of a document do not make that of the whole.
    """

    documents: int
    rows: int
    """Σr."""
    rows_square: float
    """Σr²."""
    fires: Floats
    """Σf, shape (features,)."""
    fires_square: Floats
    """Σf²."""
    fires_rows: Floats
    """Σf·r."""
    firing: Floats
    """Documents in which the feature fires."""

    @classmethod
    def empty(cls, n_features: int) -> Self:
        zeros = np.zeros(n_features)
        return cls(0, 0, 0.0, zeros, zeros, zeros, zeros)

    @classmethod
    def of(cls, fires: Matrix, rows: NDArray[np.int64]) -> Self:
        """``fires``, shape (documents, features), counts firing rows; documents without rows, of
        which ``rows`` is 0, are not counted."""
        r = rows.astype(np.float64)
        feature, weight = fires.indices, np.repeat(r, np.diff(fires.indptr))

        def sums(data: Any = None) -> Floats:
            return np.bincount(feature, data, minlength=fires.shape[1]).astype(np.float64)

        data = fires.data
        used = int(np.count_nonzero(rows))
        sides = (sums(data), sums(data**2), sums(data * weight), sums())
        return cls(used, int(rows.sum()), float((r**2).sum()), *sides)

    def merge(self, other: Self) -> Self:
        require_same("n_features", len(self.fires), len(other.fires))
        return type(self)(
            self.documents + other.documents,
            self.rows + other.rows,
            self.rows_square + other.rows_square,
            self.fires + other.fires,
            self.fires_square + other.fires_square,
            self.fires_rows + other.fires_rows,
            self.firing + other.firing,
        )

    def without(self, some: Self) -> Self:
        """The documents but for ``some`` of them; exact, as all sums are of whole numbers."""
        require_same("n_features", len(self.fires), len(some.fires))
        pairs = ((getattr(self, name), getattr(some, name)) for name in self.__slots__)
        return type(self)(*(mine - less for mine, less in pairs))

    def rate(self) -> Floats:
        """Share of rows on which each fires."""
        return self.fires / max(self.rows, 1)

    def variance(self) -> Floats:
        """Of the rate as a ratio of means over independent documents; NaN for fewer than two."""
        rate = self.rate()
        left = self.fires_square - 2 * rate * self.fires_rows + rate**2 * self.rows_square
        if self.documents < 2 or not self.rows:
            return np.full(len(rate), np.nan)
        return np.clip(left, 0, None) / self.rows**2 * self.documents / (self.documents - 1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def rate_difference(a: RateSums, b: RateSums) -> tuple[Floats, Floats, Floats]:
    """Rate of ``b`` less that of ``a``, its standard error, and the two-sided p, shape (features,).

    Error and p are NaN where the feature fires in fewer than ``LEAST_DOCUMENTS`` documents of
    both together, or where nothing varies. p is of Student's t with Welch's degrees of freedom
    over documents, not rows: the rows of a document are not independent.

    Source: the ratio estimator of cluster samples, Cochran (1977), "Sampling Techniques", §6.3.
    """
    difference = b.rate() - a.rate()
    var_a, var_b = a.variance(), b.variance()
    able = (a.firing + b.firing >= LEAST_DOCUMENTS) & (var_a + var_b > 0)
    variance = np.where(able, var_a + var_b, np.nan)
    error = np.sqrt(variance)
    parts = var_a**2 / max(a.documents - 1, 1) + var_b**2 / max(b.documents - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = variance**2 / parts
        p = 2 * stdtr(freedom, -np.abs(difference / error))
    return difference, error, np.maximum(p, np.finfo(np.float64).tiny)


def rate_difference_within(
    fires_a: Matrix, rows_a: NDArray[np.int64], fires_b: Matrix, rows_b: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """As ``rate_difference``, where ``a`` and ``b`` are parts of the same documents.

    ``fires_a`` and ``fires_b``, shape (documents, features), count firing rows of either part, and
    ``rows_a`` and ``rows_b`` all of its rows, some on each side. Degrees of freedom are one less
    than the documents of the side that is in fewer, and p is never below what the signs of so many
    differences could show, 2 to the power of that less: also where no difference varies, as of a
    feature that fires on the rows of ``b`` and on no other. NaN where neither side differs nor
    varies.

    Source: Cochran (1977), §6.12, the difference of two ratios of one sample.
    """
    a, b = rows_a.astype(np.float64), rows_b.astype(np.float64)
    total_a, total_b = a.sum(), b.sum()
    rate_a, rate_b = fires_a.sum(axis=0) / total_a, fires_b.sum(axis=0) / total_b
    # What a document adds to the difference is x less the same at the mean rates.
    x = (fires_b / total_b - fires_a / total_a).tocsr()
    mean_a, mean_b = rate_a / total_a, rate_b / total_b
    squares = np.bincount(x.indices, x.data**2, x.shape[1])
    expected = mean_b**2 * (b @ b) - 2 * mean_a * mean_b * (a @ b) + mean_a**2 * (a @ a)
    left = squares - 2 * (mean_b * (x.T @ b) - mean_a * (x.T @ a)) + expected
    left[left < 1e-12 * (squares + expected)] = 0  # what rounding leaves of nothing
    documents = int(min(np.count_nonzero(a), np.count_nonzero(b)))
    both = (fires_a + fires_b).tocsr()
    firing = np.bincount(both.indices[both.data > 0], minlength=x.shape[1])
    able = (firing >= LEAST_DOCUMENTS) & (documents > 1)
    scale = documents / max(documents - 1, 1)
    error = np.sqrt(np.where(able, left * scale, np.nan))
    difference = rate_b - rate_a
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(documents - 1, -np.abs(difference / error))
    return difference, error, np.maximum(p, max(2.0 ** (1 - documents), np.finfo(np.float64).tiny))
