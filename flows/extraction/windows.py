"""Model inputs from stored rows: which windows a row range needs, and what the model sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actlake.flows.extraction.tokens import DocumentRows
from actlake.storage.errors import CorruptError, InputError

ReadColumn = Callable[[str, int, int], NDArray[np.generic]]
"""Gives rows [start, stop) of a named column of the rowset."""


@dataclass(frozen=True, slots=True)
class Window:
    """One model input, and the rows wanted from it."""

    start: int
    """First wanted row."""
    stop: int
    token_ids: NDArray[np.int64]
    """Everything the model sees, carried tokens included; shape (tokens,)."""
    kept: NDArray[np.int64]
    """Index into ``token_ids`` of each wanted row; shape (stop - start,)."""
    is_special: NDArray[np.bool_]
    """Of each wanted row; shape (stop - start,)."""


def windows_of_rows(
    read_column: ReadColumn, rows: int, start: int, stop: int, *, windowing: str
) -> list[Window]:
    """The windows that hold rows [start, stop) of a rowset of ``rows``, in row order.

    Reads ``token_id``, ``window_position`` and ``is_special`` a little beyond the range: a window
    that straddles an edge is whole, with only the rows inside the range wanted from it. Carried
    tokens are found again from the jump in ``window_position``: they are the tokens just before,
    without specials in document windows.
    """
    if not 0 <= start <= stop <= rows:
        raise InputError(
            f"rows {start} to {stop} are not of a rowset of {rows} rows; choose some of those"
        )
    if start == stop:
        return []
    margin = 1 << 11
    while True:
        low, high = max(0, start - margin), min(rows, stop + margin)
        whole = low == 0 and high == rows
        found = _windows(read_column, low, high, start, stop, rows, windowing)
        if found is not None:
            return found
        if whole:
            raise CorruptError(
                f"rows {start} to {stop} do not form whole windows; verify the token columns of "
                "the rowset"
            )
        margin *= 4


def chosen_rows(windows: Sequence[Window], index: NDArray[np.int64], start: int) -> list[Window]:
    """``windows`` with only the rows ``index`` of theirs wanted, which become ``start`` and on.

    ``index`` rises. Windows of which no row is wanted are left out.
    """
    found = []
    for window in windows:
        first, after = np.searchsorted(index, (window.start, window.stop))
        if first < after:
            own = index[first:after] - window.start
            kept, special = window.kept[own], window.is_special[own]
            rows = start + int(first), start + int(after)
            found.append(Window(*rows, window.token_ids, kept, special))
    return found


def windows_of_document(document: DocumentRows) -> list[Window]:
    """The document windows of one tokenized document, every row wanted."""

    def read_column(name: str, start: int, stop: int) -> NDArray[np.generic]:
        column: NDArray[np.generic] = getattr(document, name)
        return column[start:stop]

    return windows_of_rows(read_column, document.rows, 0, document.rows, windowing="document")


def _windows(
    read_column: ReadColumn,
    low: int,
    high: int,
    start: int,
    stop: int,
    rows: int,
    windowing: str,
) -> list[Window] | None:
    """As windows_of_rows, from rows [low, high) alone; None where these are too few."""
    places = read_column("window_position", low, high).astype(np.int64)
    # Positions rise within a window, and no window begins after the last position of another.
    edges = low + 1 + np.flatnonzero(np.diff(places) <= 0)
    edges = np.concatenate(([0] * (low == 0), edges, [rows] * (high == rows))).astype(np.int64)
    if edges.size == 0 or edges[0] > start or edges[-1] < stop:
        return None
    edges = edges[np.searchsorted(edges, start, "right") - 1 : np.searchsorted(edges, stop) + 1]

    token_id = read_column("token_id", low, high).astype(np.int64)
    is_special = read_column("is_special", low, high).astype(np.bool_)
    carries = np.flatnonzero(~is_special) if windowing == "document" else np.arange(len(places))
    windows = []
    for first, last in zip(edges[:-1] - low, edges[1:] - low, strict=True):
        place = places[first:last]
        token_ids = token_id[first:last]
        if place[-1] + 1 > len(place):  # the window carries tokens
            missing = np.setdiff1d(np.arange(place[-1] + 1), place, assume_unique=True)
            earlier = carries[: np.searchsorted(carries, first)]
            if len(missing) > len(earlier):
                return None
            token_ids = np.empty(place[-1] + 1, np.int64)
            token_ids[place] = token_id[first:last]
            token_ids[missing] = token_id[earlier[len(earlier) - len(missing) :]]
        wanted = slice(max(first, start - low), min(last, stop - low))
        windows.append(
            Window(
                low + wanted.start,
                low + wanted.stop,
                token_ids,
                places[wanted],
                is_special[wanted],
            )
        )
    return windows
