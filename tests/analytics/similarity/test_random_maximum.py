"""analytics.A2: the exact law of the largest of many random cosines."""

import numpy as np
import pytest
from scipy.stats import beta

from actlake.analytics.similarity.random_maximum import (
    expected_maximum,
    maximum_quantile,
    maximum_tail,
)


@pytest.mark.parametrize(
    ("many", "width", "known"),
    [(1000, 64, 0.393), (200, 64, 0.337), (16384, 768, 0.143), (32768, 512, 0.181)],
)
def test_expected_maximum__is_the_golden_value(many: int, width: int, known: float) -> None:
    """analytics.G13."""
    assert expected_maximum(many, width) == pytest.approx(known, abs=0.003)


def test_expected_maximum__of_few_is_known() -> None:
    assert expected_maximum(1, 5) == pytest.approx(0, abs=1e-9)
    # On the sphere, width 3, cosines are uniform on [-1, 1]: the largest of m has mean (m-1)/(m+1).
    assert expected_maximum(7, 3) == pytest.approx(6 / 8, abs=1e-9)


def test_maximum_tail__is_that_of_a_beta_distribution() -> None:
    cosine = np.linspace(-1, 1, 41)
    # (1 + t)/2 of a random cosine t is beta((d-1)/2, (d-1)/2), another form of the same law.
    below = beta(9.5, 9.5).cdf((1 + cosine) / 2)
    np.testing.assert_allclose(maximum_tail(cosine, 1, 20), 1 - below, atol=1e-14)
    np.testing.assert_allclose(maximum_tail(cosine, 50, 20), 1 - below**50, atol=1e-13)


def test_maximum_tail__keeps_digits_far_out() -> None:
    one = maximum_tail(np.array(0.9), 1, 512)
    assert 0 < one < 1e-100
    assert maximum_tail(np.array(0.9), 1000, 512) == pytest.approx(1000 * one)


def test_maximum_tail__is_that_of_simulated_directions() -> None:
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((4000, 30, 8))
    cosine = (draws[..., 0] / np.linalg.norm(draws, axis=2)).max(axis=1)
    # Tails of draws of their own law are uniform: Kolmogorov's distance, odds 1e-5.
    tail = np.sort(maximum_tail(cosine, 30, 8))
    assert np.abs(tail - (np.arange(4000) + 0.5) / 4000).max() < 2.5 / np.sqrt(4000)


@pytest.mark.parametrize(("level", "many"), [(0.05, 200), (1e-6, 4096), (0.95, 1), (0.3, 1)])
def test_maximum_quantile__inverts_the_tail(level: float, many: int) -> None:
    cosine = maximum_quantile(level, many, 64)
    assert maximum_tail(np.array(cosine), many, 64) == pytest.approx(level, rel=1e-6)
