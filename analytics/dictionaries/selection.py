"""Which pre-activations of a row become codes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def largest_positive(values: NDArray[np.floating[Any]], k: int) -> NDArray[np.bool_]:
    """The ``k`` largest entries > 0 of each row of ``values``, shape (rows, features), as a mask.

    A row has fewer where fewer are positive. Ties go to the lower feature, so the choice is a
    function of the values alone.
    """
    features = values.shape[1]
    kth = np.partition(values, features - k, axis=1)[:, features - k, None]
    mask = (values >= kth) & (values > 0)
    crowded = np.flatnonzero(np.count_nonzero(mask, axis=1) > k)
    if len(crowded):
        above = values[crowded] > kth[crowded]
        tied = values[crowded] == kth[crowded]
        room = k - np.count_nonzero(above, axis=1, keepdims=True)
        mask[crowded] = above | (tied & (np.cumsum(tied, axis=1) <= room))
    return mask
