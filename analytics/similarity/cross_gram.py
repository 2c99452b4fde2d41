"""What similarity measures need of two matched dense tensors, from one pass."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, merge_in_order, pack, unpack

Floats = NDArray[np.float64]
PIECE_ROWS = 4096
ROUNDING = 1e-14
"""Relative to the mean: a spread below is that of float64 sums."""


@dataclass(frozen=True, slots=True)
class CrossGram:
    """Count, means, and sums about them up to the fourth order that rows of two tensors give.

    All sums are of deviations from the means, x and y below, since raw sums lose all digits where
    a mean is large beside its spread, and the fourth powers twice over. Canonical correlations,
    Procrustes and biased CKA need the second order, debiased CKA all of it. Held bytes:
    8·(width_x² + width_y² + width_x·width_y).

    Source: Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise algorithm for computing
    sample variances", Stanford CS-TR-79-773, carried on to the mixed third and fourth orders.
    """

    count: int
    """Rows seen."""
    mean_x: Floats
    """Shape (width_x,); 0 where no rows were seen."""
    mean_y: Floats
    xx: Floats
    """Σ xxᵀ, shape (width_x, width_x)."""
    yy: Floats
    xy: Floats
    """Σ xyᵀ, shape (width_x, width_y)."""
    cube_x: Floats
    """Σ x‖x‖², shape (width_x,)."""
    cube_y: Floats
    x_by_y: Floats
    """Σ x‖y‖², shape (width_x,)."""
    y_by_x: Floats
    """Σ y‖x‖², shape (width_y,)."""
    fourth_x: float
    """Σ ‖x‖⁴."""
    fourth_y: float
    fourth_xy: float
    """Σ ‖x‖²‖y‖²."""

    @classmethod
    def empty(cls, width_x: int, width_y: int) -> Self:
        x, y = np.zeros(width_x), np.zeros(width_y)
        grams = (np.outer(x, x), np.outer(y, y), np.outer(x, y))
        return cls(0, x, y, *grams, x, y, x, y, 0.0, 0.0, 0.0)

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any]) -> Self:
        """Sums of matched rows, (rows, width_x) and (rows, width_y), in pieces of 4,096 rows."""
        starts = range(0, max(len(x), 1), PIECE_ROWS)
        pieces = (slice(start, start + PIECE_ROWS) for start in starts)
        return merge_in_order(cls._of_piece(x[piece], y[piece]) for piece in pieces)

    @classmethod
    def _of_piece(cls, x: NDArray[Any], y: NDArray[Any]) -> Self:
        if len(x) == 0:
            return cls.empty(x.shape[1], y.shape[1])
        x, y = x.astype(np.float64), y.astype(np.float64)
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        x -= mean_x
        y -= mean_y
        norm_x, norm_y = np.einsum("ij,ij->i", x, x), np.einsum("ij,ij->i", y, y)
        return cls(
            count=len(x),
            mean_x=mean_x,
            mean_y=mean_y,
            xx=x.T @ x,
            yy=y.T @ y,
            xy=x.T @ y,
            cube_x=norm_x @ x,
            cube_y=norm_y @ y,
            x_by_y=norm_y @ x,
            y_by_x=norm_x @ y,
            fourth_x=float(norm_x @ norm_x),
            fourth_y=float(norm_y @ norm_y),
            fourth_xy=float(norm_x @ norm_y),
        )

    def merge(self, other: Self) -> Self:
        count = self.count + other.count
        if count == 0:
            return self
        share = other.count / count
        mean_x = self.mean_x + (other.mean_x - self.mean_x) * share
        mean_y = self.mean_y + (other.mean_y - self.mean_y) * share
        a, b = self._about(mean_x, mean_y), other._about(mean_x, mean_y)
        return type(self)(
            count=count,
            mean_x=mean_x,
            mean_y=mean_y,
            xx=a.xx + b.xx,
            yy=a.yy + b.yy,
            xy=a.xy + b.xy,
            cube_x=a.cube_x + b.cube_x,
            cube_y=a.cube_y + b.cube_y,
            x_by_y=a.x_by_y + b.x_by_y,
            y_by_x=a.y_by_x + b.y_by_x,
            fourth_x=a.fourth_x + b.fourth_x,
            fourth_y=a.fourth_y + b.fourth_y,
            fourth_xy=a.fourth_xy + b.fourth_xy,
        )

    def _about(self, origin_x: Floats, origin_y: Floats) -> Self:
        """The same rows with sums of deviations from another origin than their means."""
        if self.count == 0:
            return self
        n, s, t = self.count, self.mean_x - origin_x, self.mean_y - origin_y
        # Every product of (x + s) and (y + t) is multiplied out; Σx and Σy are 0.
        cube_x, _, fourth_x = _moved(n, s, s, self.xx, self.xx, self.xx, *self._of_x())
        cube_y, _, fourth_y = _moved(n, t, t, self.yy, self.yy, self.yy, *self._of_y())
        mixed = (self.x_by_y, self.y_by_x, self.fourth_xy)
        x_by_y, y_by_x, fourth_xy = _moved(n, s, t, self.xx, self.yy, self.xy, *mixed)
        return type(self)(
            count=n,
            mean_x=origin_x,
            mean_y=origin_y,
            xx=self.xx + n * np.outer(s, s),
            yy=self.yy + n * np.outer(t, t),
            xy=self.xy + n * np.outer(s, t),
            cube_x=cube_x,
            cube_y=cube_y,
            x_by_y=x_by_y,
            y_by_x=y_by_x,
            fourth_x=fourth_x,
            fourth_y=fourth_y,
            fourth_xy=fourth_xy,
        )

    def _of_x(self) -> tuple[Floats, Floats, float]:
        return self.cube_x, self.cube_x, self.fourth_x

    def _of_y(self) -> tuple[Floats, Floats, float]:
        return self.cube_y, self.cube_y, self.fourth_y

    def varies(self) -> bool:
        """Whether both sides have a spread, beyond what rounding makes of equal rows."""
        return bool(
            np.trace(self.xx) > ROUNDING**2 * self.count * (self.mean_x @ self.mean_x)
            and np.trace(self.yy) > ROUNDING**2 * self.count * (self.mean_y @ self.mean_y)
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _moved(
    n: int,
    s: Floats,
    t: Floats,
    xx: Floats,
    yy: Floats,
    xy: Floats,
    x_by_y: Floats,
    y_by_x: Floats,
    fourth: float,
) -> tuple[Floats, Floats, float]:
    """Σ x‖y‖², Σ y‖x‖² and Σ ‖x‖²‖y‖² of x + s and y + t."""
    sx, sy = np.trace(xx), np.trace(yy)
    ss, tt = s @ s, t @ t
    return (
        x_by_y + 2 * (xy @ t) + s * (sy + n * tt),
        y_by_x + 2 * (s @ xy) + t * (sx + n * ss),
        float(
            fourth
            + 2 * (s @ x_by_y + t @ y_by_x)
            + 4 * (s @ xy @ t)
            + ss * sy
            + tt * sx
            + n * ss * tt
        ),
    )
