"""What is made once for all processes of a test run, since to make it again costs more than to
wait for it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actlake.storage.lock import locked

__all__ = ["made_once"]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """What ``make(path)`` leaves at ``path``, of that name; read it, or copy it to write to it.

    Of a lake each process has a copy of its own: one that another has open changes as it is read.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # of this process, in that of the run
        base = base.parent
    path, made = base / name, base / f".{name}.made"
    with locked(base / f".{name}.lock"):
        if not made.exists():
            try:
                make(path)
            except BaseException:  # the next process tries again, and tells the same
                shutil.rmtree(path, ignore_errors=True)
                raise
            made.touch()
    own = factory.getbasetemp() / name
    if own != path and not own.exists() and any(path.rglob("lake.toml")):
        shutil.copytree(path, own.with_name(f"{name}.part")).rename(own)
    return own if own.exists() else path
