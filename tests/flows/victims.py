"""Flows that run in a child process and are killed there, at a moment or at a point in the code.

The children are forked from a server that has the heavy imports behind it, so that a kill costs a
fraction of a second.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.flows.victims_imports"])

Flow = Callable[[Path], object]


def run(flow: Flow, lake: Path, *, after: float | None = None, at: str | None = None) -> float:
    """Run ``flow`` in a child; seconds of processor time that it took, 0 if it was killed.

    after
        Seconds of its processor time to SIGKILL: a busy machine does not shift the moment.
    at
        ``point:n`` kills it as the n-th call of one of the points below begins, ``point:n:end``
        as it ends.
    """
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=_child, args=(flow, lake, after, at, theirs))
    child.start()
    theirs.close()
    child.join(300)
    assert child.exitcode in (0, -signal.SIGKILL), f"the child ended with {child.exitcode}"
    if at is not None:
        assert child.exitcode == -signal.SIGKILL, f"the child never came to {at}"
    if after is None and at is None:
        assert child.exitcode == 0
    return float(ours.recv()) if child.exitcode == 0 else 0.0


def _child(flow: Flow, lake: Path, after: float | None, at: str | None, report: Connection) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    started = time.process_time()
    if at is not None:
        _plant(at)
    if after is not None:
        Thread(target=_kill, args=(started + after,), daemon=True).start()
    flow(lake)
    report.send(time.process_time() - started)


def _kill(moment: float) -> None:
    while time.process_time() < moment:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(at: str) -> None:
    from actlake.analytics.dictionaries.topk import Trainer
    from actlake.storage.catalog import Catalog
    from actlake.storage.claims import Claims

    points: dict[str, tuple[Any, str]] = {
        "link": (os, "link"),  # a file gets its name
        "rename": (Path, "rename"),  # a folder gets its name
        "fsync": (os, "fsync"),
        "commit": (Catalog, "commit"),
        "hashes": (Claims, "record_files"),  # at its end a transaction is about to be committed
        "record": (Catalog, "_record"),  # committed, not yet read back
        "step": (Trainer, "step"),
    }
    name, count, *end = at.split(":")
    owner, attribute = points[name]
    original, calls = getattr(owner, attribute), 0

    def killing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(count) and not end:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, attribute, killing)
