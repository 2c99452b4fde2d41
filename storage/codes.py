"""Codes: one dictionary encoded over one tensor, row-major, and readers of both directions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, map_chunk
from actlake.storage.csr import INDPTR, Csr, index_dtype
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.scan import scan_codes
from actlake.storage.shards import Grid

__all__ = ["Codes", "codes_named"]

Connection = Callable[[], duckdb.DuckDBPyConnection]


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
    _connection: Connection

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
        start, stop = self.grid.span(shard)
        if shard not in self.values_of_shard:
            raise IncompleteError(
                f"rows {start:,} to {stop:,} of codes {self.name} are not committed yet; "
                "run the encoding again to finish it"
            )
        nnz = self.values_of_shard[shard]
        return Csr(
            self._array(shard, "indptr", stop - start + 1, INDPTR).astype(np.int64),
            self._array(shard, "indices", nnz, index_dtype(self.n_features)),
            self._array(shard, "values", nnz, self.dtype),
            self.n_features,
        )

    def _array(self, shard: int, name: str, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        if size == 0:
            return np.empty(0, dtype)  # Zarr keeps no chunk of an empty array
        path = self.folder / str(shard) / name / "c.0"
        return map_chunk(path, (size,), dtype, size * dtype.itemsize + TRAILER_BYTES)

    def __getitem__(self, rows: slice) -> Csr:
        """Rows ``[a:b]`` as one block, copied. Steps are not supported."""
        if rows.step not in (None, 1):
            raise InputError(f"codes {self.name} are read in steps of 1; keep rows of the result")
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
                f"codes {self.name} have features 0 to {self.n_features - 1}, not {feature}"
            )
        query = """
            SELECT "row", value FROM postings
            WHERE codes = $codes AND feature = $feature ORDER BY "row"
        """
        parameters = {"codes": self.name, "feature": feature}
        return pl.DataFrame(self._connection().execute(query, parameters).to_arrow_table())

    def scan(self) -> pl.LazyFrame:
        """Columns row, feature, value as a lazy frame, by row, then feature.

        Column choice is pushed down, and so are conditions on row or on feature alone: shards
        without a wanted row are not opened, and only wanted values are copied.
        """
        return scan_codes(self.grid, self.shard, sorted(self.values_of_shard), self.n_features)


def codes_named(connection: Connection, root: Path, name: str) -> Codes:
    """The codes of that name; NotFoundError if there are none."""
    query = """
        SELECT dictionary, tensor, n_features, dtype, rowset, fingerprint, id, path, state
        FROM codes WHERE codes = $name
    """
    row = connection().execute(query, {"name": name}).fetchone()
    if row is None:
        raise NotFoundError(f"no codes {name!r} in {root}; see `actlake ls codes`")
    dictionary, tensor, n_features, dtype, rowset, fingerprint, id_, path, state = row
    sizes = """SELECT shard, bytes FROM shards WHERE owner = $id AND "array" = 'values'"""
    receipts = connection().execute(sizes, {"id": id_})
    item = np.dtype(dtype).itemsize
    return Codes(
        name=name,
        dictionary=dictionary,
        tensor=tensor,
        n_features=n_features,
        dtype=np.dtype(dtype),
        rowset=rowset_named(connection(), root, rowset),
        fingerprint=fingerprint,
        id=id_,
        folder=root / path,
        sealed=state == "sealed",
        values_of_shard={
            shard: max(0, size - TRAILER_BYTES) // item for shard, size in receipts.fetchall()
        },
        _connection=connection,
    )
