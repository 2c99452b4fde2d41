"""Codes as a polars LazyFrame that reads only what a query needs."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from actlake.storage.csr import index_dtype
from actlake.storage.shards import Grid

__all__ = ["Array", "scan_codes"]

Array = Literal["indptr", "indices", "values"]
"""What is stored of a shard of codes."""
Read = Callable[[int, Array], NDArray[Any]]


def scan_codes(grid: Grid, read: Read, shards: list[int], n_features: int) -> pl.LazyFrame:
    """Columns row, feature, value of the given shards, by row, then feature.

    ``read`` is asked for an array of a shard where a query cannot be answered without it.
    """
    schema = pl.Schema({"row": pl.Int64, "feature": pl.Int32, "value": pl.Float32})

    def frames(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        _batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        left = n_rows
        conditions = [] if predicate is None else _conjunction(predicate)
        wanted = _wanted_features(conditions, n_features)
        if wanted is not None and not wanted.any():
            return
        needed = set(schema if columns is None else columns)
        needed |= set() if predicate is None else set(predicate.meta.root_names())
        for shard in shards:
            rows = _wanted_rows(conditions, *grid.span(shard))
            if not rows.any():
                continue
            frame = _frame(read, shard, grid.span(shard)[0], rows, wanted, needed)
            if predicate is not None:  # polars leaves all of it to us
                frame = frame.filter(predicate)
            if columns is not None:
                frame = frame.select(columns)
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame
            if left == 0:
                return

    return register_io_source(frames, schema=schema)


def _frame(
    read: Read,
    shard: int,
    row_start: int,
    rows: NDArray[np.bool_],
    wanted: NDArray[np.bool_] | None,
    needed: set[str],
) -> pl.DataFrame:
    """The ``needed`` columns, row at least, of what is stored on ``rows``, not empty."""
    indptr = read(shard, "indptr")
    first, last = np.flatnonzero(rows)[[0, -1]]
    part = slice(int(indptr[first]), int(indptr[last + 1]))  # pages beyond are not touched
    lengths = np.diff(indptr[first : last + 2])
    keep = np.repeat(rows[first : last + 1], lengths)
    if wanted is not None:
        # Damaged ones are beyond it.
        keep &= wanted.take(read(shard, "indices")[part], mode="clip")
    found = np.repeat(np.arange(row_start + first, row_start + last + 1), lengths)[keep]
    columns: dict[str, NDArray[Any]] = {"row": found}
    if "feature" in needed:
        columns["feature"] = _kept(read, shard, "indices", part, keep).astype(np.int32)
    if "value" in needed:
        columns["value"] = _kept(read, shard, "values", part, keep).astype(np.float32)
    return pl.DataFrame(columns)


def _kept(
    read: Read, shard: int, name: Array, part: slice, keep: NDArray[np.bool_]
) -> NDArray[Any]:
    return read(shard, name)[part][keep] if keep.any() else np.empty(0)


def _conjunction(predicate: pl.Expr) -> list[pl.Expr]:
    """The conditions that must all hold for ``predicate`` to hold."""
    parts = predicate.meta.pop()
    if len(parts) == 2:
        for first, second in (parts, parts[::-1]):
            if predicate.meta.eq(first & second) or predicate.meta.eq(first.and_(second)):
                return [*_conjunction(first), *_conjunction(second)]
    return [predicate]


def _wanted_features(conditions: list[pl.Expr], n_features: int) -> NDArray[np.bool_] | None:
    """Which features can satisfy the conditions on feature alone; None where there are none."""
    ours = [one for one in conditions if set(one.meta.root_names()) == {"feature"}]
    if not ours:
        return None
    every = pl.DataFrame({"feature": np.arange(n_features, dtype=np.int32)})
    wanted = np.zeros(n_features, bool)
    wanted[every.filter(*ours)["feature"].to_numpy().astype(index_dtype(n_features))] = True
    return wanted


def _wanted_rows(conditions: list[pl.Expr], start: int, stop: int) -> NDArray[np.bool_]:
    """Which rows of [start, stop) can satisfy the conditions on row alone."""
    ours = [one for one in conditions if set(one.meta.root_names()) == {"row"}]
    wanted = np.ones(stop - start, bool)
    if ours:
        wanted[:] = False
        every = pl.DataFrame({"row": np.arange(start, stop)})
        wanted[every.filter(*ours)["row"].to_numpy() - start] = True
    return wanted
