"""How well codes rebuild rows, under every definition in use, from one set of sums."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, pack, unpack
from actlake.storage.csr import Csr

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReconstructionSums:
    """Sums over rows x, rebuilt rows x̂ and errors e = x - x̂; merging adds them.

    A ratio is formed once, in ``finish``, over all rows: the mean of ratios of batches is another
    number, and a biased one. Float64 throughout.
    """

    n_rows: int
    x: Floats
    """Σx, shape (width,)."""
    e: Floats
    """Σe, shape (width,)."""
    xx: float
    """Σ‖x‖²."""
    ee: float
    """Σ‖e‖²."""
    rebuilt: float
    """Σ‖x̂‖²."""
    product: float
    """Σ x·x̂."""
    n_nonzero: int
    """Rows with ‖x‖ > 0: the denominator of the next two, which are undefined elsewhere."""
    relative: float
    """Σ ‖e‖²/‖x‖²."""
    cosine: float
    """Σ cos(x, x̂), 0 where x̂ = 0."""
    fires: NDArray[np.int64]
    """Rows on which each feature has a value > 0, shape (n_features,)."""

    @classmethod
    def empty(cls, width: int, n_features: int) -> Self:
        none = np.zeros(width)
        sums = (0.0, 0.0, 0.0, 0.0)
        return cls(0, none, none, *sums, 0, 0.0, 0.0, np.zeros(n_features, np.int64))

    @classmethod
    def of(cls, rows: NDArray[Any], rebuilt: NDArray[Any], codes: Csr) -> Self:
        """Sums over ``rows`` and ``rebuilt``, both (rows, width), and the codes between them."""
        x, x_hat = rows.astype(np.float64), rebuilt.astype(np.float64)
        e = x - x_hat
        xx, ee, hh = (np.einsum("ij,ij->i", a, a) for a in (x, e, x_hat))
        product = np.einsum("ij,ij->i", x, x_hat)
        nonzero = xx > 0
        norms = np.sqrt(xx * hh)
        cosine = np.divide(product, norms, out=np.zeros_like(norms), where=norms > 0)
        return cls(
            n_rows=len(x),
            x=x.sum(axis=0),
            e=e.sum(axis=0),
            xx=float(xx.sum()),
            ee=float(ee.sum()),
            rebuilt=float(hh.sum()),
            product=float(product.sum()),
            n_nonzero=int(nonzero.sum()),
            relative=float((ee[nonzero] / xx[nonzero]).sum()),
            cosine=float(cosine.sum()),
            fires=np.bincount(codes.indices, minlength=codes.n_features).astype(np.int64),
        )

    def merge(self, other: Self) -> Self:
        return type(self)(
            self.n_rows + other.n_rows,
            self.x + other.x,
            self.e + other.e,
            self.xx + other.xx,
            self.ee + other.ee,
            self.rebuilt + other.rebuilt,
            self.product + other.product,
            self.n_nonzero + other.n_nonzero,
            self.relative + other.relative,
            self.cosine + other.cosine,
            self.fires + other.fires,
        )

    def finish(self) -> dict[str, float]:
        """Metrics by name, as stored in evaluations; NaN where a denominator is 0.

        ``fvu`` = Σ‖e‖² / Σ‖x - x̄‖², the canonical one, and ``ev`` = 1 - fvu: 0 for the mean as
        predictor, negative for worse. ``ev_residual_variance`` = 1 - ΣVar(e)/ΣVar(x), blind to a
        constant bias. ``ev_uncentred`` = 1 - Σ‖e‖²/Σ‖x‖², high wherever the mean is far from 0.
        ``nmse`` = mean ‖e‖²/‖x‖² and ``cosine`` = mean cos(x, x̂), over rows with ‖x‖ > 0.
        ``relative_bias`` = Σ‖x̂‖²/Σx·x̂, below 1 where codes shrink. ``l0`` = mean features firing a
        row. ``dead_share``: features without a firing in ``n_rows`` rows; those rarer than
        ``detectable_density`` = 3/n_rows may be missed by chance (5 %).

        Source: the residual-variance form is that of saprmarks/dictionary_learning, the row-wise
        nmse and relative bias those of adamkarvonen/SAEBench; their numbers are not comparable.
        """
        n = self.n_rows or np.nan
        spread = self.xx - float(self.x @ self.x) / n
        # Below the rounding of Σ‖x‖² there is no spread to explain.
        spread = spread if spread > 1e-12 * self.xx else np.nan
        residual = self.ee - float(self.e @ self.e) / n
        fvu = self.ee / spread
        nonzero = self.n_nonzero or np.nan
        return {
            "n_rows": float(self.n_rows),
            "fvu": fvu,
            "ev": 1 - fvu,
            "ev_residual_variance": 1 - residual / spread,
            "ev_uncentred": 1 - self.ee / (self.xx or np.nan),
            "nmse": self.relative / nonzero,
            "cosine": self.cosine / nonzero,
            "relative_bias": self.rebuilt / (self.product or np.nan),
            "l0": float(self.fires.sum()) / n,
            "dead_share": float(np.mean(self.fires == 0)) if self.n_rows else np.nan,
            "detectable_density": 3 / n,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
