"""Ctrl-C while a library, or another thread, works: Python itself waits until that returns."""

import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event, Thread

from actlake.storage.results import stop_queries

__all__ = ["INTERRUPTED", "interruptible", "refuse_interrupted"]

INTERRUPTED = Event()
"""Whether Ctrl-C was pressed while threads compute, which it does not reach."""


def refuse_interrupted() -> None:
    """KeyboardInterrupt in a thread that computes: a shard may take minutes."""
    if INTERRUPTED.is_set():
        raise KeyboardInterrupt


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
