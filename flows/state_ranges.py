"""States merged over all shards for one range of their keys after the other.

The tokens that features fire on and the bins that their values fall into become ever more as rows
do, and so do the states that wait to be merged: those of all features at once would, too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import consecutive
from actlake.analytics.statistic import Wide, merge_wide
from actlake.flows.summary_merging import Merging
from actlake.storage.partials import Slices

__all__ = ["merged_by_range", "states_by_range"]

AT_ONCE = 1_000_000
"""Entries of all shards in one range: each takes about 100 bytes while it is merged."""
BLOCKS, BLOCKS_A_RANGE = 4096, 16
"""Keys are cut into so many blocks at most, about so many of which make a range. A range is a block
at least, with however many entries; each block takes 4 bytes a shard and statistic."""
HEADS = 64
"""Shards of which what is of no key is held at a time."""


class Keyed(Wide, Protocol):
    """A state of entries by key, which may have more that is of no key."""

    ENTRIES: ClassVar[tuple[str, ...]]
    """The arrays that hold its entries. The first is the key, which ascends and may repeat."""
    __dataclass_fields__: ClassVar[dict[str, Any]]


K = TypeVar("K", bound=Keyed)


@dataclass(frozen=True, slots=True)
class _Shard:
    """Where the entries of a shard are."""

    places: NDArray[np.int32]
    """Of the first entry of each block, and after the last."""
    slices: Slices


def states_by_range(
    merging: Merging, name: str, kind: type[K], keys: int | None = None, *, each: int = 1
) -> Iterator[tuple[int, int, K]]:
    """The state of the statistic ``name`` for one range of keys after the other, of all from 0 to
    ``keys``: the first, the one after the last, and the state of that ``kind``.

    keys
        Without them they end with the largest that is there.
    each
        So many keys, of which the first is a multiple of this, lie in one range.

    What is of no key, such as all rows and all tokens that were seen, is in each state. Those of a
    range merge along the tree of ``merge_wide``, so they are what all keys merged at once are, to
    the last bit. CorruptError if a partial is not what was committed.
    """
    heads, largest, total = list[K](), 0, 0
    opened: list[list[tuple[Slices, int]]] = [[] for _ in merging.members]
    for at, of_member in enumerate(opened):
        for shard, state in enumerate(merging.states(at, name, kind.from_arrays)):
            key = getattr(state, kind.ENTRIES[0])
            of_member.append((merging.slices(at, name, shard), len(key)))
            total += len(key)
            largest = max(largest, int(key[-1]) if len(key) else 0)
            heads.append(_emptied(state, kind.ENTRIES))
            heads = [merge_wide(heads)] if len(heads) == HEADS else heads
    head = merge_wide(heads)
    end = largest + 1 if keys is None else keys
    blocks = min(BLOCKS, 1 + BLOCKS_A_RANGE * total // AT_ONCE)
    cut = np.linspace(0, -(-end // each), blocks + 1).astype(np.int64)
    cut = np.unique(np.minimum(each * cut, end))
    entries, members = np.zeros(len(cut) - 1, np.int64), list[list[_Shard]]()
    for of_member in opened:
        members.append([])
        for slices, length in of_member:
            keys_here = slices(kind.ENTRIES[0], 0, length) if length else np.zeros(0, np.int64)
            places = np.searchsorted(keys_here, cut)
            members[-1].append(_Shard(places.astype(np.int32), slices))
            entries += np.diff(places)
    bare = _emptied(head, [field.name for field in fields(head)])
    for first, after in consecutive(entries, AT_ONCE):
        # Also of shards without any entry there: they have their place in the tree.
        parts = ((_part(bare, shard, first, after) for shard in of) for of in members)
        start, stop = cut[[first, after]].tolist()
        yield start, stop, replace(head, **_entries(_merged(parts)))


def merged_by_range(merging: Merging, name: str, kind: type[K]) -> K:
    """The state of the statistic ``name``, of which a range is merged at a time."""
    found = [state for _, _, state in states_by_range(merging, name, kind)]
    entries = {
        one: np.concatenate([getattr(state, one) for state in found]) for one in kind.ENTRIES
    }
    return replace(found[0], **entries)


def _entries(state: Keyed) -> dict[str, NDArray[Any]]:
    return {name: getattr(state, name) for name in state.ENTRIES}


def _emptied(state: K, names: Iterable[str]) -> K:
    """Of ``names`` those that are of arrays without anything in them."""
    found = {name: getattr(state, name) for name in names}
    arrays = {name: one for name, one in found.items() if isinstance(one, np.ndarray)}
    # A part of an array keeps the whole.
    return replace(state, **{name: one[:0].copy() for name, one in arrays.items()})


def _part(bare: K, shard: _Shard, first: int, after: int) -> K:
    """The entries of a shard in some blocks, and nothing else."""
    begin, end = shard.places[[first, after]].tolist()
    if begin == end:
        return bare
    return replace(bare, **{name: shard.slices(name, begin, end) for name in bare.ENTRIES})


def _merged(members: Iterable[Iterable[K]]) -> K:
    """Of the shards of each member, then of all."""
    found = [merge_wide(one) for one in members]
    return found[0] if len(found) == 1 else merge_wide(found)
