"""Tensors: activations of one model at one site over one rowset, one Zarr chunk a shard."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, chunk_path, corrupt
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from actlake.storage.keys import sought
from actlake.storage.precision import stored_dtype
from actlake.storage.reading import Chunk, Reading
from actlake.storage.rowsets import Rowset, rowset_named
from actlake.storage.shards import Grid

__all__ = ["Tensor", "tensor_named"]

Keep = Callable[[int, int], NDArray[np.bool_]]
BATCH_SHARDS = 8
"""Shards whose rows are mixed with each other when batches are drawn."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A reader of the committed rows of one tensor, as of when it was opened.

    Rows come in the stored dtype; nothing is read before it is asked for, and shards are
    memory-mapped, so the operating system decides what stays in memory.
    """

    name: str
    model: str
    site: str
    module: str
    side: str
    dtype: np.dtype[Any]
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

    def missing(self) -> list[int]:
        """Shards that are not committed yet."""
        return [shard for shard in range(len(self.grid)) if shard not in self.committed]

    def shard(self, shard: int) -> NDArray[Any]:
        """The rows of one shard, shape (rows, width), as a read-only memory map.

        A copy where the lake verifies always.
        """
        if shard not in self.committed:
            start, stop = self.grid.span(shard)
            raise IncompleteError(
                f"rows {start:,} to {stop:,} of tensor {self.name} are not committed yet; "
                "run the extraction again to finish it"
            )
        start, stop = self.grid.span(shard)
        item = self.width * self.dtype.itemsize
        file_bytes = self.grid.shard_rows * item + TRAILER_BYTES
        what = f"tensor {self.name}, rows {start:,} to {stop:,}"
        chunk = Chunk(chunk_path(self.folder, shard, 2), self.id, "rows", shard, what)
        return self._reading.chunk(chunk, (stop - start, self.width), self.dtype, file_bytes)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """A copy of rows ``[a:b]``, shape (b - a, width). Steps are not supported."""
        if rows.step not in (None, 1):
            raise InputError(f"tensor {self.name} is read in steps of 1; slice the result instead")
        start, stop = self.grid.slice_of(rows.start, rows.stop)
        block = np.empty((stop - start, self.width), self.dtype)
        filled = 0
        for shard, first, after in self.grid.pieces(start, stop):
            block[filled : filled + after - first] = self.shard(shard)[first:after]
            filled += after - first
        return block

    def rows(self, index: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The rows at ``index``, shape (n,), in that order and with repeats; shape (n, width)."""
        index = np.asarray(index)
        if index.ndim != 1 or (len(index) and index.dtype.kind not in "iu"):
            raise InputError(
                f"rows of tensor {self.name} are asked for by a flat list of whole numbers"
            )
        index = index.astype(np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise InputError(
                f"tensor {self.name} has rows 0 to {len(self) - 1:,}, not "
                f"{int(index.min()):,} to {int(index.max()):,}"
            )
        block = np.empty((len(index), self.width), self.dtype)
        shards, offsets = np.divmod(index, self.grid.shard_rows)
        order = np.argsort(shards, kind="stable")
        edges = np.flatnonzero(np.diff(shards[order], prepend=-1, append=-1))
        for first, after in pairwise(edges):
            here = order[first:after]
            block[here] = self.shard(int(shards[here[0]])).take(offsets[here], axis=0)
        return block

    def batches(
        self, size: int, *, seed: int, keep: Keep | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """One epoch of shuffled batches, shape (size, width), every row once; the last is smaller.

        Shards are dealt in an order drawn from ``seed`` and mixed eight at a time, so memory
        holds eight shards in the stored dtype and a batch. ``keep(start, stop)`` says which rows
        of a shard to take, shape (stop - start,); by default all but those of documents that were
        taken back.
        """
        if size < 1:
            raise InputError(f"batches of {size} rows cannot be drawn; ask for 1 or more")
        random = np.random.default_rng(seed)
        order = random.permutation(len(self.grid))
        left = np.empty((0, self.width), self.dtype)
        for first in range(0, len(order), BATCH_SHARDS):
            shards = order[first : first + BATCH_SHARDS]
            rows = np.concatenate([left, *(self._kept(int(shard), keep) for shard in shards)])
            dealt = random.permutation(len(rows))
            whole = len(rows) // size * size
            for at in range(0, whole, size):
                yield rows.take(dealt[at : at + size], axis=0).astype(np.float32)
            left = rows.take(dealt[whole:], axis=0)
        if len(left):
            yield left.astype(np.float32)

    def _kept(self, shard: int, keep: Keep | None) -> NDArray[Any]:
        keep = keep or (self.rowset.present if self.rowset.withdrawn else None)
        rows = self.shard(shard)
        return rows if keep is None else rows[keep(*self.grid.span(shard))]


def tensor_named(reading: Reading, name: str) -> Tensor:
    """The tensor of that name; NotFoundError if there is none."""
    query = """
        SELECT model, site, module, side, dtype, width, rowset, fingerprint, id, path, state
        FROM tensors WHERE tensor = $name
    """
    reading.table("tensors", tensor=(name, name))
    row = reading.connection().execute(query, {"name": sought(name)}).fetchone()
    if row is None:
        raise NotFoundError(f"no tensor {name!r} in {reading.root}; see `actlake ls tensors`")
    model, site, module, side, dtype, width, rowset, fingerprint, id_, path, state = row
    return Tensor(
        name=name,
        model=model,
        site=site,
        module=module,
        side=side,
        dtype=stored_dtype(dtype),
        width=width,
        rowset=rowset_named(reading, rowset),
        fingerprint=fingerprint,
        id=id_,
        folder=reading.root / path,
        sealed=state == "sealed",
        committed=frozenset(shard for _, shard in reading.receipts(id_)),
        _reading=reading,
    )
