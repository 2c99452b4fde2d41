"""Which documents are for training, choosing and testing."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.splitmix import splitmix64
from actlake.storage.errors import InputError

SPLITS = ("train", "validation", "holdout")


def split_of(
    documents: NDArray[np.integer[Any]],
    *,
    seed: int = 0,
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
) -> NDArray[np.int8]:
    """The split of each of ``documents``, as an index into ``SPLITS``; the shape is kept.

    A function of the document's number and ``seed`` alone: all rows of a document share a split, in
    every tensor, whatever rows are asked about. ``shares``, in the order of ``SPLITS``, hold on
    average, so small corpora deviate. Raises InputError unless they are >= 0 and sum to 1.
    """
    if min(shares) < 0 or not math.isclose(sum(shares), 1):
        raise InputError(
            f"split shares {shares} do not sum to 1; give three shares such as 0.8 0.1 0.1"
        )
    place = (splitmix64(documents, seed) >> np.uint64(11)) * 2.0**-53
    bounds = np.cumsum(shares[:-1])
    return np.searchsorted(bounds, place, side="right").astype(np.int8)
