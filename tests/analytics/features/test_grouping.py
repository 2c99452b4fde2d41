"""What is done group by group, against what Python says of each."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.grouping import (
    consecutive,
    first_contexts,
    ordered_by,
    stable_order,
)


def test_consecutive__ranges_have_every_element_once_and_weigh_no_more_than_they_may() -> None:
    weights = np.array([4, 6, 1, 30, 0, 5, 5, 1])
    assert consecutive(weights, 10) == [(0, 2), (2, 3), (3, 4), (4, 7), (7, 8)]
    assert consecutive(np.zeros(3, np.int64), 10) == [(0, 3)]
    assert consecutive(np.zeros(0, np.int64), 10) == []


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 5), (-7, 9), (0, 1 << 40), (-(1 << 62), 1 << 62), (3, 4), (0, (1 << 63) - 1)],
)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 65, 1000])
def test_stable_order__is_that_of_pythons_sorted(low: int, high: int, count: int) -> None:
    keys = np.random.default_rng(count).integers(low, high, count)
    keys[::7], keys[1::9] = low, high - 1
    assert stable_order(keys).tolist() == sorted(range(count), key=keys.tolist().__getitem__)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_first_contexts__of_each_group_are_new_ones_in_order(k: int) -> None:
    rng = np.random.default_rng(k)
    group = np.sort(rng.integers(0, 40, 3000))
    context = rng.integers(-4, 4, 3000) * (1 << 61)
    chosen = []
    for one in range(40):
        seen: set[int] = set()
        for at in np.flatnonzero(group == one).tolist():
            if len(seen) < k and context[at] not in seen:
                seen.add(int(context[at]))
                chosen.append(at)
    assert first_contexts(group, context, k).tolist() == chosen


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16, np.uint32, np.int64])
def test_stable_order__of_short_types_does_not_overflow(dtype: type) -> None:
    most = min(np.iinfo(dtype).max, 1 << 40)
    keys: NDArray[np.integer[Any]] = np.tile(np.array([most, 3, 3, most - 7, 0], dtype), 1000)
    assert stable_order(keys).tolist() == np.argsort(keys, kind="stable").tolist()


def test_ordered_by__leaves_full_ties_as_they_stand() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 40, 20_000, np.uint64)
    ties = rng.integers(0, 40, 20_000, np.uint64)
    right = sorted(range(20_000), key=lambda at: (keys[at], ties[at]))
    assert ordered_by(keys, ties).tolist() == right
