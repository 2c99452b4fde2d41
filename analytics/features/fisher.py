"""Fisher's exact test of firing and a label, many tables at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from actlake.analytics.features.joint_chance import joint_chance

Floats = NDArray[np.float64]

SAME = 1e-7
"""Chances that differ by less, relatively, are the same but for rounding."""


def fisher_exact(
    fires_positive: NDArray[Any], fires: NDArray[Any], positive: NDArray[Any], n: int
) -> Floats:
    """Two-sided p of Fisher's exact test that firing has nothing to do with a value.

    Of ``n`` units ``positive`` have the value, the feature fires on ``fires``, and on
    ``fires_positive`` of those with the value; all broadcast. The chance of all tables with these
    margins that are no likelier than the one seen: exact however few units there are, where χ²
    wants five expected in each cell. Units have to be independent of each other. In (0, 1].

    Source: Fisher (1934), "Statistical Methods for Research Workers", 5th edition; two-sided as in
    R's fisher.test and scipy.stats.fisher_exact.
    """
    given = [one.astype(np.int64) for one in np.broadcast_arrays(fires_positive, fires, positive)]
    # Tables in one number each, which sorts ten times as fast as three do.
    margins, of_table = np.unique(given[1] * (n + 1) + given[2], return_inverse=True)
    key = given[0] * len(margins) + of_table.reshape(given[0].shape)
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    seen, drawn, marked = (one.ravel()[first].astype(np.float64) for one in given)
    # Let the seen table be at or above the mean: else count the units without the value.
    below = seen * n < drawn * marked
    seen = np.where(below, drawn - seen, seen)
    marked = np.where(below, n - marked, marked)
    least = np.maximum(0, drawn + marked - n)
    mode = np.floor((drawn + 1) * (marked + 1) / (n + 2))
    limit = _log_chance(seen, drawn, marked, n) + SAME
    p = np.ones(len(seen))  # of the likeliest table, and of one as likely
    rest = np.flatnonzero(_log_chance(mode, drawn, marked, n) > limit)
    seen, drawn, marked = seen[rest], drawn[rest], marked[rest]
    other = _mirror(limit[rest], least[rest], mode[rest], drawn, marked, n)
    p[rest] = joint_chance(seen, drawn, marked, n)
    some = other >= least[rest]
    # P(X <= other), as so many units or more without the value.
    far = joint_chance((drawn - other)[some], drawn[some], n - marked[some], n)
    p[rest[some]] = np.minimum(p[rest[some]] + far, 1)
    return p[place].reshape(given[0].shape)


def _mirror(
    limit: Floats, least: Floats, mode: Floats, drawn: Floats, marked: Floats, n: int
) -> Floats:
    """The largest count below the mode whose chance is in ``limit``; least - 1 if there is none."""
    low, high = least - 1, mode  # chances rise from one to the other
    while ((high - low) > 1).any():
        middle = np.floor((low + high) / 2)
        likely = _log_chance(np.maximum(middle, least), drawn, marked, n) > limit
        open_ = middle > low
        high = np.where(open_ & likely, middle, high)
        low = np.where(open_ & ~likely, middle, low)
    return low


def _log_chance(x: Floats, drawn: Floats, marked: Floats, n: int) -> Floats:
    """ln of the hypergeometric chance, up to a constant of the margins."""
    log: Floats = -(
        gammaln(x + 1)
        + gammaln(drawn - x + 1)
        + gammaln(marked - x + 1)
        + gammaln(n - drawn - marked + x + 1)
    )
    return log
