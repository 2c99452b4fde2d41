"""The server that forks children of tests, which has what they import behind it.

A Python has one such server, whatever forks from it, and the list of what it imports that was given
last: so there is one list, and nobody else gives another.
"""

import multiprocessing

__all__ = ["CONTEXT"]

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forked_imports"])
