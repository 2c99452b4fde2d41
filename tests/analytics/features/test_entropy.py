import numpy as np
import pytest
import scipy.stats

from actlake.analytics.features.entropy import divergence, entropy


def test_entropy__of_32_equal_tokens_is_5_bits_and_of_one_is_0() -> None:
    """analytics.G43: 5 bits to 0.01 at 100,000 firings, and also at 100, by the correction."""
    rng = np.random.default_rng(0)
    for firings, tolerance in ((100_000, 0.01), (100, 0.12)):
        count = np.bincount(rng.integers(0, 32, firings), minlength=32)
        count = count[count > 0]
        found = entropy(np.zeros(len(count), int), count, 1)
        assert found[0] == pytest.approx(5, abs=tolerance)
    uncorrected = scipy.stats.entropy(count, base=2)
    assert found[0] - uncorrected == pytest.approx((len(count) - 1) / (200 * np.log(2)))
    assert abs(5 - uncorrected) > abs(5 - found[0])
    assert entropy(np.array([1]), np.array([100_000]), 3)[1] == 0
    assert np.isnan(entropy(np.array([1]), np.array([5]), 3)[[0, 2]]).all()


def test_divergence__equals_scipy_less_its_bias_and_is_not_below_0() -> None:
    rng = np.random.default_rng(1)
    share = rng.dirichlet(np.ones(20))
    count = rng.multinomial(5000, rng.dirichlet(np.ones(20)))
    kept = count > 0
    found = divergence(np.zeros(kept.sum(), int), count[kept], share[kept], 1)[0]
    bias = (kept.sum() - 1) / (2 * 5000 * np.log(2))
    assert found == pytest.approx(scipy.stats.entropy(count, share, base=2) - bias)
    same = rng.multinomial(50, np.full(4, 0.25))
    assert 0 <= divergence(np.zeros(4, int), same, np.full(4, 0.25), 1)[0] < 0.1
