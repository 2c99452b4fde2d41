"""What is made ahead comes in order, once, and what goes wrong with it comes to who waits."""

import threading
import time
from collections.abc import Iterator

import pytest

from actlake.storage import pace
from actlake.storage.behind import Behind, ahead

WAIT_SECONDS = 10


def test_ahead__gives_all_in_order() -> None:
    assert [*ahead(iter(range(100)))] == [*range(100)]
    assert [*ahead(iter([None, None]))] == [None, None]
    assert [*ahead(iter(()))] == []


def test_ahead__makes_one_while_one_is_in_use_and_no_more() -> None:
    made: list[int] = []
    second, third = threading.Event(), threading.Event()

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            {1: second, 2: third}.get(number, threading.Event()).set()
            yield number

    several = ahead(items())
    assert next(several) == 0
    assert second.wait(WAIT_SECONDS)  # while the first is in use here
    assert not third.wait(0.05)
    assert [*several] == [1, 2]
    assert made == [0, 1, 2]


def test_ahead__raises_what_making_one_raised_after_those_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no third")

    several = ahead(items())
    assert next(several) == 1
    with pytest.raises(OSError, match="no third"):
        next(several)


def test_ahead__that_nobody_goes_on_with_leaves_no_thread() -> None:
    before = threading.active_count()
    several = ahead(iter(range(10)))
    next(several)
    several.close()
    assert threading.active_count() == before


class Work:
    """What was done together, in order."""

    def __init__(self, seconds: float = 0.0, failing: int | None = None) -> None:
        self.done: list[list[int]] = []
        self.seconds, self.failing = seconds, failing

    def __call__(self, given: list[int]) -> None:
        time.sleep(self.seconds)
        if self.failing in given:
            raise OSError(f"no {self.failing}")
        self.done.append(given)


def test_behind__does_all_in_order() -> None:
    work = Work()
    behind = Behind(work)
    for number in range(50):
        behind.give(number)
    behind.wait()
    assert [one for together in work.done for one in together] == [*range(50)]
    behind.close()


def test_behind__does_together_what_comes_until_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_SECONDS", 1e3)
    work = Work(seconds=0.02)
    behind = Behind(work)
    for number in range(5):
        behind.give(number)
    began = time.monotonic()
    behind.wait()  # for whom nothing is put off
    assert time.monotonic() - began < 0.2
    assert work.done == [[0], [1, 2, 3, 4]]
    behind.close()


def test_behind__does_it_although_nobody_waits() -> None:
    work = Work(seconds=0.01)
    behind = Behind(work)
    for number in range(3):
        behind.give(number)
    end = time.monotonic() + WAIT_SECONDS
    while sum(map(len, work.done)) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    assert work.done == [[0], [1, 2]]
    behind.close()


def test_behind__raises_what_work_raised_once_and_does_nothing_of_it_again() -> None:
    work = Work(failing=1)
    behind = Behind(work)
    behind.give(0)
    behind.give(1)
    with pytest.raises(OSError, match="no 1"):
        behind.wait()
    behind.wait()
    behind.give(2)
    behind.wait()
    assert work.done == [[0], [2]]
    behind.close()


def test_behind__that_is_closed_puts_nothing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_SECONDS", 1e3)
    work, before = Work(seconds=0.05), threading.active_count()
    behind = Behind(work)
    behind.give(0)
    behind.give(1)
    began = time.monotonic()
    behind.close()
    assert time.monotonic() - began < 0.4
    assert work.done == [[0], [1]]
    assert threading.active_count() == before
