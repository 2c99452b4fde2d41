"""The tokens of features, merged over all shards for one range of features after the other.

The pairs of a feature and a token become ever more as rows do, so the state of all features at once
would, too.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.statistic import merge_wide
from actlake.flows.summary_merging import Merging
from actlake.storage.partials import read_slices

__all__ = ["tokens_by_range"]

PAIRS = 2_000_000
"""Of all shards, that are merged at a time: each takes about 100 bytes while it is."""
BLOCKS = 256
"""Into which features are cut; a range is one block at least."""
SEEN = 64
"""Shards whose tokens, whatever fires on them, are held at a time."""
OF_PAIRS = ("feature", "token_id", "count", "value_sum")


def tokens_by_range(merging: Merging, name: str) -> Iterator[tuple[slice, FeatureTokens]]:
    """Consecutive ranges of features, each with the state of the statistic ``name``, of which it
    has all rows and all that is of these features."""
    cut = np.unique(np.linspace(0, merging.n_features, BLOCKS + 1).astype(np.int64))
    held: list[list[FeatureTokens]] | None = [[] for _ in merging.members]
    seen: list[FeatureTokens] = []
    places: list[list[NDArray[np.int64]]] = [[] for _ in merging.members]
    pairs = np.zeros(len(cut) - 1, np.int64)
    for at in range(len(merging.members)):
        for state in merging.states(at, name, FeatureTokens.from_arrays):
            places[at].append(np.searchsorted(state.feature, cut))
            pairs += np.diff(places[at][-1])
            seen.append(replace(state, **_no_pairs()))
            seen = [merge_wide(seen)] if len(seen) == SEEN else seen
            held = None if held is None or pairs.sum() > PAIRS else held
            if held is not None:
                held[at].append(state)
    if held is not None:
        yield slice(0, merging.n_features), _merged(held)
        return
    of_all = merge_wide(seen)
    for first, after in _ranges(pairs):
        parts = [
            [
                _part(merging, at, name, shard, slice(*place[[first, after]].tolist()))
                for shard, place in enumerate(places[at])
            ]
            for at in range(len(merging.members))
        ]
        whole = replace(
            _merged(parts),
            n_rows=of_all.n_rows,
            seen_token=of_all.seen_token,
            seen_count=of_all.seen_count,
        )
        yield slice(int(cut[first]), int(cut[after])), whole


def _merged(members: list[list[FeatureTokens]]) -> FeatureTokens:
    """Of the shards of each member, then of all."""
    found = [merge_wide(one) for one in members]
    return found[0] if len(found) == 1 else merge_wide(found)


def _part(merging: Merging, at: int, name: str, shard: int, pairs: slice) -> FeatureTokens:
    """Some pairs of a shard, and nothing of what was seen; its file was checked as it was read."""
    none = FeatureTokens.empty(merging.n_features)
    if pairs.start == pairs.stop:
        return none
    path, _ = merging.partials[at][name, shard]
    found: dict[str, Any] = read_slices(merging.lake.store, path, dict.fromkeys(OF_PAIRS, pairs))
    return replace(none, **found)


def _no_pairs() -> dict[str, Any]:
    none = FeatureTokens.empty(0)
    return {name: getattr(none, name) for name in OF_PAIRS}


def _ranges(pairs: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Consecutive blocks with ``PAIRS`` pairs at most, or one block."""
    sums = np.concatenate(([0], np.cumsum(pairs)))
    ranges, first = [], 0
    while first < len(pairs):
        after = int(np.searchsorted(sums, sums[first] + PAIRS, "right")) - 1
        ranges.append((first, max(after, first + 1)))
        first = ranges[-1][1]
    return ranges
