"""Children of tests, forked from a server that has what they import behind it.

A Python has one such server, whatever forks from it, and the list of what it imports that was given
last: so there is one list, and nobody else gives another.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from typing import Any

__all__ = ["CONTEXT", "child"]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forked_imports"])


def child(target: Callable[..., object], *args: Any) -> ForkServerProcess:
    """A process, not started, that calls ``target`` in the environment of this one; the server has
    the one in which it began."""
    return CONTEXT.Process(target=_call, args=(dict(os.environ), target, args))


def _call(
    environment: Mapping[str, str], target: Callable[..., object], args: tuple[Any, ...]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target(*args)
