"""Threads that work behind another, which makes what they are given, or before it."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["Behind", "ahead"]

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Generator[T]:
    """The same ``items``, of which the next is made by another thread while one is in use."""
    ended = object()
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = pool.submit(next, items, ended)
        while (item := waiting.result()) is not ended:
            waiting = pool.submit(next, items, ended)
            yield item  # type: ignore[misc]


class Behind:
    """Does one thing after the other in a thread of its own, while who gives it makes the next."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "behind")
        self._last: Future[object] | None = None

    def do(self, work: Callable[[], object]) -> None:
        """``work`` is done later; what was given before it is done by now, or raises here."""
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """All is done; raises what it raised, once. After Ctrl-C in here it may be under way."""
        if (last := self._last) is None:
            return
        try:
            last.result()
        finally:
            if last.done():
                self._last = None

    def close(self) -> None:
        """All is done, or has failed; nothing more is taken."""
        self._pool.shutdown()
