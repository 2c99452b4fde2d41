"""A thread that works behind another, which makes what it is given."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Behind"]


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
