"""p-values and false discovery rates over many tests; NaN marks what was not tested.

A NaN stays NaN and is not counted among the tests.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

Floats = NDArray[np.float64]


def bonferroni(p: Floats) -> Floats:
    """p times the number of tests, at most 1: the family-wise p under any dependence."""
    return np.minimum(p * np.count_nonzero(~np.isnan(p)), 1)


def benjamini_hochberg(p: Floats, *, n_tests: int | None = None) -> Floats:
    """The smallest false discovery rate at which each test counts as a finding.

    For independent or positively dependent tests. ``n_tests`` says how many were made in all, if
    ``p`` holds some of them only: the others count as p = 1, which cannot make a rate too small.

    Source: Benjamini & Hochberg (1995), Journal of the Royal Statistical Society B 57.
    """
    tested = ~np.isnan(p)
    rate = np.full(p.shape, np.nan)
    if tested.any():
        rate[tested] = false_discovery_control(p[tested])
        if n_tests is not None:
            rate = np.minimum(rate * (n_tests / np.count_nonzero(tested)), 1)
    return rate


def storey(p: Floats, *, threshold: float = 0.5) -> Floats:
    """q-values: Benjamini-Hochberg times the estimated share π₀ of tests without an effect.

    π₀ = (1 + #{p > threshold}) / (m (1 - threshold)), at most 1: p of the null are uniform, and
    few others are large. For hundreds of tests; with few, π₀ says little.

    Source: Storey (2002), Journal of the Royal Statistical Society B 64, with the 1 + of Storey,
    Taylor & Siegmund (2004).
    """
    tested = p[~np.isnan(p)]
    null_share = (1 + np.count_nonzero(tested > threshold)) / (
        max(len(tested), 1) * (1 - threshold)
    )
    return benjamini_hochberg(p) * min(null_share, 1.0)
