"""Sums by key: what every sparse count table is made and merged with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sum_by_key(
    keys: NDArray[np.int64], *weights: NDArray[Any]
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """The distinct ``keys``, ascending, and the sum of each of ``weights`` over equal keys.

    Equal keys are added in the order in which they stand.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))  # keys are never negative
    return ordered[starts], [np.add.reduceat(weight[order], starts) for weight in weights]


def within_group(ordered: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Each element's place, from 0, among the equal elements of an ``ordered`` array."""
    starts = np.flatnonzero(np.diff(ordered.astype(np.int64), prepend=-1))
    lengths = np.diff(starts, append=len(ordered))
    return np.arange(len(ordered)) - np.repeat(starts, lengths)
