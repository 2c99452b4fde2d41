"""Which rows some spans of characters reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.integer[Any]]


def overlapping(
    document: Whole,
    start: Whole,
    stop: Whole,
    *,
    span_document: Whole,
    span_start: Whole,
    span_stop: Whole,
) -> NDArray[np.bool_]:
    """Whether a span shares a character with each row, shape (rows,); rows and spans in any order.

    ``start`` and ``stop``, shape (rows,), are half-open in the text of ``document``; those of the
    spans, shape (spans,), too. A row or a span without characters, of which stop is no more than
    start, shares none.
    """
    some = span_start < span_stop
    found = np.zeros(len(document), np.bool_)
    if not some.any():
        return found
    length = max(int(stop.max(initial=0)), int(span_stop.max())) + 1
    # All texts one behind the other, so that one search is over all documents.
    at = span_document[some].astype(np.int64) * length
    order = np.argsort(at + span_start[some], kind="stable")
    begins = (at + span_start[some])[order]
    reach = np.maximum.accumulate((at + span_stop[some])[order])  # of a span and all before it
    row_at = document.astype(np.int64) * length
    before = np.searchsorted(begins, row_at + stop, side="left")  # spans that begin before it ends
    has = (before > 0) & (start < stop)
    found[has] = reach[before[has] - 1] > (row_at + start)[has]
    return found
