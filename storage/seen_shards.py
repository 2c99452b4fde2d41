"""What a process has seen of the shards that are committed, so that a commit looks only at what has
come since its last."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

__all__ = ["ANY", "SeenShards"]

ANY = (-(1 << 63), (1 << 63) - 1)
"""The range of all shards, such as of a file of which nothing is told."""


@dataclass(slots=True)
class _Seen:
    """Of one owner; more may be here than is committed, but not less."""

    before: int
    """The number of the first file that was not looked at."""
    shards: set[int] = field(default_factory=set)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """The smallest and largest shard in files that may hold the owner's among others."""


class Catalog(Protocol):
    """What is asked of an ``Appender``."""

    @property
    def next_file(self) -> int: ...

    def ranges(
        self, table: str, column: str, *, where: tuple[str, str], since: int
    ) -> list[tuple[str | None, str | None]]: ...


class SeenShards:
    """Belongs to one writing connection."""

    def __init__(self) -> None:
        self._owners: dict[str, _Seen] = {}

    def doubt(
        self, catalog: Catalog, owner: str, shards: Collection[int]
    ) -> Literal["none", "these", "all"]:
        """What must be asked for to know which of ``shards`` of ``owner`` are committed: nothing,
        if none is; these; or all shards of the owner, where a file has many, so that it need not be
        asked again.

        A file's range of owners takes in others', so that shards of theirs are in doubt as well.
        """
        seen = self._owners.setdefault(owner, _Seen(0))
        where = "owner", owner
        for low, high in catalog.ranges("shards", "shard", where=where, since=seen.before):
            if low is None or high is None:
                seen.ranges.append(ANY)
            elif low == high:
                seen.shards.add(int(low))
            else:
                seen.ranges.append((int(low), int(high)))
        seen.before = catalog.next_file
        if any(low <= shard <= high for shard in shards for low, high in seen.ranges):
            return "all"
        return "none" if seen.shards.isdisjoint(shards) else "these"

    def saw(self, catalog: Catalog, owner: str, shards: Iterable[int]) -> None:
        """These are all shards of ``owner`` that are committed now, as was asked for."""
        self._owners[owner] = _Seen(catalog.next_file, set(shards))
