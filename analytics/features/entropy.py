"""Entropy and divergence of counts, without the bias of few observations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def entropy(group: NDArray[np.integer[Any]], count: NDArray[np.int64], groups: int) -> Floats:
    """Bits of each group's distribution over its entries, shape (groups,); NaN without entries.

    ``count`` > 0 is how often each entry of ``group`` was seen. Plug-in entropy is too low by
    about (m - 1) / (2 n ln 2) bits for m different entries in n observations; that is added, so
    the result may exceed log2(m). One entry has 0 bits.

    Source: Miller (1955), "Note on the bias of information estimates".
    """
    share = _shares(group, count, groups)
    plain = -np.bincount(group, weights=share * np.log2(share), minlength=groups)
    found: Floats = np.maximum(plain, 0) + _bias(group, count, groups)
    return found


def divergence(
    group: NDArray[np.integer[Any]], count: NDArray[np.int64], expected: Floats, groups: int
) -> Floats:
    """Bits by which each group's distribution departs from what was to expect; >= 0, or NaN.

    ``expected`` > 0 is the share of each entry if the group had nothing to do with it. The bias of
    few observations, (m - 1) / (2 n ln 2), is taken off, down to 0.

    Source: Kullback & Leibler (1951), "On information and sufficiency"; bias as in ``entropy``.
    """
    share = _shares(group, count, groups)
    plain = np.bincount(group, weights=share * np.log2(share / expected), minlength=groups)
    found: Floats = np.maximum(plain - _bias(group, count, groups), 0)
    return found


def _shares(group: NDArray[np.integer[Any]], count: NDArray[np.int64], groups: int) -> Floats:
    total = np.bincount(group, weights=count, minlength=groups)
    share: Floats = count / total[group]
    return share


def _bias(group: NDArray[np.integer[Any]], count: NDArray[np.int64], groups: int) -> Floats:
    """Of the plug-in entropy of each group, in bits; NaN where nothing was seen."""
    total = np.bincount(group, weights=count, minlength=groups)
    entries = np.bincount(group, minlength=groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        bias: Floats = np.where(total > 0, (entries - 1) / (2 * total * np.log(2)), np.nan)
    return bias
