"""Rows from here and there in the shards of one tensor, as one block."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.regions import as_one
from actlake.storage.shards import by_shard
from actlake.storage.tensor_arrays import Stored, values_of

__all__ = ["gather"]


def gather(
    index: NDArray[np.integer[Any]],
    shard_rows: int,
    width: int,
    dtype: np.dtype[Any],
    shard: Callable[[int], Stored],
) -> NDArray[Any]:
    """The rows at ``index``, in that order and with repeats, shape (n, width).

    ``shard(i)`` gives the stored rows of a shard, and is asked once for each that is needed.
    ``dtype`` is that of what they mean.
    """
    needed = np.flatnonzero(np.bincount(index // shard_rows))
    held = {number: shard(number) for number in needed.tolist()}
    if (whole := _side_by_side(held)) is not None:
        return values_of({array: values.take(index, axis=0) for array, values in whole.items()})
    block = np.empty((len(index), width), dtype)
    for number, here, offsets in by_shard(index, shard_rows):
        picked = {array: values.take(offsets, axis=0) for array, values in held[number].items()}
        block[here] = values_of(picked)
    return block


def _side_by_side(held: Mapping[int, Stored]) -> Stored | None:
    """What holds the rows of all shards of a tensor, if those that are ``held`` are parts of it."""
    whole = dict[str, NDArray[Any]]()
    for array in next(iter(held.values()), {}):
        found = as_one({number: stored[array] for number, stored in held.items()})
        if found is None:
            return None
        whole[array] = found
    return whole or None
