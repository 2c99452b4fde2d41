"""Gaps between firings: planted rhythms, gaps counted one by one, rows in any order."""

from itertools import pairwise

import numpy as np
import pytest

from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.postings import Postings
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError

ROWS = 20_000


def state(block: np.ndarray, mask: np.ndarray, start: int = 0) -> FeatureGaps:
    postings = Postings.of(csr_from_dense(block.astype(np.float32)), mask)
    return FeatureGaps.of(postings, row_start=start, rows=len(block))


def planted() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    block = np.zeros((ROWS, 6), np.bool_)
    block[:, 0] = rng.random(ROWS) < 0.01  # at random
    block[::50, 1] = True  # in step
    block[:, 2] = (np.arange(ROWS) // 100 % 40 == 0) & (rng.random(ROWS) < 0.5)  # in bursts
    block[[3, 900], 3] = True  # once after the other
    block[[3, 900, 901], 5] = True
    return block, np.ones(ROWS, np.bool_)


def test_burstiness__tells_a_rhythm_from_chance_and_from_bursts() -> None:
    found = state(*planted()).finish()["burstiness"]
    # analytics.D6: a Poisson process gives 0; 200 gaps miss it by 0.1 in one run of 1,000.
    assert abs(found[0]) < 0.1
    assert found[1] == -1
    assert found[2] > 0.5
    assert np.isnan(found[[3, 4]]).all()  # one gap, and none
    assert found[5] == pytest.approx(1, abs=0.01)  # as far apart as two gaps can be


def test_burstiness__of_few_gaps_is_about_nothing_for_chance() -> None:
    """What Kim and Jo correct: (sd - mean) / (sd + mean) of four gaps of chance is -0.2, not 0."""
    rng = np.random.default_rng(1)
    block = np.zeros((500, 2_000), np.bool_)
    for feature in range(2_000):
        block[rng.choice(500, 5, replace=False), feature] = True
    found = state(block, np.ones(500, np.bool_)).finish()["burstiness"]
    gaps = [np.diff(np.flatnonzero(column)) for column in block.T]
    plain = [(gap.std() - gap.mean()) / (gap.std() + gap.mean()) for gap in gaps]
    assert np.mean(plain) < -0.15
    assert abs(found.mean()) < 0.08


def test_gaps__are_those_between_rows_under_the_mask_however_they_are_cut() -> None:
    block, _ = planted()
    mask = np.random.default_rng(2).random(ROWS) < 0.6
    cuts = [0, 1, 7_000, 7_001, 12_345, ROWS]
    parts = [state(block[a:b], mask[a:b], a) for a, b in pairwise(cuts)]
    merged = parts[3].merge(parts[0]).merge(parts[4]).merge(parts[1]).merge(parts[2])
    places = [np.flatnonzero(column[mask]) for column in block.T]
    for feature, place in enumerate(places):
        mine = np.flatnonzero(merged.feature == feature)
        assert merged.fires[mine].sum() == len(place)
        assert merged.square[mine].sum() == (np.diff(place) ** 2).sum()
    whole = state(block, mask)
    np.testing.assert_array_equal(merged.finish()["burstiness"], whole.finish()["burstiness"])
    with pytest.raises(InputError, match="the same rows"):
        whole.merge(parts[1])


def test_gaps__pass_over_rows_that_were_not_seen() -> None:
    block, mask = planted()
    ends = state(block[:5_000], mask[:5_000]).merge(state(block[9_000:], mask[9_000:], 9_000))
    beside = np.concatenate((block[:5_000], block[9_000:]))
    right = state(beside, np.ones(len(beside), np.bool_)).finish()["burstiness"]
    np.testing.assert_array_equal(ends.finish()["burstiness"], right)


def test_after__is_a_second_rowset_behind_the_first() -> None:
    block, mask = planted()
    mask[::3] = False
    first, second = (state(block[part], mask[part]) for part in np.split(np.arange(ROWS), [7_001]))
    with pytest.raises(InputError, match="the same rows"):
        first.merge(second)
    found, right = second.after(7_001).merge(first), state(block, mask)
    for name, values in right.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], values)
