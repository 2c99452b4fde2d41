"""What every statistic is: a state of one block that merges with the states of other blocks.

``empty`` is the identity of ``merge``, and ``merge`` is associative and commutative, so blocks may
be cut, ordered and spread over workers in any way. tests/analytics/test_laws.py holds each state
to these laws.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import InputError

Arrays = Mapping[str, NDArray[Any]]
"""A saved state: named int64, float64 or float32 arrays of at least one dimension."""


class Statistic(Protocol):
    """A state that merges and that is saved as named arrays."""

    def merge(self, other: Self) -> Self:
        """The state of both blocks together."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that ``from_arrays`` needs."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """The state that ``arrays()`` described, equal to the last bit."""


S = TypeVar("S", bound=Statistic)
T = TypeVar("T")


def merge_in_order(states: Iterable[S]) -> S:
    """All ``states`` merged along a binary tree that depends only on how many there are.

    Workers may finish in any order: given the same states in the same order, the result is equal
    to the last bit. At most log2(states) + 1 of them are held at a time.

    Raises InputError if there are none.
    """
    waiting: list[tuple[int, S]] = []  # (height of the tree, its state), heights falling
    for state in states:
        height, merged = 0, state
        while waiting and waiting[-1][0] == height:
            merged = waiting.pop()[1].merge(merged)
            height += 1
        waiting.append((height, merged))
    if not waiting:
        raise InputError("no states to merge; summarize at least one shard first")
    result = waiting.pop()[1]
    while waiting:
        result = waiting.pop()[1].merge(result)
    return result


class Wide(Statistic, Protocol):
    """A state of which many merge in one sort, instead of one sort for each two."""

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        """What merging the ``states``, one at least, one after the other gives."""


W = TypeVar("W", bound=Wide)
FAN_IN = 8


def merge_wide(states: Iterable[W]) -> W:
    """As ``merge_in_order``, with eight states merged at a time, and as many held at each height.

    Raises InputError if there are none.
    """
    levels: list[list[W]] = []
    for one in states:
        state, height = one, 0
        while True:
            if height == len(levels):
                levels.append([])
            level = levels[height]
            level.append(state)
            if len(level) < FAN_IN:
                break
            state, height = type(state).merge_all(level), height + 1
            level.clear()
    rest = [state for level in reversed(levels) for state in level]
    if not rest:
        raise InputError("no states to merge; summarize at least one shard first")
    return type(rest[0]).merge_all(rest)


def pack(state: object) -> dict[str, NDArray[Any]]:
    """The fields of a flat dataclass as arrays; a number becomes an array of one."""
    values = {field.name: getattr(state, field.name) for field in fields(cast(Any, state))}
    return {name: np.atleast_1d(np.asarray(value)) for name, value in values.items()}


def unpack(cls: type[T], arrays: Arrays) -> T:
    """The dataclass whose fields ``pack`` wrote; fields typed int or float take their number."""
    values = {
        field.name: arrays[field.name][0].item()
        if field.type in (int, float)
        else arrays[field.name]
        for field in fields(cast(Any, cls))
    }
    return cls(**values)


def require_same(what: str, a: int, b: int) -> None:
    """Raise InputError unless two states that are to merge agree on ``what``."""
    if a != b:
        raise InputError(f"states with {what} {a} and {b} do not merge; make both with the same")
