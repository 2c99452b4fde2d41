"""What stands around a row, as one number: rows of one context are examples of one thing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.splitmix import splitmix64

REACH = 8
"""Tokens on each side that make a context, of the same document."""
STEP = np.uint64(0x9E3779B97F4A7C15)
EDGE = np.uint64(0xD1B54A32D192ED03)
"""Stands for what lies outside the document."""


def windows(
    token_id: NDArray[np.integer[Any]],
    document: NDArray[np.integer[Any]],
    position: NDArray[np.integer[Any]],
    own: slice,
    row_start: int,
) -> NDArray[np.int64]:
    """A number for the tokens up to ``REACH`` away from each of the rows ``own``; shape (rows,).

    Rows have the same number if the tokens on and around them are the same, and the ends of their
    documents as near; but for one chance in 10^19, only then. A row without a token, of which
    ``token_id`` is negative, or beside which rows were not chosen, is a context of its own. The
    columns reach as far beyond ``own`` as there are rows; ``row_start`` is the row in the rowset
    that ``own`` begins at.
    """
    rows = np.arange(own.start, own.stop)
    mixed = splitmix64(token_id.astype(np.int64), 3)
    found = np.zeros(len(rows), np.uint64)
    torn = token_id[own] < 0
    for offset in range(-REACH, REACH + 1):
        at = np.clip(rows + offset, 0, len(token_id) - 1)
        inside = (at == rows + offset) & (document[at] == document[own])
        torn |= inside & (position[at] - position[own] != offset)
        found = found * STEP + np.where(inside, mixed[at], EDGE)
    alone = _alone(row_start + np.arange(len(rows)))
    return np.where(torn, alone, splitmix64(found).view(np.int64))


def apart(context: NDArray[np.int64], row: NDArray[np.int64], other: int) -> NDArray[np.int64]:
    """``context`` of each ``row``, shapes (n,), beside the contexts of ``other`` earlier rowsets.

    What says of its row alone which one it is, as of a document or a patch, is another number than
    for the same row of another rowset; what stands for tokens stays.
    """
    if other == 0:
        return context
    own = (context == row) | (context == _alone(row))
    return np.where(own, splitmix64(context, 4 + other).view(np.int64), context)


def _alone(row: NDArray[np.int64]) -> NDArray[np.int64]:
    return splitmix64(row, 4).view(np.int64)
