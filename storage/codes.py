"""Codes: one dictionary encoded over one tensor, row-major, and readers of both directions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, chunk_path, corrupt
from actlake.storage.csr import INDPTR, Csr, index_dtype, ranges
from actlake.storage.errors import CorruptError, IncompleteError, InputError, NotFoundError
from actlake.storage.keys import sought
from actlake.storage.mapped_chunks import Chunk
from actlake.storage.reading import Bounds, Reading
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.scan import Array, scan_codes
from actlake.storage.shards import Grid, by_shard

__all__ = ["Codes", "codes_named"]


@dataclass(frozen=True, slots=True)
class Codes:
    """A reader of the committed shards of one codes, as of when it was opened."""

    name: str
    dictionary: str
    tensor: str
    n_features: int
    dtype: np.dtype[Any]
    rowset: Rowset
    fingerprint: str
    id: str
    folder: Path
    sealed: bool
    values_of_shard: dict[int, int]
    """Stored values of each committed shard."""
    _reading: Reading

    @property
    def shape(self) -> tuple[int, int]:
        return self.rowset.rows, self.n_features

    @property
    def grid(self) -> Grid:
        return self.rowset.grid

    def __len__(self) -> int:
        return self.rowset.rows

    def missing(self) -> list[int]:
        """Shards that are not committed yet."""
        return [shard for shard in range(len(self.grid)) if shard not in self.values_of_shard]

    def shard(self, shard: int) -> Csr:
        """The rows of one shard; its indices and values are memory maps."""
        indptr, indices, values = (self.array(shard, name) for name in get_args(Array))
        return Csr(indptr, indices, values, self.n_features)

    def rows(self, index: NDArray[np.integer[Any]]) -> Csr:
        """The rows ``index``, shape (n,), each in [0, rows), in any order and with repeats, as one
        block in that order, copied."""
        first, last = np.zeros((2, len(index)), np.int64)
        groups = [*by_shard(index, self.rowset.shard_rows)]
        for shard, here, offsets in groups:
            first[here], last[here] = self.places(shard, offsets)
        indptr = np.concatenate(([0], np.cumsum(last - first))).astype(np.int64)
        indices = np.empty(indptr[-1], index_dtype(self.n_features))
        values = np.empty(indptr[-1], self.dtype)
        for shard, here, _ in groups:
            together = here[-1] - here[0] == len(here) - 1  # as where the rows are in order
            target: slice | NDArray[np.int64] = slice(indptr[here[0]], indptr[here[-1] + 1])
            if not together:
                target = ranges(indptr[here], indptr[here + 1])
            source = ranges(first[here], last[here])
            indices[target] = self.array(shard, "indices")[source]
            values[target] = self.array(shard, "values")[source]
        return Csr(indptr, indices, values, self.n_features)

    def places(
        self, shard: int, offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the values of some rows of ``shard`` begin in its arrays, and where they end; the
        starts of no other row are looked at."""
        starts = self._starts(shard)
        first, last = starts[offsets].astype(np.int64), starts[offsets + 1].astype(np.int64)
        if (first > last).any() or last.max(initial=0) > self.values_of_shard[shard]:
            raise self._falls(shard)
        return first, last

    def array(self, shard: int, name: Array) -> NDArray[Any]:
        """One of the arrays of ``shard``, of which no other is read; a memory map but indptr."""
        if name == "indptr":
            indptr, nnz = self._starts(shard).astype(np.int64), self.values_of_shard[shard]
            if indptr[0] != 0 or indptr[-1] != nnz or (indptr[1:] < indptr[:-1]).any():
                raise self._falls(shard)
            return indptr
        self._refuse_missing(shard)
        dtype = index_dtype(self.n_features) if name == "indices" else self.dtype
        return self._array(shard, name, self.values_of_shard[shard], dtype)

    def _starts(self, shard: int) -> NDArray[Any]:
        """``indptr`` as it lies there, unchecked."""
        self._refuse_missing(shard)
        start, stop = self.grid.span(shard)
        return self._array(shard, "indptr", stop - start + 1, INDPTR)

    def _refuse_missing(self, shard: int) -> None:
        if shard not in self.values_of_shard:
            start, stop = self.grid.span(shard)
            raise IncompleteError(
                f"rows {start:,} to {stop:,} of codes {self.name} are not committed yet; "
                "run the encoding again to finish it"
            )

    def _falls(self, shard: int) -> CorruptError:
        start, stop = self.grid.span(shard)
        return corrupt(
            self._path(shard, "indptr"),
            f"indptr of codes {self.name}, rows {start:,} to {stop:,}",
            f"does not rise from 0 to {self.values_of_shard[shard]:,}",
        )

    def _path(self, shard: int, name: str) -> Path:
        return chunk_path(self.folder, 0, 1, str(shard), name)

    def _array(self, shard: int, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        if size == 0:
            return np.empty(0, dtype)  # Zarr keeps no chunk of an empty array
        start, stop = self.grid.span(shard)
        what = f"{name} of codes {self.name}, rows {start:,} to {stop:,}"
        file_bytes = size * dtype.itemsize + TRAILER_BYTES
        return self._reading.chunk(
            Chunk(self._path(shard, name), self.id, name, shard, what), (size,), dtype, file_bytes
        )

    def __getitem__(self, rows: slice) -> Csr:
        """Rows ``[a:b]`` as one block, copied. Steps are not supported."""
        # Not a slice alone is what people try.
        if getattr(rows, "step", 0) not in (None, 1):
            raise InputError(
                f"codes {self.name} are read as [start:stop], in steps of 1; keep rows of that"
            )
        start, stop = self.grid.slice_of(rows.start, rows.stop)
        lengths, indices, values = [], [], []
        for shard, first, after in self.grid.pieces(start, stop):
            block = self.shard(shard)
            low, high = int(block.indptr[first]), int(block.indptr[after])
            lengths.append(np.diff(block.indptr[first : after + 1]))
            indices.append(block.indices[low:high])
            values.append(block.values[low:high])
        indptr = np.concatenate(([0], np.cumsum(np.concatenate([[], *lengths])))).astype(np.int64)
        return Csr(
            indptr,
            np.concatenate([np.empty(0, index_dtype(self.n_features)), *indices]),
            np.concatenate([np.empty(0, self.dtype), *values]),
            self.n_features,
        )

    def postings(self, feature: int) -> pl.DataFrame:
        """The rows on which a feature fires: columns row and value, by row."""
        if not 0 <= feature < self.n_features:
            raise NotFoundError(
                f"codes {self.name} have no feature {feature}; choose 0 to {self.n_features - 1}"
            )
        within: dict[str, Bounds] = {"codes": (self.name,) * 2, "feature": (feature,) * 2}
        source = self._reading.source("postings", "row", "value", **within)
        query = f"""
            SELECT "row", value FROM {source}
            WHERE codes = $codes AND feature = $feature ORDER BY "row"
        """  # noqa: S608 - ours
        parameters = {"codes": self.name, "feature": feature}
        found = self._reading.connection().execute(query, parameters)
        return pl.DataFrame(found.to_arrow_table())

    def scan(self) -> pl.LazyFrame:
        """Columns row, feature, value as a lazy frame, by row, then feature.

        Column choice is pushed down: without ``value`` no values are read, with ``row`` alone no
        features. So are conditions on row or on feature alone: of shards without a wanted row
        nothing is read, of those without a wanted feature no values.
        """
        return scan_codes(self.grid, self.array, sorted(self.values_of_shard), self.n_features)


def codes_named(reading: Reading, name: str) -> Codes:
    """The codes of that name; NotFoundError if there are none."""
    query = """
        SELECT dictionary, tensor, n_features, dtype, rowset, fingerprint, id, path, state
        FROM codes WHERE codes = $codes
    """
    with reading.standing():
        for facts in reading.facts("codes", query, codes=sought(name)):
            plain = ("dictionary", "tensor", "n_features", "fingerprint", "id")
            dtype = np.dtype(facts["dtype"])
            return Codes(
                name=name,
                **{column: facts[column] for column in plain},
                dtype=dtype,
                rowset=rowset_named(reading, facts["rowset"]),
                folder=reading.root / facts["path"],
                sealed=facts["state"] == "sealed",
                values_of_shard={
                    shard: max(0, size - TRAILER_BYTES) // dtype.itemsize
                    for (array, shard), size in reading.receipts(facts["id"]).items()
                    if array == "values"
                },
                _reading=reading,
            )
    raise NotFoundError(f"no codes {name!r} in {reading.root}; see `actlake ls codes`")
