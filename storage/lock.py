"""The lock file under which commits are made, one at a time."""

import fcntl
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actlake.storage.errors import BusyError, LakeError

__all__ = ["locked"]

LOCK_SECONDS = 120.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else holds the lock on ``path``, be it a process or a thread of this one.

    BusyError if it is not free for two minutes; LakeError if the file cannot be written. The
    operating system frees it when its holder ends, however that ends.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        file = path.open("ab")
    except OSError as error:
        raise LakeError(
            f"{path.parent} cannot be written ({error.strerror}); see who owns it"
        ) from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        f"{path} has been locked for {LOCK_SECONDS:.0f} s; see which process "
                        "holds it, and try again"
                    ) from None
                time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - jitter
        yield
