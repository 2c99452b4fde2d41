"""Mutual information of a feature and a value of a label, and how much of it chance alone gives."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

Floats = NDArray[np.float64]

WIDEST = 50.0
"""Variance up to which every table that chance may give is counted."""
REACH = 10
"""Standard deviations around the mean beyond which none is."""
PIECE = 1 << 22
"""Tables that are counted at once: 32 MiB."""


def information(positive: NDArray[Any], total: NDArray[Any]) -> Floats:
    """Mutual information in nats of a level and a value, from counts; >= 0, 0 if one is constant.

    ``positive``, shape (..., levels), counts the units of each level that have the value, and
    ``total``, which broadcasts with it, all units of each level. It is the plug-in estimate, too
    large by what chance gives: about (levels - 1) / (2 n), and more where levels are rare.
    """
    total = np.broadcast_to(total, np.shape(positive)).astype(np.float64)
    n = total.sum(axis=-1, keepdims=True)
    found = np.zeros(np.shape(n)[:-1])
    for of_value in (positive, total - positive):
        share = of_value.sum(axis=-1, keepdims=True) / n
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.where(of_value > 0, of_value / (total * share), 1)
        found += (of_value / n * np.log(ratio)).sum(axis=-1)
    return np.maximum(found, 0)


def chance_information(total: NDArray[Any], positive: NDArray[Any]) -> Floats:
    """What ``information`` is on average over all ways to deal the value out; (..., values).

    ``total``, shape (..., levels), counts the units of each level, ``positive``, shape (values,),
    those with each value. It is the mean over all permutations, not a sample of them: a level of a
    units holds a hypergeometric number of those with the value. Exact up to a variance of
    ``WIDEST``, beyond that by the first two moments, which leaves less than 1 % of the bias.

    Take it off where features of different density, or of more and fewer levels, are compared.
    Units have to be exchangeable: rows of one document are not.

    Source: Vinh, Epps & Bailey (2010), "Information theoretic measures for clusterings comparison",
    eq. 24a, for two columns; in place of the shifted copy of OutRank (Škrlj et al. 2023, arXiv
    2309.01552), which is no null for rows that lie in order.
    """
    return _chance(total, positive, others=True)


def chance_label_information(total: NDArray[Any], units: NDArray[Any]) -> Floats:
    """What the information of a level and a whole label is on average, as ``chance_information``.

    ``total``, shape (..., levels), counts the units of each level, and ``units``, shape (values,),
    those of each value, which together are all; shape (...).

    Source: Vinh, Epps & Bailey (2010), eq. 24a.
    """
    found: Floats = _chance(total, units, others=False).sum(axis=-1)
    return found


def _chance(total: NDArray[Any], positive: NDArray[Any], *, others: bool) -> Floats:
    """Means of the sum over levels, with or without what ``others`` than the value add to it."""
    n = int(total.sum(axis=-1).ravel()[0])
    sizes, place = np.unique(total, return_inverse=True)
    place = place.reshape(np.shape(total))
    factorial = gammaln(np.arange(n + 1) + 1)
    found = np.empty((*np.shape(total)[:-1], len(positive)))
    for column, marked in enumerate(np.asarray(positive, np.int64).tolist()):
        shares = _share(sizes.astype(np.int64), marked, n, factorial, others)
        found[..., column] = shares[place].sum(axis=-1)
    return np.maximum(found, 0) if others else found


def _share(size: NDArray[np.int64], marked: int, n: int, factorial: Floats, others: bool) -> Floats:
    """What a level of each ``size`` adds to the mean; ``marked`` of the n units have the value."""
    if marked in (0, n):
        return np.zeros(len(size))
    share = marked / n
    mean = size * share
    variance = mean * (1 - share) * (n - size) / max(n - 1, 1)
    # E[x ln x] to second order, for x units with the value and for those without.
    found: Floats = variance / (2 * n * np.maximum(mean, 1)) / (1 - share if others else 1)
    narrow = np.flatnonzero(variance <= WIDEST)
    reach = np.ceil(REACH * np.sqrt(variance[narrow])).astype(np.int64) + REACH
    low = np.maximum(np.floor(mean[narrow]).astype(np.int64) - reach, 0)
    low = np.maximum(low, size[narrow] - (n - marked))
    high = np.minimum(np.floor(mean[narrow]).astype(np.int64) + reach, size[narrow])
    high = np.minimum(high, marked)
    start = 0
    while start < len(narrow):
        width = int((high - low)[start:].max()) + 1
        stop = start + max(PIECE // width, 1)
        piece = narrow[start:stop]
        x = low[start:stop, None] + np.arange(width)
        inside = x <= high[start:stop, None]
        x = np.minimum(x, high[start:stop, None])
        found[piece] = _mean(x, inside, size[piece], marked, factorial, others)
        start = stop
    return found


def _mean(
    x: NDArray[np.int64],
    inside: NDArray[np.bool_],
    size: NDArray[np.int64],
    marked: int,
    factorial: Floats,
    others: bool,
) -> Floats:
    """Σ chance · x ln(x / expected), over n, with the value and, for ``others``, without it."""
    n = len(factorial) - 1
    without = size[:, None] - x
    log = -(
        factorial[x] + factorial[without] + factorial[marked - x] + factorial[n - marked - without]
    )
    chance = np.where(inside, np.exp(log - log.max(axis=1, keepdims=True)), 0)
    chance /= chance.sum(axis=1, keepdims=True)
    share = marked / n
    told = xlogy(x, x)
    # The expected counts come out of the logarithm, since the mean of x is known.
    expected = xlogy(size * share, size * share)
    if others:
        told = told + xlogy(without, without)
        expected = expected + xlogy(size * (1 - share), size * (1 - share))
    found: Floats = ((chance * told).sum(axis=1) - expected) / n
    return found
