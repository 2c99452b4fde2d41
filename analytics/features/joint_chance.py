"""How likely two features fire together as often as they do, or more, if they were unrelated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]

SMALLEST = float(np.finfo(np.float64).tiny)
"""Stands for every p below it: none is 0."""


def joint_chance(
    joint: NDArray[Any], fires_a: NDArray[Any], fires_b: NDArray[Any], n: NDArray[Any] | int
) -> Floats:
    """P(X ≥ joint) where X is hypergeometric: ``fires_b`` of ``n`` units drawn, ``fires_a`` marked.

    In (0, 1]; at least ``SMALLEST``. Relative error below 1e-9 up to 10^6 firings. One-sided:
    small where the two fire together more than chance. The n units have to be independent of each
    other, as documents may be and the rows of a document are not.

    scipy.stats.hypergeom.sf adds terms one pair at a time; here all pairs take a step together.
    """
    joint, one, other, units = (
        np.asarray(given, np.float64) for given in np.broadcast_arrays(joint, fires_a, fires_b, n)
    )
    a, b = np.maximum(one, other), np.minimum(one, other)  # so that both orders give the same bits
    log = _choose(a, joint) + _choose(units - a, b - joint) - _choose(units, b)  # the first term
    # Terms rise up to the mode, so a sum from below it would lose its digits: take the rest of 1.
    below = joint <= a * b / units
    sums = np.ones(len(joint))
    sums[~below] = _ratios(joint[~below], a[~below], b[~below], units[~below], up=True)
    sums[below] = _ratios(joint[below], a[below], b[below], units[below], up=False)
    part = np.exp(np.minimum(log + np.log(sums), 0))
    lower = part - np.exp(np.minimum(log, 0))  # P(X < joint)
    return np.clip(np.where(below, 1 - lower, part), SMALLEST, 1)


def _choose(n: Floats, k: Floats) -> Floats:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def _ratios(x: Floats, a: Floats, b: Floats, n: Floats, *, up: bool) -> Floats:
    """Σ of the terms from ``x`` on, upwards or downwards, over the term at ``x``."""
    total, term = np.ones(len(x)), np.ones(len(x))
    open_, step = np.arange(len(x)), 0
    while len(open_):
        at = x[open_] + step if up else x[open_] - step
        of_a, of_b, of_n = a[open_], b[open_], n[open_]
        if up:
            ratio = (of_a - at) * (of_b - at) / ((at + 1) * (of_n - of_a - of_b + at + 1))
        else:
            ratio = at * (of_n - of_a - of_b + at) / ((of_a - at + 1) * (of_b - at + 1))
        term[open_] *= ratio
        total[open_] += term[open_]
        open_ = open_[term[open_] > 1e-17 * total[open_]]
        step += 1
    return total
