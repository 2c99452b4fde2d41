"""How a flow's steps are carried out: here and now, or as tasks of a Prefect flow."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

__all__ = ["Inline", "Runner"]

T = TypeVar("T")
R = TypeVar("R")


class Runner(Protocol):
    """Maps a step over items; a step is one library call over a shard that lasts seconds."""

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """What ``step`` returns for each item, in order, as soon as it is there."""
        ...


class Inline:
    """One step after the other in this thread, so that a debugger or a kill sees plain Python."""

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:  # noqa: ARG002
        return map(step, items)
