"""A commit waits for as long as the last one says, and no longer."""

import time
from contextlib import suppress

import pytest

from actlake.storage import pace
from actlake.storage.pace import Pace


def test_first_commit__is_due_at_once() -> None:
    assert Pace().seconds_left() == 0


def test_next_commit__waits_a_multiple_of_the_last() -> None:
    one = Pace()
    with one.measured():
        time.sleep(0.02)
    assert 0.1 < one.seconds_left() <= pace.LONGEST_SECONDS


def test_next_commit__waits_no_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "LONGEST_SECONDS", 0.01)
    one = Pace()
    with suppress(OSError), one.measured():  # one that fails took as long
        time.sleep(0.02)
        raise OSError
    assert 0 < one.seconds_left() <= 0.01
    time.sleep(0.02)
    assert one.seconds_left() == 0
