from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from actlake.analytics.hypotheses.correction import benjamini_hochberg, bonferroni, storey


def test_corrections__hold_their_rate_and_find_what_was_planted() -> None:
    """analytics.G26: 300 of 1000 tests at +3 standard deviations, rate 0.1, 200 runs."""
    rng, planted = np.random.default_rng(0), np.arange(1000) < 300
    rates: dict[str, list[float]] = {name: [] for name in ("bh", "storey")}
    powers: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(200):
        p = scipy.stats.norm.sf(rng.normal(3.0 * planted, 1))
        for name, q in (("bh", benjamini_hochberg(p)), ("storey", storey(p))):
            found = q <= 0.1
            rates[name].append((found & ~planted).sum() / max(found.sum(), 1))
            powers[name].append(found[planted].mean())
    assert np.mean(rates["bh"]) == pytest.approx(0.07, abs=0.012)
    assert np.mean(powers["bh"]) == pytest.approx(0.86, abs=0.012)
    assert np.mean(rates["storey"]) == pytest.approx(0.10, abs=0.012)
    assert np.mean(powers["storey"]) == pytest.approx(0.90, abs=0.012)


def test_corrections__of_an_example_by_hand() -> None:
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.5])
    np.testing.assert_allclose(bonferroni(p), [0.04, np.nan, 0.16, 0.12, 1])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.04, np.nan, 0.16 / 3, 0.16 / 3, 0.5])
    # π₀ = (1 + 0) / (4 · 0.5)
    np.testing.assert_allclose(storey(p), benjamini_hochberg(p) / 2)


@pytest.mark.parametrize("correct", [bonferroni, benjamini_hochberg, storey])
def test_corrections__of_no_tests_are_nan(
    correct: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> None:
    assert np.isnan(correct(np.full(3, np.nan))).all()
    assert correct(np.zeros(0)).shape == (0,)
    assert correct(np.ones(4)).max() == 1
