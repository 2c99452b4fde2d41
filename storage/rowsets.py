"""Rowsets: the ordered rows that one windowing rule makes of one corpus, and their columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, chunk_path
from actlake.storage.errors import CorruptError, InputError, NotFoundError
from actlake.storage.fields import ROW_COLUMNS
from actlake.storage.keys import sought
from actlake.storage.mapped_chunks import Chunk
from actlake.storage.reading import Reading
from actlake.storage.shards import Grid, by_shard

__all__ = ["Rowset", "rowset_named"]


@dataclass(frozen=True, slots=True)
class Rowset:
    """A row axis, and a reader of its columns. Immutable and complete from its first commit."""

    name: str
    corpus: str
    kind: str
    """token, document or patch."""
    tokenizer: str | None
    windowing: str | None
    window: int | None
    overlap: int | None
    rows: int
    shard_rows: int
    fingerprint: str
    id: str
    folder: Path
    withdrawn: tuple[int, ...]
    """Documents that were taken back: their rows are there, and hold nothing."""
    parent: "Rowset | None"
    """The rowset of every row, where this one has only those under ``mask``."""
    mask: str | None
    _reading: Reading

    @property
    def grid(self) -> Grid:
        return Grid(self.rows, self.shard_rows)

    def column(self, name: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """A copy of one column's values of rows [start, stop), shape (stop - start,).

        The columns and their dtypes are ``fields.ROW_COLUMNS``.
        """
        dtype = self._dtype(name)
        start, stop = self.grid.slice_of(start, stop)
        values = np.empty(stop - start, dtype)
        filled = 0
        for shard, first, after in self.grid.pieces(start, stop):
            values[filled : filled + after - first] = self._shard(name, shard)[first:after]
            filled += after - first
        return values

    def at(self, name: str, index: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """One column's values at the rows ``index``, shape (n,)."""
        values = np.empty(len(index), self._dtype(name))
        for shard, here, offsets in by_shard(index, self.shard_rows):
            values[here] = self._shard(name, shard)[offsets]
        return values

    def places(self, start: int, stop: int) -> NDArray[np.int64]:
        """Index of each of rows [start, stop) among the rows of its document that are here."""
        if self.parent is None:
            return self.column("position", start, stop).astype(np.int64)
        start, stop = self.grid.slice_of(start, stop)
        document = self.column("document", start, stop)
        rows = np.arange(start, stop)
        first = rows[np.searchsorted(document, document)]
        if len(document):
            first[document == document[0]] = self.first_row(int(document[0]))
        return rows - first

    def first_row(self, document: int) -> int:
        """The first row of ``document``, or of the next one that has any; ``rows`` after all."""
        low, high = 0, self.rows
        while low < high:
            middle = (low + high) // 2
            if int(self._shard("document", middle // self.shard_rows)[middle % self.shard_rows]) < (
                document
            ):
                low = middle + 1
            else:
                high = middle
        return low

    def of_parent(self, start: int, stop: int) -> NDArray[np.int64]:
        """The rows of ``parent`` that rows [start, stop) are; themselves where there is none.

        CorruptError if one of them is none of the parent's.
        """
        if self.parent is None or start == stop:
            return np.arange(start, stop)
        first, last = self.at("document", np.array([start, stop - 1]))
        low = self.parent.first_row(int(first))
        high = self.parent.first_row(int(last) + 1)
        own, all_ = (
            rowset._keys(*span)
            for rowset, span in ((self, (start, stop)), (self.parent, (low, high)))
        )
        index = np.searchsorted(all_, own)
        if not len(all_) or not np.array_equal(all_[np.minimum(index, len(all_) - 1)], own):
            raise CorruptError(
                f"rows {start:,} to {stop:,} of rowset {self.name} are none of {self.parent.name}; "
                "run `actlake verify`"
            )
        found: NDArray[np.int64] = low + index
        return found

    def _keys(self, start: int, stop: int) -> NDArray[np.int64]:
        """What tells rows of one rule apart and rises with them: the document, the place in it."""
        keys: NDArray[np.int64] = self.column("document", start, stop) * (1 << 31)
        keys += self.column("position", start, stop)
        return keys

    def present(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Whether each of rows [start, stop) is of a document that was not taken back."""
        if not self.withdrawn:
            return np.ones(stop - start, bool)
        return ~np.isin(self.column("document", start, stop), self.withdrawn)

    def _shard(self, name: str, shard: int) -> NDArray[Any]:
        dtype = self._dtype(name)
        start, stop = self.grid.span(shard)
        what = f"{name} of rowset {self.name}, rows {start:,} to {stop:,}"
        chunk = Chunk(chunk_path(self.folder, shard, 1, name), self.id, name, shard, what)
        file_bytes = self.shard_rows * dtype.itemsize + TRAILER_BYTES
        return self._reading.chunk(chunk, (stop - start,), dtype, file_bytes)

    def _dtype(self, name: str) -> np.dtype[Any]:
        if name not in ROW_COLUMNS:
            raise InputError(
                f"rowset {self.name} has no column {name!r}; it has {', '.join(ROW_COLUMNS)}"
            )
        return np.dtype(ROW_COLUMNS[name])


def rowset_named(reading: Reading, name: str) -> Rowset:
    """The rowset of that name; NotFoundError if there is none."""
    query = "SELECT * FROM rowsets WHERE rowset = $rowset"  # an older snapshot has fewer columns
    with reading.standing():
        for facts in reading.facts("rowsets", query, rowset=sought(name)):
            reading.complete(facts["id"])
            parent = facts.get("parent")
            return Rowset(
                name=name,
                **{column: facts[column] for column in _PLAIN},
                folder=reading.root / facts["path"],
                withdrawn=_withdrawn(reading, facts["corpus"]),
                parent=None if parent is None else rowset_named(reading, parent),
                mask=facts.get("mask"),
                _reading=reading,
            )
    raise NotFoundError(f"no rowset {name!r} in {reading.root}; see `actlake ls rowsets`")


_PLAIN = (
    "corpus",
    "kind",
    "tokenizer",
    "windowing",
    "window",
    "overlap",
    "rows",
    "shard_rows",
    "fingerprint",
    "id",
)


def _withdrawn(reading: Reading, corpus: str) -> tuple[int, ...]:
    # A corpus that was deleted and made again since is another one.
    query = """
        SELECT w.document FROM withdrawals AS w INNER JOIN corpora AS c USING (corpus)
        WHERE w.corpus = $corpus AND w.run > c.run ORDER BY w.document
    """
    return tuple(row["document"] for row in reading.facts("withdrawals", query, corpus=corpus))
