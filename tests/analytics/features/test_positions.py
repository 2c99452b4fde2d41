import numpy as np
import pytest
import scipy.stats

from actlake.analytics.features.positions import FeaturePositions, bin_starts, position_bins
from actlake.analytics.features.postings import Postings
from actlake.storage.csr import csr_from_dense


def test_position_bins__double_in_length() -> None:
    position = np.array([0, 1, 2, 3, 4, 7, 8, 1023, 1024, (1 << 31) - 1])
    bins = position_bins(position)
    assert bins.tolist() == [0, 1, 2, 2, 3, 3, 4, 10, 11, 31]
    start, stop = bin_starts(bins)
    assert ((start <= position) & (position < stop)).all()
    assert start.tolist()[:5] == [0, 1, 2, 2, 4]


def test_positions__tell_a_feature_of_the_first_row_from_one_of_every_row() -> None:
    rng = np.random.default_rng(0)
    position = np.tile(np.arange(64), 300)
    block = np.zeros((len(position), 4), np.float32)
    block[position == 0, 0] = 1
    block[:, 1] = rng.random(len(position)) < 0.1
    block[(position >= 32) & (rng.random(len(position)) < 0.5), 2] = 1
    postings = Postings.of(csr_from_dense(block), np.ones(len(position), np.bool_))
    state = FeaturePositions.of(postings, position=position)
    found = state.finish()

    assert found["position_bits"][0] == pytest.approx(6)  # one of 64 rows
    assert found["position_bits"][1] < 0.01
    assert found["position_bits"][2] == pytest.approx(1, abs=0.01)  # the second half
    assert found["position_peak"][[0, 2]].tolist() == [0, 32]
    assert found["position_peak_share"][[0, 2]].tolist() == [1, 1]
    assert found["position_lift"][0] == pytest.approx(301 / (300 / 64 + 1))
    assert found["position_lift"][1] < 1.2
    assert all(np.isnan(values[3]) for values in found.values())

    table = state.table()
    mine = table["feature"] == 1
    assert table["n_rows"][mine].sum() == len(position)
    assert table["n_fires"][mine].sum() == block[:, 1].sum()
    bins = position_bins(position)
    fired = np.bincount(bins[block[:, 1] > 0])
    exposure = np.bincount(bins) / len(position)
    plain = scipy.stats.entropy(fired, exposure, base=2)
    bias = (len(fired) - 1) / (2 * fired.sum() * np.log(2))
    assert found["position_bits"][1] == pytest.approx(max(plain - bias, 0))
