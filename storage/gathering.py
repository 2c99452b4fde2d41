"""Rows from here and there in the shards of one tensor, as one block."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.regions import Region, region_of
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

    ``shard(i)`` gives the stored rows of a shard, and is asked once for each that is needed; of
    those that are copies two are held at most. ``dtype`` is that of what they mean.
    """
    held = dict[int, Stored]()
    regions = dict[str, Region]()
    for number in np.flatnonzero(np.bincount(index // shard_rows)).tolist():
        held[number] = shard(number)
        here = {array: region_of(rows) for array, rows in held[number].items()}
        known = {array: region for array, region in here.items() if region is not None}
        if len(known) < len(here) or regions not in ({}, known):
            break
        regions = known
    else:
        if held:
            return values_of(_picked(index, held[number], regions))
    block = np.empty((len(index), width), dtype)
    for number, places, offsets in by_shard(index, shard_rows):
        stored = held.pop(number, None) or shard(number)
        picked = {array: values.take(offsets, axis=0) for array, values in stored.items()}
        block[places] = values_of(picked)
    return block


def _picked(index: NDArray[np.integer[Any]], one: Stored, regions: dict[str, Region]) -> Stored:
    """The rows at ``index`` of arrays whose shards lie side by side, as those of ``one`` do."""
    return {
        array: regions[array].whole(rows.dtype, rows.shape[1:]).take(index, axis=0)
        for array, rows in one.items()
    }
