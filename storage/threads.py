"""Threads: how many torch and DuckDB get where nobody says, and one that works behind another."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

__all__ = ["Behind", "default_threads"]


def default_threads() -> int:
    """What OMP_NUM_THREADS asks for, else one for each core that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):  # a cluster gives a job some of the machine's cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Behind:
    """Does one thing after the other in a thread of its own, while who gives it makes the next.

    In a ``with`` block, at whose end all is done.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "behind")
        self._last: Future[object] | None = None

    def do(self, work: Callable[[], object]) -> None:
        """``work`` is done later; what was given before it is done by now, or raises here."""
        self.wait()
        self._last = self._pool.submit(work)

    def wait(self) -> None:
        """All is done; raises what it raised."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._pool:  # waits, also where an error of the block is the one to tell
            if error is None:
                self.wait()
