"""How well each feature can be told from all others: ridge regression in closed form."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from actlake.storage.errors import InputError

Floats = NDArray[np.float64]

MOST_FEATURES = 4096
"""Three square matrices are held, and an inverse taken: 400 MB and half a minute at the most."""


@dataclass(frozen=True, slots=True)
class Redundancy:
    """Every feature predicted from all others."""

    weights: Floats
    """Shape (features, features): of the row's feature in predicting the column's; 0 on the
    diagonal."""
    explained: Floats
    """Share of the feature's sum of squares that is predicted, the penalty counted as not; in
    [0, 1], NaN for one that never fires. Shape (features,)."""


def redundancy(gram: NDArray[Any], *, ridge: float = 1e-3) -> Redundancy:
    """Weights and explained shares from ``gram`` = XᵀX, shape (features, features), not centred.

    The penalty is ``ridge`` > 0 times the mean of the diagonal, so that it grows with the rows as
    the sums do. Two equal features get weights near 1 of each other. Raises InputError above
    ``MOST_FEATURES``.

    Source: Steck (2019), "Embarrassingly shallow autoencoders for sparse data", arXiv 1905.03375.
    """
    features = len(gram)
    if features > MOST_FEATURES:
        raise InputError(
            f"redundancy takes at most {MOST_FEATURES:,} features that fire often enough, not "
            f"{features:,}; raise the least firings, or leave redundancy out"
        )
    squares = gram.diagonal()
    penalty = ridge * max(float(squares.mean()) if features else 0.0, np.finfo(np.float64).tiny)
    inverse = scipy.linalg.inv(gram + penalty * np.eye(features), assume_a="pos")
    own = inverse.diagonal()
    weights = -inverse / own
    np.fill_diagonal(weights, 0)
    left = 1 / own - penalty  # least Σ(x - x̂)² + penalty·Σw²
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = np.where(squares > 0, np.clip(1 - left / squares, 0, 1), np.nan)
    return Redundancy(weights, explained)
