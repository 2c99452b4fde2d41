"""Masks: named conditions over tokens that say which rows a statistic counts."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.catalog import Catalog
from actlake.storage.errors import NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.guard import check_predicate
from actlake.storage.keys import check_name, fingerprint
from actlake.storage.reading import Reading
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.transaction import Transaction

__all__ = [
    "BUILT_IN",
    "Mask",
    "mask_named",
    "mask_rows",
    "rows_where",
    "write_built_in",
    "write_mask",
]

BUILT_IN = {
    "all": "TRUE",
    "no_special": "NOT is_special",
    "not_first": "window_position > 0 AND NOT is_special",
}
"""Masks that every lake has. The first row of a window is where attention parks what it does not
need: its norm is far from all others'."""
ASKED_ROWS = 1 << 20
"""Rows that are asked for at once, and kept as a bit each: a question costs as much for a shard."""
MOST_ASKED = 64
"""Of such answers, which are kept for each lake."""


class Mask:
    """A mask's name and what it means."""

    __slots__ = ("fingerprint", "name", "predicate")

    def __init__(self, name: str, predicate: str) -> None:
        self.name = name
        self.predicate = predicate
        self.fingerprint = fingerprint("mask", predicate)


def mask_named(reading: Reading, name: str) -> Mask:
    """The mask of that name; NotFoundError, with the known ones, if there is none."""
    reading.table("masks")
    masks = dict(reading.connection().execute("SELECT mask, predicate FROM masks").fetchall())
    if name not in masks:
        raise NotFoundError(f"no mask {name!r}; there are {', '.join(sorted(masks))}")
    return Mask(name, masks[name])


def mask_rows(
    reading: Reading, mask: Mask, rowset: Rowset, start: int, stop: int
) -> NDArray[np.bool_]:
    """Whether each of rows [start, stop) is under the mask, shape (stop - start,); NULL is no.

    No row of a document that was taken back is under any mask.
    """
    return rows_where(reading, mask, rowset, start, stop) & rowset.present(start, stop)


def rows_where(
    reading: Reading, mask: Mask, rowset: Rowset, start: int, stop: int
) -> NDArray[np.bool_]:
    """As ``mask_rows``, also of documents that were taken back."""
    if mask.predicate == BUILT_IN["all"]:
        return np.ones(stop - start, bool)
    parts = []
    for first in range(start - start % ASKED_ROWS, stop, ASKED_ROWS):
        bits = _asked(reading, mask, rowset, first)
        inside = slice(max(start - first, 0), stop - first)
        parts.append(np.unpackbits(bits, count=min(ASKED_ROWS, rowset.rows - first))[inside])
    return np.concatenate(parts).view(bool) if parts else np.zeros(0, bool)


def _asked(reading: Reading, mask: Mask, rowset: Rowset, start: int) -> NDArray[np.uint8]:
    """A bit for each of the ``ASKED_ROWS`` rows from ``start`` on, asked for once."""
    key = rowset.id, mask.predicate, start
    if (known := reading.masked.get(key)) is not None:  # once: another thread may clear it
        return known
    stop = min(start + ASKED_ROWS, rowset.rows)
    kept = np.zeros(stop - start, bool)
    # SQL by definition, and maybe from a lake that somebody else made.
    check_predicate(mask.predicate, "tokens")
    query = f"""
        SELECT "row" FROM tokens
        WHERE rowset = $rowset AND "row" >= $start AND "row" < $stop AND ({mask.predicate})
    """  # noqa: S608
    reading.table("tokens", rowset=(rowset.name,) * 2, row=(start, stop - 1))
    parameters = {"rowset": rowset.name, "start": start, "stop": stop}
    rows = reading.connection().execute(query, parameters)
    kept[rows.fetchnumpy()["row"].astype(np.int64) - start] = True
    bits = np.packbits(kept)
    if reading.mode != "always":  # which reads again whenever it is asked
        if len(reading.masked) >= MOST_ASKED:
            reading.masked.clear()
        reading.masked[key] = bits
    return bits


def write_mask(run: Run, name: str, predicate: str) -> None:
    """Commit a mask, unless it is there; QueryError unless the predicate is one condition."""
    check_name("mask", name)
    check_predicate(predicate, "tokens")
    mask = Mask(name, predicate)
    run.hold(f"mask:{name}")
    if run.exists("masks", "mask", name, mask.fingerprint):
        return
    run.append({"masks": masks_table([mask])}, f"mask {name}")


def write_built_in(catalog: Catalog) -> None:
    """Commit the masks that every lake has, unless it has masks already."""
    built_in = [Mask(name, predicate) for name, predicate in BUILT_IN.items()]
    staged = catalog.stage("masks", masks_table(built_in))

    def change(transaction: Transaction) -> None:
        if transaction.rows("SELECT count(*) FROM masks") == [(0,)]:
            transaction.register(staged)

    catalog.commit(change, "built-in masks", staged=[staged])


def masks_table(masks: list[Mask]) -> pa.Table:
    """Masks as rows of their table."""
    rows = [
        {"mask": mask.name, "predicate": mask.predicate, "fingerprint": mask.fingerprint}
        for mask in masks
    ]
    return pa.Table.from_pylist(rows, arrow_schema("masks"))
