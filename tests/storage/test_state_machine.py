"""A lake under any order of writing, crashing, deleting and tidying is what a dict says."""

from typing import Any

import numpy as np
import pytest

from actlake.storage.tensors import Tensor
from tests.fuzz.lake_machine import NAMES, STEPS, LakeMachine, crash, run_machine


def test_lake__is_what_plain_python_says_in_any_order_of_steps() -> None:
    run_machine(examples=2, steps=10)


def test_machine__sees_a_row_that_is_not_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Tensor.__getitem__

    def wrong(self: Tensor, rows: Any) -> Any:
        return np.zeros_like(read(self, rows))

    monkeypatch.setattr(Tensor, "__getitem__", wrong)
    machine = LakeMachine()
    machine.begin()
    machine.append(NAMES[0], 2)
    with pytest.raises(AssertionError):
        machine.holds_what_it_should()
    monkeypatch.undo()
    machine.holds_what_it_should()
    machine.teardown()


@pytest.mark.parametrize("step", STEPS)
def test_crash__ends_an_append_before_its_step(step: str) -> None:
    machine = LakeMachine()
    machine.begin()
    went_on = []
    with crash(step, 1):
        machine._append(NAMES[0], 2)
        went_on.append(step)
    assert went_on == []
    machine.teardown()


def test_codes__are_what_was_written_through_tidying_and_deletion() -> None:
    machine = LakeMachine()
    machine.begin()
    machine.append(NAMES[0], 8)
    machine.encode(NAMES[0])
    assert machine.coded.keys() == {NAMES[0]}
    machine.holds_what_it_should()
    machine.tidy()
    machine.holds_what_it_should()
    machine.delete(NAMES[0])
    machine.holds_what_it_should()
    machine.look_back(0)
    machine.teardown()
