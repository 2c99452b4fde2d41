import numpy as np
import pytest
from scipy import stats

from actlake.analytics.features.fisher import fisher_exact


def test_fisher__is_that_of_scipy_for_every_table_of_small_margins() -> None:
    n = 11
    tables = [
        (both, fires, positive)
        for positive in range(n + 1)
        for fires in range(n + 1)
        for both in range(max(0, fires + positive - n), min(fires, positive) + 1)
    ]
    both, fires, positive = np.array(tables).T
    found = fisher_exact(both, fires, positive, n)
    for p, a, k, m in zip(found, both, fires, positive, strict=True):
        right = stats.fisher_exact(np.array([[a, m - a], [k - a, n - m - k + a]])).pvalue
        assert p == pytest.approx(right, rel=1e-9), (a, k, m)


def test_fisher__of_large_and_one_sided_tables_keeps_its_digits() -> None:
    rng = np.random.default_rng(0)
    n = 5_000
    fires, positive = rng.integers(1, n, 120), rng.integers(1, n, 120)
    both = rng.hypergeometric(positive, n - positive, fires)
    both[:40] = np.maximum(0, fires + positive - n)[:40]  # nothing in common
    both[40:60] = np.minimum(fires, positive)[40:60]
    found = fisher_exact(both, fires, positive, n)
    for p, a, k, m in zip(found, both, fires, positive, strict=True):
        right = stats.fisher_exact(np.array([[a, m - a], [k - a, n - m - k + a]])).pvalue
        assert p == pytest.approx(max(right, np.finfo(float).tiny), rel=1e-6), (a, k, m)


def test_fisher__broadcasts_features_against_values() -> None:
    both = np.array([[0, 2, 3], [5, 1, 0]])
    found = fisher_exact(both, np.array([[3], [5]]), np.array([10, 7, 5]), 20)
    assert found.shape == (2, 3)
    right = stats.fisher_exact(np.array([[5, 5], [0, 10]])).pvalue
    assert found[1, 0] == pytest.approx(right, rel=1e-12)
