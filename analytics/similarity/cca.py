"""Canonical correlations of the leading principal components of two tensors."""

from dataclasses import dataclass

import numpy as np

from actlake.analytics.similarity.cross_gram import CrossGram, Floats
from actlake.storage.errors import InputError

VARIANCE_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Svcca:
    """Canonical correlations, and what chance alone makes of them."""

    correlations: Floats
    """Falling, in [0, 1], shape (min(k_x, k_y),). Some are 1 whatever the data unless
    n > k_x + k_y."""
    k_x: int
    """Principal components kept of each side."""
    k_y: int
    n: int
    """Rows."""

    def mean(self) -> float:
        """The SVCCA similarity: mean canonical correlation, in [0, 1]; NaN if a side is constant.

        Of unrelated sides it is nearly √(max(k_x, k_y)/(n - 1)), not 0.
        """
        return float(self.correlations.mean()) if len(self.correlations) else np.nan

    def null_mean_square(self) -> float:
        """Expected mean squared correlation of unrelated sides: max(k_x, k_y)/(n - 1), or 1."""
        return min(max(self.k_x, self.k_y) / max(self.n - 1, 1), 1.0)

    def adjusted_mean_square(self) -> float:
        """Mean squared correlation on a scale with 0 = unrelated and 1 = the same subspaces.

        NaN if either side is constant or if there are too few rows to tell.
        """
        null = self.null_mean_square()
        if len(self.correlations) == 0 or null == 1:
            return np.nan
        return (float(np.square(self.correlations).mean()) - null) / (1 - null)


def svcca(state: CrossGram, *, variance_share: float = VARIANCE_SHARE) -> Svcca:
    """Canonical correlations of the fewest components with ``variance_share`` of each variance.

    The share is of the total variance. (A public helper compares a spectrum that sums to 1 with
    share times total variance, and so keeps one component of most data.) Raises InputError unless
    the share is in (0, 1].

    Source: Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), "SVCCA: Singular Vector Canonical
    Correlation Analysis for Deep Learning Dynamics and Interpretability", arXiv 1706.05806.
    """
    if not 0 < variance_share <= 1:
        raise InputError(f"variance share {variance_share} is outside (0, 1]; give one like 0.99")
    if not state.varies():
        return Svcca(np.zeros(0), 0, 0, state.count)
    white_x, white_y = _whitening(state.xx, variance_share), _whitening(state.yy, variance_share)
    k_x, k_y = white_x.shape[1], white_y.shape[1]
    correlations = np.linalg.svd(white_x.T @ state.xy @ white_y, compute_uv=False)
    return Svcca(np.clip(correlations, 0, 1), k_x, k_y, state.count)


def _whitening(gram: Floats, share: float) -> Floats:
    """Leading eigenvectors over the roots of their eigenvalues, shape (width, k)."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1], vectors[:, ::-1]
    real = values > len(values) * np.finfo(np.float64).eps * values[0]  # the rest is rounding
    cumulative = np.cumsum(values[real])
    k = int(np.searchsorted(cumulative, share * cumulative[-1])) + 1
    whitening: Floats = vectors[:, :k] / np.sqrt(values[:k])
    return whitening
