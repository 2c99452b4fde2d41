"""What is made ahead comes in order, once, and what goes wrong with it comes to who waits."""

import threading
from collections.abc import Iterator

import pytest

from actlake.storage.behind import ahead

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
