"""Central moments, extremes and counts of columns."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, merge_in_order, pack, unpack

Floats = NDArray[np.float64]
PIECE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, centred power sums and extremes of each column; all arrays shape (columns,).

    Float64 whatever the input. A NaN value makes its column NaN. Variances are those of the
    population (ddof 0).

    Source: Pébay (2008), "Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments", SAND2008-6212.
    """

    count: NDArray[np.int64]
    """Values seen."""
    mean: Floats
    """0 where the count is 0."""
    m2: Floats
    """Sum of squared deviations from the mean."""
    m3: Floats
    m4: Floats
    minimum: Floats
    """+inf where the count is 0."""
    maximum: Floats
    """-inf where the count is 0."""

    @classmethod
    def empty(cls, columns: int) -> Self:
        return cls.zeros(np.zeros(columns, np.int64))

    @classmethod
    def zeros(cls, count: NDArray[np.int64]) -> Self:
        """Moments of ``count[j]`` zeros in column j."""
        sums = np.zeros(len(count))
        minimum, maximum = np.where(count > 0, 0.0, np.inf), np.where(count > 0, 0.0, -np.inf)
        return cls(count, sums, sums, sums, sums, minimum, maximum)

    @classmethod
    def of(cls, block: NDArray[Any]) -> Self:
        """Moments of a dense block, shape (rows, columns), read in pieces of 4,096 rows."""
        starts = range(0, max(len(block), 1), PIECE_ROWS)
        return merge_in_order(cls._of_piece(block[start : start + PIECE_ROWS]) for start in starts)

    @classmethod
    def _of_piece(cls, block: NDArray[Any]) -> Self:
        if len(block) == 0:
            return cls.empty(block.shape[1])
        values = block.astype(np.float64)
        mean = values.mean(axis=0)
        gap = values - mean
        square = gap * gap
        return cls(
            np.full(block.shape[1], len(block), np.int64),
            mean,
            square.sum(axis=0),
            (square * gap).sum(axis=0),
            (square * square).sum(axis=0),
            values.min(axis=0),
            values.max(axis=0),
        )

    @classmethod
    def of_groups(cls, column: NDArray[Any], values: NDArray[Any], columns: int) -> Self:
        """Moments of ``values``, shape (n,), each belonging to column ``column[i]``."""

        def total(weights: Floats) -> Floats:
            return np.bincount(column, weights=weights, minlength=columns).astype(np.float64)

        values = values.astype(np.float64)
        count = np.bincount(column, minlength=columns)
        mean = total(values) / np.maximum(count, 1)
        gap = values - mean[column]
        square = gap * gap
        minimum, maximum = np.full(columns, np.inf), np.full(columns, -np.inf)
        np.minimum.at(minimum, column, values)
        np.maximum.at(maximum, column, values)
        return cls(
            count.astype(np.int64),
            mean,
            total(square),
            total(square * gap),
            total(square * square),
            minimum,
            maximum,
        )

    @classmethod
    def of_runs(cls, values: NDArray[Any], starts: NDArray[np.int64]) -> Self:
        """Moments of columns whose values lie together: column j holds [starts[j], starts[j+1]).

        ``starts`` has shape (columns + 1,). A sum over a run is several times as fast as one that
        looks every value's column up.
        """
        count = np.diff(starts)
        held = np.flatnonzero(count)
        edges = starts[:-1][held]

        def reduced(function: np.ufunc, weights: Floats, empty: float) -> Floats:
            result = np.full(len(count), empty, np.float64)
            if len(held):
                result[held] = function.reduceat(weights, edges)
            return result

        values = values.astype(np.float64)
        mean = reduced(np.add, values, 0) / np.maximum(count, 1)
        gap = values - np.repeat(mean, count)
        square = gap * gap
        return cls(
            count.astype(np.int64),
            mean,
            reduced(np.add, square, 0),
            reduced(np.add, square * gap, 0),
            reduced(np.add, square * square, 0),
            reduced(np.minimum, values, np.inf),
            reduced(np.maximum, values, -np.inf),
        )

    def merge(self, other: Self) -> Self:
        a, b = self.count.astype(np.float64), other.count.astype(np.float64)
        n = np.maximum(a + b, 1)  # where both are empty every term is zero already
        gap = other.mean - self.mean
        share = gap / n
        m2 = self.m2 + other.m2 + gap * share * a * b
        m3 = self.m3 + other.m3 + gap * share**2 * a * b * (a - b)
        m3 = m3 + 3 * share * (a * other.m2 - b * self.m2)
        m4 = self.m4 + other.m4 + gap * share**3 * a * b * (a * a - a * b + b * b)
        m4 = m4 + 6 * share**2 * (a * a * other.m2 + b * b * self.m2)
        m4 = m4 + 4 * share * (a * other.m3 - b * self.m3)
        return type(self)(
            self.count + other.count,
            self.mean + gap * (b / n),
            m2,
            m3,
            m4,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    def variance(self) -> Floats:
        """Mean squared deviation from the mean; NaN where the count is 0."""
        with np.errstate(invalid="ignore"):
            return self.m2 / np.where(self.count > 0, self.count, np.nan)

    def skew(self) -> Floats:
        """E(x-μ)³/σ³; NaN where the column is constant or empty."""
        return self._standardised(self.m3, 1.5)

    def kurtosis(self) -> Floats:
        """Excess kurtosis E(x-μ)⁴/σ⁴ - 3; NaN where the column is constant or empty."""
        return self._standardised(self.m4, 2.0) - 3

    def _standardised(self, power_sum: Floats, exponent: float) -> Floats:
        variance = self.variance()
        # Below this the deviations are rounding errors of the mean, not a spread.
        spread = variance > np.square(np.finfo(np.float64).eps * self.mean)
        scale = np.where(spread, variance, np.nan) ** exponent
        return power_sum / np.maximum(self.count, 1) / scale

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
