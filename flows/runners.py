"""How a flow's steps are carried out: here and now, or ahead by others, in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

from actlake.storage.threads import default_threads

__all__ = ["Future", "Inline", "Runner", "in_order"]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Runner(Protocol):
    """Maps a step over items; a step is one library call over a shard that lasts seconds."""

    elsewhere: ClassVar[bool] = False
    """Whether steps run in other processes."""

    @property
    def threads(self) -> int:
        """Of torch, for each step."""
        return default_threads()

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` returns for each item, in order, as soon as it is there.

        Once it is closed nothing is under way any more.
        """
        ...


class Inline(Runner):
    """One step after the other in this thread, so that a debugger or a kill sees plain Python."""

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Generator[R]:  # noqa: ARG002
        yield from map(step, items)


class Future(Protocol[R_co]):
    """What somebody else computes."""

    def result(self) -> R_co:
        """What it comes to, waited for; raises what the computation raised."""
        ...


def in_order(
    submit: Callable[[T], Future[R]],
    items: Sequence[T],
    *,
    ahead: int,
    settle: Callable[[Iterable[Any]], object],
) -> Generator[R]:
    """What each item comes to, in order, while ``ahead`` others after it are under way.

    ``settle`` is told the futures that nobody will take, since one before them failed: when it
    returns, nothing may still write.
    """
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) > ahead:
                result = waiting[0].result()
                waiting.popleft()
                yield result
        while waiting:
            result = waiting[0].result()
            waiting.popleft()
            yield result
    finally:
        settle(waiting)
