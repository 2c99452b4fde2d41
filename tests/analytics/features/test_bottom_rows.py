import numpy as np
import pytest

from actlake.analytics.features.bottom_rows import BottomRows, strata_of, stratum_keys
from actlake.analytics.features.postings import Postings
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError


def test_firing__keeps_the_rows_of_smallest_hash_whatever_the_chunks() -> None:
    rng = np.random.default_rng(0)
    block = rng.exponential(1, (400, 3)) * (rng.random((400, 3)) < [0.5, 0.02, 0])
    codes, mask = csr_from_dense(block), rng.random(400) < 0.8
    for pieces in (1, 7):
        parts = np.array_split(np.arange(400), pieces)
        states = [
            BottomRows.firing(
                Postings.of(csr_from_dense(block[part]), mask[part]),
                row_start=1000 + int(part[0]),
                k=5,
                seed=3,
            )
            for part in parts
        ]
        found = merge_in_order(states[::-1])
        for feature in range(3):
            rows = 1000 + np.flatnonzero(mask & (block[:, feature] > 0))
            right = rows[np.argsort(splitmix64(rows, 3))][:5]
            mine = found.group == feature
            assert found.row[mine].tolist() == right.tolist()
            np.testing.assert_allclose(found.value[mine], block[right - 1000, feature], rtol=1e-6)
    other = BottomRows.firing(Postings.of(codes, mask), row_start=1000, k=5, seed=4)
    assert other.row.tolist() != found.row.tolist()
    with pytest.raises(InputError, match="k is 0"):
        BottomRows.firing(Postings.of(codes, mask), row_start=0, k=0, seed=1)


def test_by_value__keeps_rows_of_every_strength() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(0, 1, (5000, 1)).astype(np.float32)
    state = BottomRows.by_value(
        Postings.of(csr_from_dense(values), np.ones(5000, np.bool_)), row_start=0, k=2, seed=1
    )
    feature, stratum = strata_of(state.group)
    assert (feature == 0).all()
    assert np.bincount(stratum).max() == 2
    keys = stratum_keys(np.zeros(5000, np.int64), values[:, 0])
    assert set(state.group) == set(keys)
    for key in np.unique(keys):
        rows = np.flatnonzero(keys == key)
        assert values[rows].max() / values[rows].min() < 1.18
        right = rows[np.argsort(splitmix64(rows, 1))][:2]
        assert state.row[state.group == key].tolist() == right.tolist()


def test_firing__takes_every_row_as_often_as_another() -> None:
    """Over 400 seeds each of 20 rows is among the 5 kept a quarter of the time."""
    postings = Postings.of(csr_from_dense(np.ones((20, 1))), np.ones(20, np.bool_))
    kept = np.concatenate(
        [BottomRows.firing(postings, row_start=0, k=5, seed=seed).row for seed in range(400)]
    )
    counts = np.bincount(kept, minlength=20)
    assert abs(counts - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)
