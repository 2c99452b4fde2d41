"""Families: a feature that fires wherever several sparser ones do, and those."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

ROUNDS = 3
LEAST_CHILDREN = 3
SAME_MEMBERS = 0.6


@dataclass(frozen=True, slots=True)
class Family:
    """A root and all below it, root first."""

    round: int
    """From 1; in each, the roots of earlier ones are left out."""
    features: Counts
    parents: Counts
    """-1 for the root."""
    depth: Counts
    """0 for the root."""
    share: Floats
    """Share of the feature's firings on which its parent fires too; NaN for the root."""


def families(
    feature_a: Counts,
    feature_b: Counts,
    joint: Counts,
    q: Floats,
    fires: Counts,
    n: int,
    *,
    least_share: float = 0.1,
    most_density: float = 0.2,
    most_q: float = 0.05,
) -> list[Family]:
    """Families among pairs of features, by round, then by root.

    A pair is an edge from its denser feature to its sparser one if the denser fires on at least
    ``least_share`` of the sparser's firings, joint / (fires + 1), if they fire together more than
    chance (lift above 1, q at most ``most_q``), and if neither fires on more than ``most_density``
    of the units: what fires nearly everywhere is nobody's parent. The maximum spanning forest of
    these edges is cut into what is below each root with ``LEAST_CHILDREN`` children or more. Then
    the roots go, and the rest is looked at again, ``ROUNDS`` times. Of two families that share
    more than ``SAME_MEMBERS`` of their members (Jaccard) the later is left out.

    ``feature_a`` and ``feature_b`` name pairs, in either direction or both; ``fires`` has shape
    (features,).

    Source: O'Neill et al. (2024), "Disentangling Dense Embeddings with Sparse Autoencoders", arXiv
    2408.00657, whose code has no control of lift: there any feature is a child of a dense one.
    """
    dense = np.where(
        (fires[feature_a] > fires[feature_b])
        | ((fires[feature_a] == fires[feature_b]) & (feature_a < feature_b)),
        feature_a,
        feature_b,
    )
    sparse = np.where(dense == feature_a, feature_b, feature_a)
    share = joint / (fires[sparse] + 1)
    kept = (
        (share >= least_share)
        & (joint * n > fires[dense].astype(np.float64) * fires[sparse])
        & (q <= most_q)
        & (fires[dense] <= most_density * n)
    )
    edges, first = np.unique(np.stack((dense, sparse), axis=1)[kept], axis=0, return_index=True)
    shares = {
        (parent, child): value
        for (parent, child), value in zip(edges.tolist(), share[kept][first].tolist(), strict=True)
    }
    # A forest depends on the order of its edges alone. Of two parents that always fire, the sparser
    # one is nearer.
    order = np.lexsort((fires[edges[:, 0]], -share[kept][first]))
    place = np.empty(len(edges))
    place[order] = np.arange(1, len(edges) + 1)
    found: list[Family] = []
    members: list[frozenset[int]] = []
    for number in range(1, ROUNDS + 1):
        children = _forest(edges, place, len(fires))
        inner = {child for below in children.values() for child in below}
        roots = sorted(
            root
            for root, below in children.items()
            if root not in inner and len(below) >= LEAST_CHILDREN
        )
        for root in roots:
            one = _below(root, children, shares, number)
            mine = frozenset(one.features.tolist())
            if all(_overlap(mine, other) <= SAME_MEMBERS for other in members):
                found.append(one)
                members.append(mine)
        left = ~np.isin(edges, roots).any(axis=1)
        edges, place = edges[left], place[left]
    return found


def _forest(edges: Counts, place: Floats, n_features: int) -> dict[int, list[int]]:
    """Children of each feature in the spanning forest of the edges that come first."""
    if not len(edges):
        return {}
    graph = coo_array((place, (edges[:, 0], edges[:, 1])), shape=(n_features, n_features))
    tree = minimum_spanning_tree(graph.tocsr()).tocoo()
    children: dict[int, list[int]] = {}
    for parent, child in sorted(zip(tree.row.tolist(), tree.col.tolist(), strict=True)):
        children.setdefault(parent, []).append(child)
    return children


def _below(
    root: int, children: dict[int, list[int]], shares: dict[tuple[int, int], float], number: int
) -> Family:
    rows, waiting, seen = [(root, -1, 0, float("nan"))], [(root, 0)], {root}
    while waiting:
        parent, depth = waiting.pop(0)
        for child in children.get(parent, ()):
            if child not in seen:
                seen.add(child)
                rows.append((child, parent, depth + 1, shares[parent, child]))
                waiting.append((child, depth + 1))
    features, parents, depths, of_parent = zip(*rows, strict=True)
    return Family(
        number, np.array(features), np.array(parents), np.array(depths), np.array(of_parent)
    )


def _overlap(a: frozenset[int], b: frozenset[int]) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both)
