"""What is done with things as they are made, several at a time: behind who makes them, or between
two of them. And a thread that makes them ahead."""

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock
from typing import Generic, TypeVar

from actlake.storage.pace import Pace

__all__ = ["Behind", "Between", "ahead"]

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Generator[T]:
    """The same ``items``, of which the next is made by another thread while one is in use."""
    ended = object()
    with ThreadPoolExecutor(1, "ahead") as pool:
        waiting = pool.submit(next, items, ended)
        while (item := waiting.result()) is not ended:
            waiting = pool.submit(next, items, ended)
            yield item  # type: ignore[misc]


class Behind(Generic[T]):
    """Does ``work`` in a thread of its own, while who gives it something makes the next.

    When it is due, see ``Pace``, it takes all that was given until then, in order. Who gives more
    while it is at work waits; and is told if it failed, before anything else is done.
    """

    def __init__(self, work: Callable[[list[T]], object]) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(1, "behind")
        self._pace = Pace()
        self._lock = Lock()
        self._given: list[T] = []
        """And not yet taken."""
        self.done = 0
        """How many of those that were given are."""
        self._hurry = Event()
        self._last: Future[None] | None = None

    def give(self, one: T) -> None:
        """It is done later; raises what went wrong with what was given before."""
        with self._lock:
            if self._given:
                self._given.append(one)
                return
        self._ended()
        self._given = [one]
        self._last = self._pool.submit(self._do)

    def wait(self) -> None:
        """All is done, now; raises what it raised, once. After Ctrl-C in here it may be under
        way."""
        self._hurry.set()
        try:
            self._ended()
        finally:
            self._hurry.clear()

    def close(self) -> None:
        """All is done, or has failed; nothing more is taken."""
        self._hurry.set()
        self._pool.shutdown()

    def _do(self) -> None:
        self._hurry.wait(self._pace.seconds_left())
        with self._lock:
            given, self._given = self._given, []
        with self._pace.measured():
            self._work(given)
        self.done += len(given)

    def _ended(self) -> None:
        if (last := self._last) is None:
            return
        try:
            last.result()
        finally:
            if last.done():
                self._last = None


class Between(Generic[T]):
    """As ``Behind``, in the thread of who gives it something: what is not due waits for the next
    to be given, or for ``wait``."""

    def __init__(self, work: Callable[[list[T]], object]) -> None:
        self._work = work
        self._pace = Pace()
        self._given: list[T] = []

    def give(self, one: T) -> None:
        """Raises what it raised, and then does nothing again of what it was at."""
        self._given.append(one)
        if not self._pace.seconds_left():
            self.wait()

    def wait(self) -> None:
        """All is done, now."""
        given, self._given = self._given, []
        if given:
            with self._pace.measured():
                self._work(given)

    def close(self) -> None:
        """Nothing more is taken."""
