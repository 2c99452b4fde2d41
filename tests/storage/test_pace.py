"""A commit waits for as long as the last one says, and no longer."""

from contextlib import suppress

import pytest

from actlake.storage import pace
from actlake.storage.pace import Pace


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(pace, "time", found)
    return found


def commit(one: Pace, clock: Clock, seconds: float) -> None:
    with suppress(OSError), one.measured():
        clock.now += seconds
        raise OSError  # one that fails took as long


def test_first_commit__is_due_at_once() -> None:
    assert Pace().seconds_left() == 0


def test_next_commit__waits_ten_times_as_long_as_the_last_took(clock: Clock) -> None:
    one = Pace()
    commit(one, clock, 0.03)
    assert one.seconds_left() == pytest.approx(0.3)
    clock.now += 0.2
    assert one.seconds_left() == pytest.approx(0.1)
    clock.now += 0.2
    assert one.seconds_left() == 0
    commit(one, clock, 0.01)
    assert one.seconds_left() == pytest.approx(0.1)


def test_next_commit__waits_five_seconds_at_most(clock: Clock) -> None:
    one = Pace()
    commit(one, clock, 60)
    assert one.seconds_left() == pytest.approx(5)
