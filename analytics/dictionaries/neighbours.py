"""The decoder directions of a dictionary that are most like each of its own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.similarity.random_maximum import maximum_tail

Floats = NDArray[np.float64]
TILE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Of each feature, the nearest others; shapes (n_features, k), nearest first."""

    neighbour: NDArray[np.int64]
    """-1 where there is none."""
    cosine: Floats
    """Of the two directions, in [-1, 1]; NaN where there is none."""
    p: Floats
    """Chance that the best of as many random directions as there are others is as near; NaN where
    there is none, or the width is 1."""

    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_neighbours, a row each where there is a neighbour; rank from 1."""
        feature, place = np.nonzero(self.neighbour >= 0)
        at = feature, place
        return {
            "feature": feature,
            "rank": place + 1,
            "neighbour": self.neighbour[at],
            "cosine": self.cosine[at],
            "p": self.p[at],
        }


def nearest(directions: NDArray[Any], k: int) -> Neighbours:
    """The ``k`` nearest of ``directions``, shape (n_features, width), to each, itself left out.

    Of equal cosines the smaller feature comes first. A direction of norm 0 is near to none. Time
    is quadratic in the features; memory is one float32 copy of the directions, 64 MiB for tiles
    of cosines, however many features there are, and 24 k bytes a feature.
    """
    (n, width), k = directions.shape, max(k, 0)
    norm = np.sqrt(np.einsum("fd,fd->f", directions, directions, dtype=np.float64))
    is_there = norm > 0
    unit = (directions / np.where(is_there, norm, 1)[:, None]).astype(np.float32)
    neighbour, cosine = np.full((n, k), -1), np.full((n, k), np.nan)
    tile = max(TILE_BYTES // (4 * max(n, 1)), 1)
    for start in range(0, n, tile):
        stop = min(start + tile, n)
        here = np.arange(stop - start)
        near = unit[start:stop] @ unit.T
        near[:, ~is_there] = -np.inf
        near[here, here + start] = -np.inf
        near[~is_there[start:stop]] = -np.inf
        for rank in range(min(k, n - 1)):  # a few passes need no second array, as a sort would
            best = near.argmax(axis=1)
            found = near[here, best]
            one = np.isfinite(found)
            neighbour[start:stop, rank] = np.where(one, best, -1)
            cosine[start:stop, rank] = np.where(one, np.clip(found, -1, 1), np.nan)
            near[here, best] = -np.inf
    p = np.full((n, k), np.nan) if n < 2 or width < 2 else maximum_tail(cosine, n - 1, width)
    return Neighbours(neighbour, cosine, p)
