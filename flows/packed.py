"""A step on its way to another process.

It goes by pickle, as everything does between processes of Python, so it is a function of a module
with what it needs; its lake and run are opened anew there (``storage.elsewhere``). Only what the
flow itself has made is unpickled, and nothing of a file.
"""

from collections.abc import Callable
from functools import lru_cache
from multiprocessing.reduction import ForkingPickler
from typing import Any

__all__ = ["packed", "unpacked"]


def packed(step: Callable[..., Any]) -> bytes:
    """``step`` as bytes."""
    return bytes(ForkingPickler.dumps(step))


@lru_cache(maxsize=1)
def unpacked(step: bytes) -> Callable[[Any], Any]:
    """What was packed; the same one each time, so that its lake is opened once a process."""
    found: Callable[[Any], Any] = ForkingPickler.loads(step)
    return found
