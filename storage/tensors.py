"""Tensors: activations of one model at one site over one rowset, one Zarr chunk a shard."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, corrupt
from actlake.storage.batches import Batches, Keep
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from actlake.storage.gathering import gather
from actlake.storage.keys import sought
from actlake.storage.mapped_chunks import Chunk
from actlake.storage.precision import read_dtype
from actlake.storage.reading import Reading
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.shards import Grid
from actlake.storage.site_columns import split_columns
from actlake.storage.tensor_arrays import Stored, arrays_of, tensor_chunk, values_of

__all__ = ["Tensor", "tensor_named"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """A reader of the committed rows of one tensor, as of when it was opened.

    Rows come in the stored dtype, of int8 in float32; nothing is read before it is asked for, and
    shards are memory-mapped, so the operating system decides what stays in memory.
    """

    name: str
    model: str
    site: str
    module: str
    side: str
    dtype: np.dtype[Any]
    """Of the rows as they are read."""
    stored_dtype: str
    """Of the rows on disk: another one where that is int8."""
    width: int
    rowset: Rowset
    fingerprint: str
    id: str
    folder: Path
    sealed: bool
    committed: frozenset[int]
    """Shards whose rows may be read."""
    _reading: Reading

    @property
    def shape(self) -> tuple[int, int]:
        return self.rowset.rows, self.width

    @property
    def grid(self) -> Grid:
        return self.rowset.grid

    def __len__(self) -> int:
        return self.rowset.rows

    def attributes(self) -> dict[str, Any]:
        """What the array says of itself: model, module, rowset, dtypes, batch plan."""
        file, what = self.folder / "zarr.json", f"tensor {self.name}"
        content = self._reading.file(file.relative_to(self._reading.root).as_posix(), what)
        try:
            return dict(json.loads(content)["attributes"])
        except (ValueError, KeyError, TypeError) as error:
            raise corrupt(file, what, f"is damaged ({error})") from error

    @property
    def columns(self) -> tuple[int, ...] | None:
        """Which of the site's columns these are; None for all, or where rows came from outside."""
        return None if self.side == "given" else split_columns(self.site)[1]

    def missing(self) -> list[int]:
        """Shards that are not committed yet."""
        return [shard for shard in range(len(self.grid)) if shard not in self.committed]

    def shard(self, shard: int) -> NDArray[Any]:
        """The rows of one shard, shape (rows, width), as a read-only memory map.

        A copy where the lake verifies always, and of int8, four times as large as its file.
        """
        return values_of(self.stored(shard))

    def stored(self, shard: int) -> Stored:
        """What the arrays of the tensor hold of one shard, each as a read-only memory map.

        A copy where the lake verifies always.
        """
        grid = self.grid
        if shard not in self.committed:
            start, stop = grid.span(shard)
            raise IncompleteError(
                f"rows {start:,} to {stop:,} of tensor {self.name} are not committed yet; "
                "run the extraction again to finish it"
            )
        parts = _parts(self.name, self.id, self.folder, self.stored_dtype, self.width, grid, shard)
        return {array: self._reading.chunk(*part) for array, part in parts.items()}

    def __getitem__(self, rows: slice | int) -> NDArray[Any]:
        """A copy of rows ``[a:b]``, shape (b - a, width), or of row ``[a]``, shape (width,).

        Steps are not supported. IndexError if there is no row a.
        """
        if isinstance(rows, (int, np.integer)):
            if not -len(self) <= rows < len(self):
                raise IndexError(f"tensor {self.name} has {len(self):,} rows and no row {rows}")
            block = self.rows(np.array([rows % len(self)]))
            return block.reshape(self.width)
        # Not a slice alone is what people try.
        if getattr(rows, "step", 0) not in (None, 1):
            raise InputError(
                f"tensor {self.name} is read as [row] or [start:stop] in steps of 1; slice the "
                "result for more, or ask .rows for rows from here and there"
            )
        start, stop = self.grid.slice_of(rows.start, rows.stop)
        block = np.empty((stop - start, self.width), self.dtype)
        filled = 0
        for shard, first, after in self.grid.pieces(start, stop):
            stored = self.stored(shard).items()
            piece = values_of({array: values[first:after] for array, values in stored})
            block[filled : filled + after - first] = piece
            filled += after - first
        return block

    def rows(self, index: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The rows at ``index``, shape (n,), in that order and with repeats; shape (n, width)."""
        index = np.asarray(index)
        if index.ndim != 1 or (len(index) and index.dtype.kind not in "iu"):
            raise InputError(
                f"rows of tensor {self.name} are asked for by number; give a flat list of them"
            )
        index = index.astype(np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise InputError(
                f"tensor {self.name} has no rows {int(index.min()):,} to {int(index.max()):,}; "
                f"choose some of 0 to {len(self) - 1:,}"
            )
        return gather(index, self.grid.shard_rows, self.width, self.dtype, self.stored)

    def batches(
        self, size: int, *, seed: int, keep: Keep | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """One epoch of shuffled batches, shape (size, width), every row once; the last is smaller.

        Those of ``Batches``, as float32: rows in the stored dtype, several tensors, masks, epochs
        and workers are there.
        """
        for batch in Batches([self], size, seed=seed, keep=keep):
            yield batch.values[0].astype(np.float32)

    def alone(self, shard: int) -> "Tensor":
        """A reader of that shard only, which pickles to a few hundred bytes."""
        arrays = arrays_of(self.stored_dtype, self.width)
        reading = self._reading.holding(self.id, arrays, shard)
        rowset = replace(self.rowset, parent=None, _reading=reading)
        committed = self.committed & {shard}
        return replace(self, rowset=rowset, committed=committed, _reading=reading)


# To put it together takes longer than to look at the file.
@lru_cache(1 << 14)
def _parts(
    name: str, tensor: str, folder: Path, stored_dtype: str, width: int, grid: Grid, shard: int
) -> dict[str, tuple[Chunk, tuple[int, ...], np.dtype[Any], int]]:
    """Of each array the chunk of a shard, the shape and dtype of its rows and its file's bytes."""
    start, stop = grid.span(shard)
    what = f"tensor {name}, rows {start:,} to {stop:,}"
    found = {}
    for array, (dtype, row) in arrays_of(stored_dtype, width).items():
        path = tensor_chunk(folder, stored_dtype, array, shard)
        file_bytes = grid.shard_rows * math.prod(row) * dtype.itemsize + TRAILER_BYTES
        chunk = Chunk(path, tensor, array, shard, what, of=len(grid))
        found[array] = chunk, (stop - start, *row), dtype, file_bytes
    return found


def tensor_named(reading: Reading, name: str) -> Tensor:
    """The tensor of that name; NotFoundError if there is none."""
    query = """
        SELECT model, site, module, side, dtype, width, rowset, fingerprint, id, path, state
        FROM tensors WHERE tensor = $tensor
    """
    with reading.standing():
        for facts in reading.facts("tensors", query, tensor=sought(name)):
            plain = ("model", "site", "module", "side", "width", "fingerprint", "id")
            return Tensor(
                name=name,
                **{column: facts[column] for column in plain},
                dtype=read_dtype(facts["dtype"]),
                stored_dtype=facts["dtype"],
                rowset=rowset_named(reading, facts["rowset"]),
                folder=reading.root / facts["path"],
                sealed=facts["state"] == "sealed",
                committed=frozenset(shard for _, shard in reading.receipts(facts["id"])),
                _reading=reading,
            )
    raise NotFoundError(f"no tensor {name!r} in {reading.root}; see `actlake ls tensors`")
