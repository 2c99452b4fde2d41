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
