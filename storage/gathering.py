"""Rows from here and there in the shards of one tensor, as one block."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    shards, offsets = np.divmod(index, shard_rows)
    order = np.argsort(shards, kind="stable")
    edges = np.flatnonzero(np.diff(shards[order], prepend=-1, append=-1))
    for first, after in pairwise(edges):
        here = order[first:after]
        stored = shard(int(shards[here[0]])).items()
        picked = {array: values.take(offsets[here], axis=0) for array, values in stored}
        block[here] = values_of(picked)
    return block
