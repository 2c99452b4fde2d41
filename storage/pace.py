"""When commits are due: each takes tens of milliseconds and leaves a file, whatever is in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["LONGEST_SECONDS", "PATIENCE", "Pace"]

PATIENCE = 10.0
"""Times as long as the last commit took, that the next one waits for more to commit: so commits of
less than half a second take a tenth of the time at most."""
LONGEST_SECONDS = 5.0
"""That one waits at most, as where a catalog was busy: what is made in them a kill may cost."""


class Pace:
    """The first commit is due at once, and so is one after a pause."""

    def __init__(self) -> None:
        self._due = 0.0

    def seconds_left(self) -> float:
        """Until the next commit is due; 0 if it is."""
        return max(0.0, self._due - time.monotonic())

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around a commit, however it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            ended = time.monotonic()
            self._due = ended + min(PATIENCE * (ended - began), LONGEST_SECONDS)
