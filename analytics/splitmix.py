"""A fixed mix of 64-bit integers: the same order and the same splits on every machine."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def splitmix64(keys: NDArray[np.integer[Any]], seed: int = 0) -> NDArray[np.uint64]:
    """Hashes in [0, 2⁶⁴) of integer ``keys``, of any shape; distinct keys have distinct hashes.

    Source: Steele, Lea & Flood (2014), "Fast splittable pseudorandom number generators",
    with the variant 13 constants of David Stafford.
    """
    start = (0x9E3779B97F4A7C15 * (seed + 1)) % (1 << 64)
    mixed = keys.astype(np.uint64) + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
