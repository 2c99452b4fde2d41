"""The Zarr arrays that hold a tensor, and what its rows become in them.

In a floating-point dtype the folder of a tensor is one array, ``rows``. In int8 it is a group of
two on the same grid, each in a folder of its name: ``rows``, and the ``scale`` of each. A shard of
both is committed at once. What is emptied holds the fill values, of which NaN is read.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, chunk_path, create_array, fill_value
from actlake.storage.keys import Json
from actlake.storage.precision import SCALE, cast, quantize, restore, stored_dtype
from actlake.storage.rowsets import Rowset
from actlake.storage.shards import Grid

__all__ = [
    "Stored",
    "array_folder",
    "arrays_of",
    "create_arrays",
    "empty_rows",
    "encoded",
    "inner_arrays",
    "metadata_files",
    "row_bytes",
    "shard_bytes",
    "stored_rows",
    "tensor_chunk",
    "values_of",
]

Stored = Mapping[str, NDArray[Any]]
"""Rows as they lie in the arrays of a tensor, by the array's name."""
Kind = tuple[np.dtype[Any], tuple[int, ...]]
"""Of an array: its dtype, and the shape of a row."""


def arrays_of(dtype: str, width: int) -> dict[str, Kind]:
    """The arrays of a tensor in the stored ``dtype``."""
    arrays: dict[str, Kind] = {"rows": (stored_dtype(dtype), (width,))}
    if dtype == "int8":
        arrays["scale"] = SCALE, ()
    return arrays


def inner_arrays(dtype: str) -> tuple[str, ...]:
    """The arrays of a tensor that have a folder of their own in its folder."""
    return ("rows", "scale") if dtype == "int8" else ()


def array_folder(folder: Path, dtype: str, array: str) -> Path:
    """Where an array of the tensor in ``folder`` lies."""
    return folder / array if array in inner_arrays(dtype) else folder


def tensor_chunk(folder: Path, dtype: str, array: str, shard: int) -> Path:
    """Where a shard of an array of the tensor in ``folder`` lies."""
    dimensions = 1 + len(arrays_of(dtype, 1)[array][1])
    return chunk_path(array_folder(folder, dtype, array), shard, dimensions)


def metadata_files(dtype: str) -> list[str]:
    """The files in a tensor's folder beside its shards."""
    return ["zarr.json", *(f"{array}/zarr.json" for array in inner_arrays(dtype))]


def row_bytes(dtype: str, width: int) -> int:
    """Bytes of a row in all of its arrays."""
    arrays = arrays_of(dtype, width).values()
    return sum(kind.itemsize * math.prod(row) for kind, row in arrays)


def shard_bytes(dtype: str, width: int, shard_rows: int) -> int:
    """Bytes of the files of a shard, which are always full."""
    trailers = TRAILER_BYTES * len(arrays_of(dtype, width))
    return shard_rows * row_bytes(dtype, width) + trailers


def create_arrays(
    folder: Path, grid: Grid, width: int, dtype: str, attributes: dict[str, Json]
) -> None:
    """Write what says what a tensor without shards is into its ``folder``."""
    own: dict[str, Json] | None = attributes
    if inner_arrays(dtype):
        zarr.create_group(store=folder, attributes=attributes)
        own = None
    for array, (kind, row) in arrays_of(dtype, width).items():
        create_array(
            array_folder(folder, dtype, array),
            (grid.rows, *row),
            grid.shard_rows,
            kind,
            attributes=own,
            dimension_names=("row", "width")[: 1 + len(row)],
        )


def encoded(rows: NDArray[np.floating[Any]], dtype: str, *, what: str) -> Stored:
    """``rows``, shape (rows, width), as they are stored; PrecisionError, naming ``what``, if some
    do not fit."""
    return _parts(cast(rows, dtype, what=what), dtype)


def stored_rows(
    tensor: str,
    rowset: Rowset,
    shard: int,
    rows: NDArray[np.floating[Any]],
    dtype: str,
    *,
    checked: bool = False,
) -> Stored:
    """As ``encoded``, of a shard; rows of documents that were taken back are empty.

    ``checked`` are rows that ``cast`` has made.
    """
    start, stop = rowset.grid.span(shard)
    present = rowset.present(start, stop)
    held = rows if present.all() else np.where(present[:, None], rows, rows.dtype.type(0))
    if checked:
        found = _parts(held, dtype)
    else:
        found = encoded(held, dtype, what=f"tensor {tensor}, rows {start:,} to {stop:,}")
    if not present.all():
        empty_rows(found, ~present)
    return found


def _parts(fitting: NDArray[Any], dtype: str) -> Stored:
    parts = quantize(fitting) if dtype == "int8" else (fitting,)
    return dict(zip(arrays_of(dtype, fitting.shape[1]), parts, strict=True))


def empty_rows(stored: Stored, rows: NDArray[np.integer[Any] | np.bool_]) -> None:
    """Leave nothing of ``rows`` in the arrays, which are written to."""
    for values in stored.values():
        values[rows] = fill_value(values.dtype)


def values_of(stored: Stored) -> NDArray[Any]:
    """What rows mean, shape (rows, width): in the stored dtype, of int8 in float32.

    The array itself where it is one, else a new one. NaN in rows that are empty.
    """
    rows = stored["rows"]
    return restore(rows, stored["scale"]) if "scale" in stored else rows
