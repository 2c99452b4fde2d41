"""The covariance of a tensor's units, from one pass."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, merge_in_order, pack, unpack

Floats = NDArray[np.float64]
PIECE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Gram:
    """Count, mean and centred Gram matrix XᵀX of rows; PCA and whitening need nothing else.

    The centred form is kept because Σxxᵀ - nμμᵀ loses all digits where a mean is large beside its
    spread. Held bytes: 8·width².

    Source: Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
    sample variances", Stanford CS-TR-79-773, for pairs of columns.
    """

    count: int
    """Rows seen."""
    mean: Floats
    """Shape (width,); 0 where no rows were seen."""
    scatter: Floats
    """Σ (x-μ)(x-μ)ᵀ, shape (width, width)."""

    @classmethod
    def empty(cls, width: int) -> Self:
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, block: NDArray[Any]) -> Self:
        """Gram of a block, shape (rows, width), read in pieces of 4,096 rows."""
        starts = range(0, max(len(block), 1), PIECE_ROWS)
        return merge_in_order(cls._of_piece(block[start : start + PIECE_ROWS]) for start in starts)

    @classmethod
    def _of_piece(cls, block: NDArray[Any]) -> Self:
        if len(block) == 0:
            return cls.empty(block.shape[1])
        values = block.astype(np.float64)
        mean = values.mean(axis=0)
        values -= mean
        return cls(len(values), mean, values.T @ values)

    def merge(self, other: Self) -> Self:
        count = self.count + other.count
        if count == 0:
            return self
        gap, share = other.mean - self.mean, other.count / count
        scatter = self.scatter + other.scatter + np.outer(gap, gap) * (self.count * share)
        return type(self)(count, self.mean + gap * share, scatter)

    def covariance(self) -> Floats:
        """Population covariance (ddof 0), shape (width, width); NaN if no rows were seen."""
        return self.scatter / (self.count or np.nan)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
