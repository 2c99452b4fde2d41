"""The states that a summary is made of: of each shard of its codes, then of all.

Of a set of codes the states of each are merged first, then those of all, as if the rows of each
came after those of the codes before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from actlake.analytics.statistic import Arrays, Statistic, Wide, merge_in_order, merge_wide
from actlake.flows.summary_states import Sources
from actlake.storage.codes import Codes
from actlake.storage.durable import Digest
from actlake.storage.lake import Lake
from actlake.storage.partials import Slices, open_slices, read_partial

__all__ = ["Merging"]

S = TypeVar("S", bound=Statistic)
W = TypeVar("W", bound=Wide)


@dataclass(frozen=True, slots=True)
class Merging:
    """The partials of one summary, to be merged in the order of their codes and shards."""

    lake: Lake
    name: str
    """Of the codes, or of their set."""
    members: Sequence[Codes]
    """The codes themselves: of one dictionary and tokenizer, and in a set any number."""
    mask: str
    partials: Sequence[Mapping[tuple[str, int], tuple[str, Digest]]]
    """Of each of ``members``."""
    sources: Sequence[Sources] = ()
    """Of each of ``members``; empty where none were asked for."""

    @property
    def is_set(self) -> bool:
        return [one.name for one in self.members] != [self.name]

    @property
    def n_features(self) -> int:
        return self.members[0].n_features

    def merged(
        self,
        name: str,
        from_arrays: Callable[[Arrays], S],
        placed: Callable[[int, S], S] = lambda _, state: state,
    ) -> S:
        """``placed`` makes the state of a member fit to be merged with those before it."""
        return merge_in_order(
            placed(at, merge_in_order(self.states(at, name, from_arrays)))
            for at in range(len(self.members))
        )

    def each(self, name: str, from_arrays: Callable[[Arrays], W]) -> list[W]:
        """The state of each of ``members``, merged over its shards."""
        return [merge_wide(self.states(at, name, from_arrays)) for at in range(len(self.members))]

    def states(self, at: int, name: str, from_arrays: Callable[[Arrays], S]) -> Iterator[S]:
        """The state of each shard of a member, in order."""
        for shard in range(len(self.members[at].grid)):
            yield from_arrays(read_partial(self.lake.store, *self.partials[at][name, shard]))

    def slices(self, at: int, name: str, shard: int) -> Slices:
        """What gives parts of one of ``states``, once that was made."""
        path, _ = self.partials[at][name, shard]
        return open_slices(self.lake.store, path)
