import numpy as np
import pytest

from actlake.analytics.hypotheses.groups import split_groups
from actlake.storage.errors import InputError

SHARES = np.array([0.5, 0.2, 0.3])


def corpus(groups: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Group and class of about 24 documents a group; the class is one of whole groups."""
    rng = np.random.default_rng(seed)
    names = np.array([f"president {i}" for i in range(groups)], dtype=object)
    number = np.repeat(np.arange(groups), rng.integers(8, 40, groups))
    return names[number], np.where(number % 3 == 0, "red", "blue").astype(object)


def test_split_groups__keeps_groups_whole_and_holds_the_shares_of_documents() -> None:
    for seed in range(20):
        group, party = corpus(seed=seed)
        split = split_groups(group, seed=seed)
        assert split.dtype == np.int8
        assert len(set(zip(group, split, strict=True))) == 20  # one side a group
        shares = np.bincount(split) / len(split)
        assert np.abs(shares - SHARES).max() < 0.03
        by_class = split_groups(group, party, seed=seed)
        assert np.abs(np.bincount(by_class) / len(split) - SHARES).max() < 0.05


def test_split_groups__gives_every_part_groups_of_each_class() -> None:
    for seed in range(30):
        group = np.repeat([f"g{i}" for i in range(12)], 5)
        party = np.repeat(["a"] * 3 + ["b"] * 9, 5)  # as few of a as there are parts
        split = split_groups(group, party, seed=seed)
        for one in ("a", "b"):
            assert set(split[party == one].tolist()) == {0, 1, 2}


def test_split_groups__leaves_no_part_empty_beside_a_giant() -> None:
    group = np.repeat(["giant", "small", "tiny"], [1000, 2, 1])
    for seed in range(20):
        assert set(split_groups(group, seed=seed).tolist()) == {0, 1, 2}


def test_split_groups__depends_on_values_and_seed_not_on_order_or_dtype() -> None:
    group, party = corpus()
    split = split_groups(group, party, seed=3)
    order = np.random.default_rng(0).permutation(len(group))
    np.testing.assert_array_equal(split_groups(group[order], party[order], seed=3), split[order])
    assert (split_groups(group, party, seed=4) != split).any()
    year = np.repeat(np.arange(1900, 1930), 4)
    np.testing.assert_array_equal(split_groups(year), split_groups(year.astype(np.float64)))
    # Held forever: the same labels give the same parts on every machine and in every version.
    fixed = split_groups(np.array(["Adams", "Lincoln", "Grant", "Taft", "Hoover", "Ford"]))
    assert fixed.tolist() == [0, 2, 0, 2, 1, 0]


def test_split_groups__leaves_out_documents_without_a_label() -> None:
    group = np.array(["a", None, "b", "c", float("nan"), "d"], dtype=object)
    party = np.array(["x", "x", "x", None, "x", "x"], dtype=object)
    split = split_groups(group, party)
    assert (split == -1).tolist() == [False, True, False, True, True, False]
    years = np.array([1.0, np.nan, 2, 3])
    assert (split_groups(years) == -1).tolist() == [False, True, False, False]


def test_split_groups__ignores_a_stratum_that_varies_within_groups() -> None:
    group, _ = corpus()
    varied = np.arange(len(group)) % 7
    np.testing.assert_array_equal(split_groups(group, varied), split_groups(group))


def test_split_groups__a_share_of_zero_leaves_a_part_out() -> None:
    group = np.repeat(["a", "b"], 4)
    assert set(split_groups(group, shares=(0.5, 0.0, 0.5)).tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("group", "stratum", "message"),
    [
        (["a"] * 5, None, "1 group cannot be split into 3 parts"),
        (["a", "b"] * 5, None, "2 groups cannot be split into 3 parts"),
        ([None, None], None, "0 groups cannot be split"),
        (list("abcdef"), list("xxxxyy"), "class y has 2 of the groups and the split has 3"),
    ],
)
def test_split_groups__refuses_too_few_groups(
    group: list[str], stratum: list[str] | None, message: str
) -> None:
    labels = np.array(group, dtype=object)
    with pytest.raises(InputError, match=message):
        split_groups(labels, None if stratum is None else np.array(stratum, dtype=object))


@pytest.mark.parametrize("shares", [(0.5, 0.2, 0.2), (1.5, -0.2, -0.3), (0.0, 0.5, 0.5)])
def test_split_groups__refuses_shares_that_are_none(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="split shares"):
        split_groups(np.array(list("abcdef")), shares=shares)
