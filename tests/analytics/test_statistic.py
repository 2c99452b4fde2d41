from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.statistic import Arrays, merge_in_order, merge_wide
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError


@dataclass(frozen=True)
class Written:
    """A state that shows how it was merged."""

    text: str

    def merge(self, other: Self) -> Self:
        return type(self)(f"({self.text}{other.text})")

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"text": np.array([ord(letter) for letter in self.text])}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return cls("".join(map(chr, arrays["text"])))


@pytest.mark.parametrize(
    ("parts", "tree"),
    [
        ("a", "a"),
        ("ab", "(ab)"),
        ("abc", "((ab)c)"),
        ("abcdef", "(((ab)(cd))(ef))"),
        ("abcdefg", "(((ab)(cd))((ef)g))"),
    ],
)
def test_merge_in_order__is_a_binary_tree_of_the_number_of_parts(parts: str, tree: str) -> None:
    assert merge_in_order(map(Written, parts)).text == tree


def test_merge_in_order__holds_a_logarithm_of_the_parts() -> None:
    alive = most = 0

    class Counted(Written):
        def __init__(self, text: str) -> None:
            nonlocal alive, most
            super().__init__(text[:1])
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream() -> Iterator[Counted]:
        for _ in range(1024):
            yield Counted("x")

    merge_in_order(stream())
    # One a level of the tree, the part that the stream still holds, and a merge's two inputs.
    assert most <= 14


def test_merge_in_order__refuses_nothing() -> None:
    with pytest.raises(InputError, match="no states to merge"):
        merge_in_order(iter(()))


def test_merge__refuses_states_of_other_sizes() -> None:
    with pytest.raises(InputError, match="n_features 2 and 3"):
        FeatureHistogram.empty(2).merge(FeatureHistogram.empty(3))
    with pytest.raises(InputError, match="k 1 and 2"):
        TopRows.empty(4, 1).merge(TopRows.empty(4, 2))


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 65, 70])
def test_merge_wide__gives_what_merging_in_order_gives(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.exponential(1, (n, 3)) * (rng.random((n, 3)) < 0.8)
    states = [
        TopRows.of(csr_from_dense(values[[row]]), np.ones(1, np.bool_), row_start=row, k=5)
        for row in range(n)
    ]
    wide, narrow = merge_wide(iter(states)).arrays(), merge_in_order(states).arrays()
    for name, array in narrow.items():
        np.testing.assert_array_equal(wide[name], array, err_msg=name)


def test_merge_wide__of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="no states to merge"):
        merge_wide(iter(list[TopRows]()))
