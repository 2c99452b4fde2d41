from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.flows.extraction.batches import padding_share, plan_batches
from actlake.storage.errors import InputError

LENGTHS = st.lists(st.integers(1, 60), max_size=80)


@given(lengths=LENGTHS, budget=st.integers(1, 200))
def test_plan_batches__every_window_once_and_within_the_budget(
    lengths: list[int], budget: int
) -> None:
    batches = plan_batches(lengths, budget)

    planned = [int(i) for batch in batches for i in batch]
    assert sorted(planned) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert longest * len(batch) <= budget or len(batch) == 1


@given(lengths=LENGTHS, budget=st.integers(1, 200))
def test_plan_batches__longest_first_and_ties_in_order(lengths: list[int], budget: int) -> None:
    planned = [int(i) for batch in plan_batches(lengths, budget) for i in batch]
    assert planned == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))


@given(lengths=st.lists(st.integers(1, 300), max_size=9), budget=st.integers(1, 1000))
def test_plan_batches__costs_the_least_of_all_cuts(lengths: list[int], budget: int) -> None:
    def cost(cut: Sequence[Sequence[int]]) -> int:
        return sum(max(batch) * len(batch) + budget // 64 for batch in cut)

    longest_first = sorted(lengths, reverse=True)
    allowed = []
    for bits in product((False, True), repeat=max(0, len(lengths) - 1)):
        edges = [0, *(i + 1 for i, bit in enumerate(bits) if bit), len(lengths)]
        cut = [longest_first[a:b] for a, b in pairwise(edges) if a < b]
        if all(len(batch) == 1 or max(batch) * len(batch) <= budget for batch in cut):
            allowed.append(cost(cut))
    found = cost([[lengths[i] for i in batch] for batch in plan_batches(lengths, budget)])
    assert found == min(allowed)


def test_plan_batches__has_little_padding_where_lengths_are_uneven() -> None:
    """Like paragraphs: 8,192 tokens in windows of 20 to 400."""
    lengths = np.random.default_rng(0).lognormal(4.5, 0.5, 80).clip(20, 400).astype(int)
    assert padding_share(lengths, plan_batches(lengths, 2048)) <= 0.05


def test_padding_share__counts_what_is_computed_for_nothing() -> None:
    lengths = [4, 1, 2]
    batches = [np.array([0, 2]), np.array([1])]  # nine are computed, seven of them wanted
    assert padding_share(lengths, batches) == pytest.approx(2 / 9)
    assert padding_share([], []) == 0


def test_plan_batches__refuses_a_budget_or_window_of_nothing() -> None:
    with pytest.raises(InputError, match="token budget of 0"):
        plan_batches([1], 0)
    with pytest.raises(InputError, match="window 1 has no tokens"):
        plan_batches(np.array([3, 0]), 8)
