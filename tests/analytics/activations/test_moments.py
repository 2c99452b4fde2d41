from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from actlake.analytics.activations.gram import Gram
from actlake.analytics.activations.moments import Moments
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense
from tests.analytics.law_cases import CASES, FEATURES, WIDTH, Rows


def test_moments__recovers_planted_mean_and_variance() -> None:
    rng = np.random.default_rng(0)
    mean, std, count = np.array([-3.0, 0.0, 100.0]), np.array([0.1, 1.0, 5.0]), 40_000
    rows = rng.normal(mean, std, size=(count, 3)).astype(np.float32)

    found = merge_in_order(Moments.of(part) for part in np.array_split(rows, 7))

    # Five standard errors: the right code fails on about one seed in 300,000.
    assert np.all(np.abs(found.mean - mean) < 5 * std / np.sqrt(count))
    assert np.all(np.abs(found.variance() - std**2) < 5 * std**2 * np.sqrt(2 / count))
    assert (found.count == count).all()


def test_moments__equals_scipy() -> None:
    rows = np.random.default_rng(1).lognormal(0, 1, (10_000, 4))
    found = Moments.of(rows[:6000]).merge(Moments.of(rows[6000:]))
    np.testing.assert_allclose(found.variance(), rows.var(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.skew(), scipy.stats.skew(rows), rtol=1e-10)
    np.testing.assert_allclose(found.kurtosis(), scipy.stats.kurtosis(rows), rtol=1e-10)
    np.testing.assert_array_equal(found.minimum, rows.min(axis=0))
    np.testing.assert_array_equal(found.maximum, rows.max(axis=0))


def test_moments__spread_is_of_the_rows_not_of_the_batch_means() -> None:
    # A peer reports the standard deviation of batch means, here 3/√4096 = 0.05.
    rows = np.random.default_rng(2).normal(1, 3, (64, 4096, 1))
    found = merge_in_order(Moments.of(batch) for batch in rows)
    np.testing.assert_allclose(np.sqrt(found.variance()), rows.std(), rtol=1e-12)


def test_moments__survives_a_mean_far_above_the_spread() -> None:
    rows = np.random.default_rng(3).normal(1e7, 1, (50_000, 1))
    found = merge_in_order(Moments.of(part) for part in np.array_split(rows, 13))
    np.testing.assert_allclose(found.variance(), rows.var(axis=0), rtol=1e-9)


def test_moments__of_a_constant_has_no_skew() -> None:
    found = merge_in_order(Moments.of(np.full((n, 1), 0.1)) for n in (3, 1000, 7))
    assert np.isnan(found.skew()).all()
    assert np.isnan(found.kurtosis()).all()
    assert np.isnan(Moments.empty(2).variance()).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_moments__accumulates_in_float64(dtype: type[np.floating]) -> None:
    rows = np.random.default_rng(4).normal(50, 1, (30_000, 2)).astype(dtype)
    expected = rows.astype(np.float64).var(axis=0)
    np.testing.assert_allclose(Moments.of(rows).variance(), expected, rtol=1e-12)


def test_gram__equals_numpy_far_from_the_origin() -> None:
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((9000, 6)) @ rng.standard_normal((6, 6)) + 1e6
    found = merge_in_order(Gram.of(part) for part in np.array_split(rows, 5))
    np.testing.assert_allclose(found.covariance(), np.cov(rows.T, ddof=0), rtol=1e-6)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-12)
    assert found.count == 9000
    assert np.isnan(Gram.empty(2).covariance()).all()


def planted_rows(n: int) -> Rows:
    """``n`` rows in documents of 25, with skewed values, so that no power sum nearly cancels."""
    rng = np.random.default_rng(6)
    fires = rng.random((n, FEATURES)) < np.linspace(0.02, 0.6, FEATURES)
    row = np.arange(n)
    return Rows(
        1000,
        csr_from_dense(rng.lognormal(0, 2, (n, FEATURES)) * fires, dtype="float32"),
        rng.random(n) < 0.7,
        rng.integers(0, 6, n),
        rng.lognormal(0, 1, (n, WIDTH)),
        rng.lognormal(0, 1, (n, WIDTH)),
        row // 25,
        np.where(row % 25 == 24, 25, 0),
    )


@pytest.mark.parametrize("name", CASES)
def test_any_state__is_the_same_from_one_chunk_from_seven_and_from_their_reverse(name: str) -> None:
    """analytics.G1: every number to 1e-9 of itself, where the laws allow that of the largest."""
    case, rows = CASES[name], planted_rows(10_000)
    cuts = np.sort(np.random.default_rng(7).choice(np.arange(1, 10_000), 6, replace=False))
    seven = [case.of(rows.cut(a, b)) for a, b in pairwise([0, *cuts.tolist(), 10_000])]
    whole = case.of(rows).arrays()
    assert any(array.size for array in whole.values())
    for chunks in (seven, seven[::-1]):
        for found in (merge_in_order(chunks), reduce(lambda a, b: a.merge(b), chunks)):
            arrays = found.arrays()
            assert arrays.keys() == whole.keys()
            for part, array in whole.items():
                np.testing.assert_allclose(arrays[part], array, rtol=1e-9, atol=0, err_msg=part)
