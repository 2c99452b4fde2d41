"""Ctrl-C while a library works: Python itself waits until that returns."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from threading import Thread

from actlake.storage.results import stop_queries

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Generator[None]:
    """While open, Ctrl-C also stops every query at work, so that KeyboardInterrupt can be raised.

    In the main thread only, as signals are.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    thread = Thread(target=_stop_at_signal, args=(reading,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)


def _stop_at_signal(reading: int) -> None:
    while arrived := os.read(reading, 1):
        if arrived[0] == signal.SIGINT:
            stop_queries()
