"""How well each feature can be told from all others: ridge regression in closed form."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_FEATURES = 4096
"""To take at once: three square matrices are held, and an inverse taken: 400 MB and half a minute.

More are cut into blocks (``feature_blocks``), each by itself.
"""


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Every feature predicted from all others."""

    weights: Floats
    """Shape (features, features): of the row's feature in predicting the column's; 0 on the
    diagonal."""
    explained: Floats
    """Share of the feature's sum of squares that is predicted, the penalty counted as not; in
    [0, 1], NaN for one that never fires. Shape (features,)."""


def redundancy(
    gram: NDArray[Any], *, ridge: float = 1e-3, mean_square: float | None = None
) -> Redundancy:
    """Weights and explained shares from ``gram`` = XᵀX, shape (features, features), not centred.

    The penalty is ``ridge`` > 0 times the mean of the diagonal, so that it grows with the rows as
    the sums do. Two equal features get weights near 1 of each other.

    Of a block of a larger Gram matrix, ``mean_square`` is the mean of the whole diagonal. What it
    explains then is a lower bound of what all features would: these are the same sums at the same
    penalty, with the weights of all others held at 0. Memory: three matrices like ``gram``.

    Source: Steck (2019), "Embarrassingly shallow autoencoders for sparse data", arXiv 1905.03375.
    """
    features = len(gram)
    squares = gram.diagonal()
    mean = mean_square if mean_square is not None else float(squares.mean()) if features else 0.0
    penalty = ridge * max(mean, np.finfo(np.float64).tiny)
    inverse = scipy.linalg.inv(gram + penalty * np.eye(features), assume_a="pos")
    own = inverse.diagonal()
    weights = -inverse / own
    np.fill_diagonal(weights, 0)
    left = 1 / own - penalty  # least Σ(x - x̂)² + penalty·Σw²
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.where(squares > 0, np.clip(1 - left / squares, 0, 1), np.nan)
    return Redundancy(weights, explained)
