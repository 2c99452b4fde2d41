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
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.flows.victims_imports"])

Flow = Callable[[Path], object]


def run(flow: Flow, lake: Path, *, after: float | None = None, at: str | None = None) -> float:
    """Run ``flow`` in a child; seconds that it took, or until it was killed.

    after
        Seconds from its start to SIGKILL.
    at
        ``point:n`` kills it as the n-th call of one of the points below begins, ``point:n:end``
        as it ends.
    """
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=_child, args=(flow, lake, at, theirs))
    child.start()
    theirs.close()
    assert ours.poll(120), "the child did not start"
    ours.recv()
    started = time.monotonic()
    child.join(after)
    if after is not None and child.is_alive():
        child.kill()
    child.join(120)
    assert child.exitcode in (0, -signal.SIGKILL), f"the child ended with {child.exitcode}"
    if at is not None:
        assert child.exitcode == -signal.SIGKILL, f"the child never came to {at}"
    if after is None and at is None:
        assert child.exitcode == 0
    return time.monotonic() - started


def _child(flow: Flow, lake: Path, at: str | None, ready: Connection) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    if at is not None:
        _plant(at)
    ready.send("ready")
    flow(lake)


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
