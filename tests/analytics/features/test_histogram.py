from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.features.histogram import BIN_OFFSET, FeatureHistogram, bin_edges
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError


def test_quantile__is_within_one_percent_over_a_lognormal() -> None:
    """analytics.G3."""
    values = np.random.default_rng(0).lognormal(0, 2, (200_000, 1)).astype(np.float32)
    codes = csr_from_dense(values)
    found = merge_in_order(
        FeatureHistogram.of(codes.keep(part), np.ones(part.sum(), np.bool_))
        for part in (np.arange(codes.rows) % 3 == i for i in range(3))
    )
    for q in (0.5, 0.9, 0.99, 0.999):
        exact = np.quantile(values, q)
        assert abs(found.quantile(q)[0] / exact - 1) <= 0.01
    assert 500 < len(found.bin) < 1000  # 1 % bins over nine orders of magnitude


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 60),
    q=st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.999, 1.0]),
)
def test_quantile__keeps_its_bound_for_every_feature(seed: int, rows: int, q: float) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-30, 30, 6)
    block = rng.lognormal(0, 1, (rows, 6)) * scale * (rng.random((rows, 6)) < rng.random(6))
    block = block.astype(np.float32)
    found = FeatureHistogram.of(csr_from_dense(block), np.ones(rows, np.bool_))
    over_all = np.quantile(block.astype(np.float64), q, axis=0, method="lower")
    np.testing.assert_allclose(found.quantile_all(q), over_all, rtol=0.01 + 1e-9)
    for feature, column in enumerate(block.T):
        fired = column[column > 0].astype(np.float64)
        expected = np.quantile(fired, q, method="lower") if len(fired) else np.nan
        np.testing.assert_allclose(found.quantile(q)[feature], expected, rtol=0.01 + 1e-9)


def test_histogram__counts_every_value_in_its_bin() -> None:
    block = np.random.default_rng(1).lognormal(0, 1, (500, 2)).astype(np.float32)
    columns = FeatureHistogram.of(csr_from_dense(block), np.ones(500, np.bool_)).finish()
    lower, upper = bin_edges(columns["bin"])
    for feature in range(2):
        own = columns["feature"] == feature
        values = block[:, feature].astype(np.float64)[:, None]
        inside = (values > lower[own] * (1 - 1e-12)) & (values <= upper[own] * (1 + 1e-12))
        np.testing.assert_array_equal(inside.sum(axis=0), columns["count"][own])
        assert columns["count"][own].sum() == 500


def test_coarse__counts_the_same_values_in_wider_bins() -> None:
    block = np.random.default_rng(2).lognormal(0, 3, (400, 3)).astype(np.float32)
    block[:, 1] = 0
    fine = FeatureHistogram.of(csr_from_dense(block), np.ones(400, np.bool_))
    found = fine.coarse(8)
    right = Counter[tuple[int, int]]()
    for feature, bin_, count in zip(fine.feature, fine.bin, fine.count, strict=True):
        right[int(feature), (int(bin_) + BIN_OFFSET) // 8 * 8 - BIN_OFFSET] += int(count)
    told = zip(found.feature.tolist(), found.bin.tolist(), found.count.tolist(), strict=True)
    assert [(key, count) for *key, count in told] == [([*key], right[key]) for key in sorted(right)]
    assert (found.n_rows, found.n_features) == (400, 3)
    assert len(FeatureHistogram.empty(3).coarse(8).bin) == 0


def test_quantile__of_a_silent_feature_is_nan_and_over_all_rows_zero() -> None:
    found = FeatureHistogram.of(csr_from_dense(np.zeros((4, 2))), np.ones(4, np.bool_))
    assert np.isnan(found.quantile(0.5)).all()
    assert found.quantile_all(0.5).tolist() == [0, 0]
    assert np.isnan(FeatureHistogram.empty(2).quantile_all(0.5)).all()


def test_quantile__refuses_a_percentage() -> None:
    with pytest.raises(InputError, match="outside"):
        FeatureHistogram.empty(1).quantile(99)
