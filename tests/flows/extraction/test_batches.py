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
def test_plan_batches__longest_first_ties_in_order_and_no_batch_could_take_one_more(
    lengths: list[int], budget: int
) -> None:
    batches = plan_batches(lengths, budget)

    planned = [int(i) for batch in batches for i in batch]
    assert planned == sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for batch in batches[:-1]:
        assert lengths[batch[0]] * (len(batch) + 1) > budget


def test_padding_share__counts_what_is_computed_for_nothing() -> None:
    lengths = [4, 1, 2]
    batches = plan_batches(lengths, 8)  # [4, 2] and [1]: nine computed, seven of them wanted
    assert [batch.tolist() for batch in batches] == [[0, 2], [1]]
    assert padding_share(lengths, batches) == pytest.approx(2 / 9)
    assert padding_share([], []) == 0


def test_plan_batches__refuses_a_budget_or_window_of_nothing() -> None:
    with pytest.raises(InputError, match="token budget of 0"):
        plan_batches([1], 0)
    with pytest.raises(InputError, match="window 1 has no tokens"):
        plan_batches(np.array([3, 0]), 8)
