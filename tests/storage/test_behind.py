"""What is made ahead comes in order, once, and what goes wrong with it comes to who waits."""

import threading
import time
from collections.abc import Iterator

import pytest

from actlake.storage import pace
from actlake.storage.behind import Behind, Between, ahead

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

    def __init__(self, failing: int | None = None) -> None:
        self.done: list[list[int]] = []
        self.failing = failing
        self.began = threading.Event()

    def __call__(self, given: list[int]) -> None:
        self.began.set()
        time.sleep(0.01)  # so that it takes some time, of which the next waits a multiple
        if self.failing in given:
            raise OSError(f"no {self.failing}")
        self.done.append(given)


def begun(work: Work, kind: type[Behind[int] | Between[int]]) -> Behind[int] | Between[int]:
    """One that has been given 0, and has begun with it."""
    one = kind(work)
    one.give(0)
    assert work.began.wait(WAIT_SECONDS)
    return one


@pytest.fixture(params=[Behind, Between])
def kind(request: pytest.FixtureRequest) -> type[Behind[int] | Between[int]]:
    found: type[Behind[int] | Between[int]] = request.param
    return found


def test_work__is_given_all_in_order(kind: type[Behind[int] | Between[int]]) -> None:
    work = Work()
    one = kind(work)
    for number in range(30):
        one.give(number)
    one.wait()
    assert [number for together in work.done for number in together] == [*range(30)]
    one.close()


@pytest.mark.usefixtures("patient")
def test_work__is_given_together_what_comes_until_it_is_due(
    kind: type[Behind[int] | Between[int]],
) -> None:
    work = Work()
    one = begun(work, kind)
    for number in range(1, 5):
        one.give(number)
        time.sleep(0.02)  # in which another thread would have taken it
    began = time.monotonic()
    one.wait()  # for whom nothing is put off
    assert time.monotonic() - began < WAIT_SECONDS
    assert work.done == [[0], [1, 2, 3, 4]]
    one.close()


def test_work__that_fails_is_told_once_and_not_done_again(
    kind: type[Behind[int] | Between[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE", 0)
    work = Work(failing=1)
    one = begun(work, kind)
    with pytest.raises(OSError, match="no 1"):  # noqa: PT012 - at either
        one.give(1)
        one.wait()
    one.wait()
    one.give(2)
    one.wait()
    assert work.done == [[0], [2]]
    one.close()


def test_behind__does_it_although_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PATIENCE", 1)
    work = Work()
    behind = begun(work, Behind)
    behind.give(1)
    end = time.monotonic() + WAIT_SECONDS
    while len(work.done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert work.done == [[0], [1]]
    behind.close()


@pytest.mark.usefixtures("patient")
def test_behind__that_is_closed_puts_nothing_off() -> None:
    work, before = Work(), threading.active_count()
    behind = begun(work, Behind)
    behind.give(1)
    began = time.monotonic()
    behind.close()
    assert time.monotonic() - began < WAIT_SECONDS
    assert work.done == [[0], [1]]
    assert threading.active_count() == before
