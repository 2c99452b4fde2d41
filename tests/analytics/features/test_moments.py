import numpy as np
import scipy.stats
from numpy.typing import NDArray

from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import Csr, csr_from_dense


def sparse_block(rows: int = 3000, features: int = 8) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    density = np.linspace(0.01, 0.9, features)
    values = rng.exponential(1, (rows, features)) * (rng.random((rows, features)) < density)
    return values.astype(np.float32)


def everywhere(codes: Csr) -> NDArray[np.bool_]:
    return np.ones(codes.rows, np.bool_)


def test_feature_moments__equal_scipy_on_the_dense_columns_under_two_masks() -> None:
    """analytics.G2: the moments of firing rows, merged with the zeros, are those of all rows."""
    block = sparse_block()
    codes = csr_from_dense(block)
    for mask in (everywhere(codes), np.arange(len(block)) % 3 != 0):
        parts = [(slice(0, 1000)), slice(1000, 1001), slice(1001, 3000)]
        found = merge_in_order(
            FeatureMoments.of(csr_from_dense(block[part]), mask[part]) for part in parts
        ).finish()
        dense = block[mask].astype(np.float64)
        assert (found["n_rows"] == len(dense)).all()
        np.testing.assert_array_equal(found["n_fires"], (dense > 0).sum(axis=0))
        np.testing.assert_allclose(found["density"], (dense > 0).mean(axis=0), rtol=1e-15)
        np.testing.assert_allclose(found["mean_all"], dense.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(found["std_all"], dense.std(axis=0), rtol=1e-10)
        np.testing.assert_allclose(found["skew_all"], scipy.stats.skew(dense), rtol=1e-10)
        np.testing.assert_allclose(found["kurtosis_all"], scipy.stats.kurtosis(dense), rtol=1e-10)
        for feature, column in enumerate(dense.T):
            fired = column[column > 0]
            np.testing.assert_allclose(found["mean_active"][feature], fired.mean(), rtol=1e-12)
            np.testing.assert_allclose(found["std_active"][feature], fired.std(), rtol=1e-10)
            assert found["min_active"][feature] == fired.min()
            assert found["max_active"][feature] == fired.max()


def test_feature_moments__recover_planted_exponential_times_bernoulli() -> None:
    rng = np.random.default_rng(1)
    p, n = 0.2, 100_000
    block = rng.exponential(1, (n, 1)) * (rng.random((n, 1)) < p)
    found = FeatureMoments.of(csr_from_dense(block), np.ones(n, np.bool_)).finish()
    variance = 2 * p - p**2
    # Five standard errors; the variance of x² is the fourth moment 24p less (2p)².
    assert abs(found["mean_all"][0] - p) < 5 * np.sqrt(variance / n)
    assert abs(found["std_all"][0] ** 2 - variance) < 5 * np.sqrt(24 * p / n)


def test_feature_moments__have_the_third_and_fourth_moments_of_the_planted_law() -> None:
    """analytics.D2: raw moments k!·p, here from what is stored: mean, std, skew and kurtosis."""
    rng = np.random.default_rng(2)
    p, n = 0.2, 400_000
    block = rng.exponential(1, (n, 1)) * (rng.random((n, 1)) < p)
    found = FeatureMoments.of(csr_from_dense(block), np.ones(n, np.bool_)).finish()
    mean, std = found["mean_all"][0], found["std_all"][0]
    third = found["skew_all"][0] * std**3
    fourth = (found["kurtosis_all"][0] + 3) * std**4
    raw_third = third + 3 * mean * std**2 + mean**3
    raw_fourth = fourth + 4 * mean * third + 6 * mean**2 * std**2 + mean**4
    # Five standard errors; the variance of x^k is the moment (2k)!·p less the square of k!·p.
    for raw, moment, spread in ((raw_third, 6 * p, 720 * p), (raw_fourth, 24 * p, 40_320 * p)):
        assert abs(raw - moment) < 5 * np.sqrt((spread - moment**2) / n)


def test_feature_moments__of_a_dead_feature_are_nan_where_undefined() -> None:
    block = np.zeros((10, 2), np.float32)
    block[:, 1] = 2
    found = FeatureMoments.of(csr_from_dense(block), np.ones(10, np.bool_)).finish()
    assert found["n_fires"].tolist() == [0, 10]
    assert found["density"].tolist() == [0, 1]
    assert found["mean_all"].tolist() == [0, 2]
    assert found["std_all"].tolist() == [0, 0]
    for name in ("mean_active", "std_active", "min_active", "max_active"):
        assert np.isnan(found[name][0]), name
        assert found[name][1] == (0 if name == "std_active" else 2), name
    assert np.isnan(found["skew_all"]).all()
    assert np.isnan(found["kurtosis_all"]).all()


def test_feature_moments__without_rows_say_nothing() -> None:
    codes = csr_from_dense(sparse_block())
    found = FeatureMoments.of(codes, np.zeros(codes.rows, np.bool_)).finish()
    assert (found["n_rows"] == 0).all()
    for name in set(found) - {"feature", "n_rows", "n_fires"}:
        assert np.isnan(found[name]).all(), name


def test_feature_moments__do_not_count_zeros_as_firing() -> None:
    # A peer counts `value >= 0` as firing, so every feature would fire on all 4,096 rows.
    block = np.zeros((4096, 3), np.float32)
    block[:5, 1] = 1
    found = FeatureMoments.of(csr_from_dense(block), np.ones(4096, np.bool_)).finish()
    assert found["n_fires"].tolist() == [0, 5, 0]
