"""Rows from here and there in the shards of one tensor, as one block."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    block = np.empty((len(index), width), dtype)
    for number, here, offsets in by_shard(index, shard_rows):
        picked = {array: values.take(offsets, axis=0) for array, values in shard(number).items()}
        block[here] = values_of(picked)
    return block
