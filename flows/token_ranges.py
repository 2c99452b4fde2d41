"""The tokens of features, merged over all shards for one range of features after the other.

The pairs of a feature and a token become ever more as rows do, so the state of all features at once
would, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import consecutive
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.statistic import merge_wide
from actlake.flows.summary_merging import Merging
from actlake.storage.partials import Slices

__all__ = ["tokens_by_range"]

PAIRS = 1_000_000
"""Of all shards, in one range: each takes about 100 bytes while it is merged."""
BLOCKS = 4096
"""Into which features are cut; a range is one at least, with however many pairs."""
SEEN = 64
"""Shards whose tokens, whatever fires on them, are held at a time."""


@dataclass(frozen=True, slots=True)
class _Shard:
    """Where the pairs of a shard are."""

    places: NDArray[np.int64]
    """Of the first pair of each block, and after the last."""
    slices: Slices


def tokens_by_range(merging: Merging, name: str) -> Iterator[tuple[int, FeatureTokens]]:
    """The state of the statistic ``name`` for one range of features after the other: the first of
    the range, and a state in which that one has the number 0.

    All rows and all tokens that were seen are in each. The states of a range merge along the tree
    of ``merge_wide``, so sums are those of all features merged at once, to the last bit.
    CorruptError if a partial is not what was committed.
    """
    cut = np.unique(np.linspace(0, merging.n_features, BLOCKS + 1).astype(np.int64))
    members: list[list[_Shard]] = [[] for _ in merging.members]
    pairs = np.zeros(len(cut) - 1, np.int64)
    seen: list[FeatureTokens] = []
    for at, shards in enumerate(members):
        for shard, state in enumerate(merging.states(at, name, FeatureTokens.from_arrays)):
            places = np.searchsorted(state.feature, cut)
            shards.append(_Shard(places, merging.slices(at, name, shard)))
            pairs += np.diff(places)
            none = FeatureTokens.empty(state.n_features)
            seen.append(
                replace(
                    none,
                    n_rows=state.n_rows,
                    seen_token=state.seen_token,
                    seen_count=state.seen_count,
                )
            )
            seen = [merge_wide(seen)] if len(seen) == SEEN else seen
    of_all = merge_wide(seen)
    for first, after in consecutive(pairs, PAIRS):
        start, stop = cut[[first, after]].tolist()
        merged = _merged((_part(one, first, after, start, stop) for one in of) for of in members)
        whole = replace(
            merged,
            n_rows=of_all.n_rows,
            seen_token=of_all.seen_token,
            seen_count=of_all.seen_count,
        )
        yield start, whole


def _merged(members: Iterable[Iterable[FeatureTokens]]) -> FeatureTokens:
    """Of the shards of each member, then of all."""
    found = [merge_wide(one) for one in members]
    return found[0] if len(found) == 1 else merge_wide(found)


def _part(shard: _Shard, first: int, after: int, start: int, stop: int) -> FeatureTokens:
    """The pairs of a shard in some blocks, whose features are from ``start`` to ``stop``."""
    begin, end = shard.places[[first, after]].tolist()
    none = FeatureTokens.empty(stop - start)
    if begin == end:
        return none
    return replace(
        none,
        feature=shard.slices("feature", begin, end) - start,
        token_id=shard.slices("token_id", begin, end),
        count=shard.slices("count", begin, end),
        value_sum=shard.slices("value_sum", begin, end),
    )
