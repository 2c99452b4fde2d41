"""The lock file under which commits are made, one at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import IO

from actlake.storage.errors import BusyError, LakeError

__all__ = ["locked"]

LOCK_SECONDS = 120.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else holds the lock on ``path``, be it a process or a thread of this one.

    BusyError if it is not free for two minutes; LakeError if the file cannot be written. The
    operating system frees it when its holder ends, however that ends.
    """
    try:
        file = path.open("ab")
    except OSError as error:
        raise LakeError(
            f"{path.parent} cannot be written ({error.strerror}); see who owns it"
        ) from error
    with file:
        if not _taken(file):
            raise BusyError(
                f"{path} has been locked for {LOCK_SECONDS:.0f} s; see which process holds it, and "
                "try again"
            )
        yield


def _taken(file: IO[bytes]) -> bool:
    """Whether the lock came to us in time.

    Who asks again and again gets it by luck, so a thread waits where the system keeps a queue. Of a
    lock that comes too late it holds the last descriptor, with which it is free again.
    """
    with suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    taken, own = Event(), os.dup(file.fileno())

    def take() -> None:
        try:
            fcntl.flock(own, fcntl.LOCK_EX)
            taken.set()
        finally:
            os.close(own)

    Thread(target=take, daemon=True).start()
    return taken.wait(LOCK_SECONDS)
