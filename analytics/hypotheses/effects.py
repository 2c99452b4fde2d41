"""How much a target changes with a feature, with an interval that respects groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from actlake.analytics.hypotheses.pooling import Matrix

Floats = NDArray[np.float64]


MIN_DOCUMENTS = 10
"""Documents that must differ from a feature's most frequent value, mostly 0: must fire."""
MIN_GROUPS = 3
"""Groups that these documents must be of."""
MIN_EXPECTED = 5
"""Documents of the rarer class of a 0/1 target expected among them if nothing goes with it."""


@dataclass(frozen=True, slots=True)
class Effects:
    """One entry a feature, all of shape (features,); NaN where nothing can be estimated."""

    effect: Floats
    """Change of the target with one standard deviation of the feature, in units of the target;
    of a 0/1 target, a change of its probability."""
    ci_low: Floats
    """Of the interval with coverage 0.95; NaN, as are ``ci_high`` and ``p``, also where too few
    documents fire."""
    ci_high: Floats
    p: Floats
    """Two-sided, of no effect."""
    n: int
    """Documents."""
    n_groups: int


def effects(
    features: Matrix, y: Floats, group: NDArray[np.int64], controls: Floats | None = None
) -> Effects:
    """Slopes of least squares of ``y`` on a constant, one standardised feature, and the controls.

    Each feature, a column of shape (documents,), is fitted alone; ``controls`` have the shape
    (documents, k), constant ones being left out. For a 0/1 target this is the linear probability
    model. NaN if feature or target is constant, if feature and controls are linearly dependent,
    with fewer than two groups, or with no more documents than coefficients.

    The variance is clustered by ``group`` and corrected for few groups and uneven leverage (CR2),
    with Student's t and Satterthwaite's degrees of freedom: for a feature that fires in few
    documents these, not the groups, are what there is to learn from. Interval and p are NaN for a
    feature that fires in fewer than ``MIN_DOCUMENTS`` documents, in fewer than ``MIN_GROUPS``
    groups, or in so few that fewer than ``MIN_EXPECTED`` of the rarer class of a 0/1 target are
    expected among them: all firing documents can have one class by chance, which looks like a
    slope without error.

    Under no effect, p < 0.05 came out for 3 to 8 % of features that fire in half of the documents,
    with 6 to 20 groups and labels of groups included, and for 0 to 6 % of those that fire in 10
    to 40 of 144 documents: with few groups or few firing documents intervals are rather too long.

    Source: Bell & McCaffrey (2002), Survey Methodology 28; Imbens & Kolesár (2016), Review of
    Economics and Statistics 98; Cochran (1954), Biometrics 10, for the expected 5.
    """
    documents, width = features.shape
    groups, number = np.unique(group, return_inverse=True)
    fixed = np.ones((documents, 1))
    if controls is not None:
        varying = controls[:, np.ptp(controls, axis=0) > 0]
        fixed = np.column_stack((fixed, _standardised(varying)))
    columns = features.tocsc()
    found = np.full((4, width), np.nan)
    if len(groups) >= 2 and documents > fixed.shape[1] + 1 and (y != y[0]).any():
        for feature in range(width):
            values, entries = np.zeros(documents), slice(*columns.indptr[feature : feature + 2])
            values[columns.indices[entries]] = columns.data[entries]
            design = np.column_stack((_standardised(values), fixed))
            if np.isfinite(design).all() and np.linalg.matrix_rank(design) == design.shape[1]:
                enough = _enough(values, y, number)
                found[:, feature] = _first_slope(design, y, number, interval=enough)
    effect, low, high, p = found
    return Effects(effect, low, high, p, documents, len(groups))


def _standardised(values: Floats) -> Floats:
    """Mean 0 and standard deviation 1 over documents, column by column; NaN if constant."""
    spread = np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), np.nan)
    scores: Floats = (values - values.mean(axis=0)) / spread
    return scores


def _enough(values: Floats, y: Floats, number: NDArray[np.int64]) -> bool:
    """Whether an interval can be trusted, see ``effects``."""
    distinct, count = np.unique(values, return_counts=True)
    fires = values != distinct[np.argmax(count)]
    rarer = min(y.mean(), 1 - y.mean()) if set(np.unique(y)) <= {0.0, 1.0} else 1.0
    return bool(
        fires.sum() >= max(MIN_DOCUMENTS, MIN_EXPECTED / rarer)
        and len(np.unique(number[fires])) >= MIN_GROUPS
    )


def _first_slope(design: Floats, y: Floats, number: NDArray[np.int64], *, interval: bool) -> Floats:
    """Effect, both ends of its interval, and p of the first column."""
    n_groups, width = number.max() + 1, design.shape[1]
    inverse = np.linalg.inv(design.T @ design)
    slope = inverse @ (design.T @ y)
    if not interval:
        return np.array([slope[0], np.nan, np.nan, np.nan])
    squares, scores = np.zeros((n_groups, width, width)), np.zeros((n_groups, width))
    np.add.at(squares, number, design[:, :, None] * design[:, None, :])
    np.add.at(scores, number, design * (y - design @ slope)[:, None])
    # With X the rows of a group, M the inverse of all rows' XᵀX and M = LLᵀ, its residuals are to
    # be weighted by w = (I - XMXᵀ)^-½ X M e₁ = X L (I - LᵀXᵀXL)^-½ Lᵀ e₁: small matrices only.
    root = np.linalg.cholesky(inverse)
    left, axes = np.linalg.eigh(np.eye(width) - root.T @ squares @ root)
    scale = np.where(left > 1e-9, 1 / np.sqrt(np.maximum(left, 1e-9)), 0)
    weights = (root @ ((axes * scale[:, None, :]) @ axes.transpose(0, 2, 1)) @ root.T)[:, :, 0]
    error = np.sqrt(np.square((weights * scores).sum(axis=1)).sum())
    # The variance is a quadratic form of errors; were they alike, with these group-wise parts.
    spanned = np.einsum("gij,gj->gi", squares, weights)
    form = np.diag((weights * spanned).sum(axis=1)) - spanned @ inverse @ spanned.T
    freedom = np.trace(form) ** 2 / np.square(form).sum()
    if not (error > 0 and freedom > 0):
        return np.array([slope[0], np.nan, np.nan, np.nan])
    half = stdtrit(freedom, 0.975) * error
    p = 2 * stdtr(freedom, -abs(slope[0]) / error)
    return np.array([slope[0], slope[0] - half, slope[0] + half, p])
