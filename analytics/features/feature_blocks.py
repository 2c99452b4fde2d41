"""Features cut into blocks of bounded size, those that go together most in one."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def feature_blocks(
    feature_a: NDArray[np.integer[Any]],
    feature_b: NDArray[np.integer[Any]],
    score: NDArray[np.float64],
    n_features: int,
    *,
    most: int,
) -> Counts:
    """The block of each feature, shape (n_features,), from 0; of at most ``most`` features each.

    Pairs are joined from the highest score down, unless their clusters together would pass
    ``most``: single linkage, as a spanning tree grows (Kruskal 1956), with a cap. Clusters then
    fill blocks, the largest first, each the first block that has room, so that no more than about
    twice as many blocks come out as there have to be. Ties go to the smaller features. One block
    if all features fit it.
    """
    if n_features <= most:
        return np.zeros(n_features, np.int64)
    parent, size = list(range(n_features)), [1] * n_features
    for at in np.lexsort((feature_b, feature_a, -score)).tolist():
        a, b = _root(parent, int(feature_a[at])), _root(parent, int(feature_b[at]))
        if a != b and size[a] + size[b] <= most:
            low, high = min(a, b), max(a, b)
            parent[high] = low
            size[low] += size[high]
    roots = np.array([_root(parent, one) for one in range(n_features)])
    block_of, room = np.zeros(n_features, np.int64), list[int]()
    clusters, sizes = np.unique(roots, return_counts=True)
    for at in np.lexsort((clusters, -sizes)).tolist():
        held = int(sizes[at])
        number = next((one for one, left in enumerate(room) if left >= held), len(room))
        if number == len(room):
            room.append(most)
        room[number] -= held
        block_of[clusters[at]] = number
    found: Counts = block_of[roots]
    return found


def _root(parent: list[int], one: int) -> int:
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one
