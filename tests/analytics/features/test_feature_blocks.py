"""Blocks of features, and redundancy told by them: planted sums in more features than a block."""

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.feature_blocks import feature_blocks
from actlake.analytics.features.redundancy import redundancy

FEATURES, MOST, PLANTED = 300, 40, 30


@pytest.fixture(scope="module")
def x() -> NDArray[np.float64]:
    """Of the first thirty features and those 100 after them, those 200 after are the sums."""
    rng = np.random.default_rng(0)
    rows = rng.lognormal(0, 0.5, (4000, FEATURES)) * (rng.random((4000, FEATURES)) < 0.05)
    rows[:, 200 : 200 + PLANTED] = rows[:, :PLANTED] + rows[:, 100 : 100 + PLANTED]
    return rows


def blocks_of(x: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of pairs by joint × ln(lift), as partners are ranked."""
    fires = (x > 0).astype(float)
    joint, alone = fires.T @ fires, fires.sum(axis=0)
    a, b = np.nonzero(np.triu(joint * len(x) > alone[:, None] * alone, 1))
    lift = joint[a, b] * len(x) / (alone[a] * alone[b])
    return feature_blocks(a, b, joint[a, b] * np.log(lift), FEATURES, most=MOST)


def test_blocks__hold_what_goes_together_and_no_more_than_they_may(x: NDArray[np.float64]) -> None:
    found = blocks_of(x)
    sizes = np.bincount(found)
    assert sizes.max() <= MOST
    assert len(sizes) <= 2 * FEATURES // MOST + 1
    for one in range(PLANTED):
        assert len({found[one], found[one + 100], found[one + 200]}) == 1


def test_blocks__of_what_fits_are_one_and_of_strangers_are_full() -> None:
    none = np.zeros(0, np.int64)
    assert feature_blocks(none, none, np.zeros(0), 7, most=7).tolist() == [0] * 7
    found = feature_blocks(none, none, np.zeros(0), 9, most=4)
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert feature_blocks(none, none, np.zeros(0), 0, most=4).tolist() == []


def test_blocks__join_the_highest_scores_first_and_stop_at_the_cap() -> None:
    a, b = np.array([0, 1, 3]), np.array([1, 2, 4])
    found = feature_blocks(a, b, np.array([1.0, 3.0, 2.0]), 5, most=3)
    assert found.tolist() == [0, 0, 0, 1, 1]
    capped = feature_blocks(a, b, np.array([1.0, 3.0, 2.0]), 5, most=2)
    assert capped.tolist() == [2, 0, 0, 1, 1]  # 1 and 2 come first, and 0 finds no room


def test_redundancy__by_blocks_finds_the_sums_and_is_never_above_that_of_all(
    x: NDArray[np.float64],
) -> None:
    gram = x.T @ x
    found, whole = blocks_of(x), redundancy(gram)
    explained = np.zeros(FEATURES)
    for number in range(found.max() + 1):
        members = np.flatnonzero(found == number)
        mine = gram[np.ix_(members, members)]
        one = redundancy(mine, mean_square=float(gram.diagonal().mean()))
        explained[members] = one.explained
        at = {feature: place for place, feature in enumerate(members.tolist())}
        for part in set(range(PLANTED)) & {*at}:
            assert one.weights[at[part], at[part + 200]] == pytest.approx(1, abs=0.02)
    planted = np.r_[:PLANTED, 100 : 100 + PLANTED, 200 : 200 + PLANTED]
    assert (explained[planted] > 0.98).all()
    others = np.setdiff1d(np.arange(FEATURES), planted)
    assert (explained[others] < 0.5).all()
    assert (explained <= whole.explained + 1e-12).all()
