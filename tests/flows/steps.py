"""Steps for workers, in a module that is quickly imported by each of them."""

import os
import signal
import time
from importlib import import_module
from pathlib import Path
from threading import get_ident
from typing import Any

from actlake.flows.runners import TURN, Later
from actlake.storage.errors import InputError


def squared(number: int) -> int:
    return number * number


def dies_at_3(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def dies_once(told: Path, number: int) -> int:
    if number == 1 and not told.exists():
        told.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fails_at_3(number: int) -> int:
    if number == 3:
        raise InputError("three is no number; give another")
    return number


def written_behind(folder: Path, ahead: int, last: int, number: int) -> Later[tuple[int, bool]]:
    """Its square, and whether it is written by another thread: only when the one that comes
    ``ahead`` of it has been begun."""
    with TURN:
        here = get_ident()
        (folder / str(number)).touch()

    def write() -> tuple[int, bool]:
        if number + ahead <= last:
            wait_for(folder / str(number + ahead))
        return number * number, get_ident() != here

    return Later(write)


def meets(folder: Path, number: int) -> Later[int]:
    """It, once the next one of its pair, 0 and 1, 2 and 3, was begun, too."""
    (folder / str(number)).touch()
    wait_for(folder / str(number ^ 1))
    return Later(lambda: number)


def write_fails_at_3(number: int) -> Later[int]:
    return Later(lambda: fails_at_3(number))


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.02)


def seen_by_two(folder: Path, number: int) -> str | None:
    """The GPUs that this process sees, once two processes are at it."""
    (folder / str(number)).touch()
    deadline = time.monotonic() + 120
    while len([*folder.iterdir()]) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def pretend_two_gpus() -> None:
    """Let torch say so in this process, and write down which one is taken."""
    torch: Any = import_module("torch")

    def take(number: int) -> None:
        os.environ["TAKEN"] = str(number)

    torch.cuda.device_count = lambda: 2
    torch.cuda.set_device = take


def see_gpus(visible: str) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = visible


def taken_by_two(folder: Path, number: int) -> tuple[int, str | None]:
    """This process and the GPU that it has taken, once two processes are at it."""
    seen_by_two(folder, number)
    return os.getpid(), os.environ.get("TAKEN")


def sleeps(folder: Path, _number: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(600)


class OnlyElsewhere:
    """What cannot be unpickled in the process that made it."""

    def __init__(self, process: int) -> None:
        if process == os.getpid():
            raise InputError("unpickled at home; send it to a worker")
        self.process = process

    def __reduce__(self) -> tuple[type["OnlyElsewhere"], tuple[int]]:
        return OnlyElsewhere, (self.process,)


def made_here() -> OnlyElsewhere:
    one = object.__new__(OnlyElsewhere)
    one.process = os.getpid()
    return one


def is_elsewhere(one: OnlyElsewhere, _number: int) -> bool:
    return one.process != os.getpid()
