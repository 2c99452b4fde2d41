"""CKA from sums, against kernel matrices."""

import numpy as np
import pytest

from actlake.analytics.similarity.cka import biased_cka, debiased_cka
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.analytics.statistic import merge_in_order


def hsic_of_kernels(k: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimator as its authors write it, O(rows²)."""
    n = len(k)
    k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    sums = k.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ other).sum()
    return float((np.trace(k @ other) + sums) / (n * (n - 3)))


@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_debiased_cka__from_one_pass_is_that_of_kernels(offset: float) -> None:
    """analytics.G7."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8)) + offset
    y = np.tanh(x[:, :5]) + rng.exponential(size=(60, 5))
    wide_x, wide_y = x.astype(np.longdouble), y.astype(np.longdouble)  # the kernels lose digits
    k, other = wide_x @ wide_x.T, wide_y @ wide_y.T
    right = float(hsic_of_kernels(k, other)) / np.sqrt(
        hsic_of_kernels(k, k) * hsic_of_kernels(other, other)
    )
    chunks = [CrossGram.of(x[part], y[part]) for part in np.array_split(np.arange(60), 7)]
    assert debiased_cka(merge_in_order(chunks)) == pytest.approx(right, rel=1e-9)
    assert abs(right) > 0.01


def test_biased_cka__is_that_of_centred_kernels() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 6)) + 3, rng.standard_normal((50, 4))
    centre = np.eye(50) - 1 / 50
    k, other = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    right = np.sum(k * other) / np.sqrt(np.sum(k * k) * np.sum(other * other))
    assert biased_cka(CrossGram.of(x, y)) == pytest.approx(right, rel=1e-9)


def test_cka__of_unrelated_sides_is_0_only_if_debiased() -> None:
    """analytics.G8."""
    states = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        states.append(CrossGram.of(*rng.standard_normal((2, 500, 100))))
    assert [biased_cka(state) for state in states] == pytest.approx([0.166] * 10, abs=0.01)
    debiased = [debiased_cka(state) for state in states]
    assert debiased == pytest.approx([0] * 10, abs=0.01)
    assert min(debiased) < 0


def test_cka__is_nan_without_spread_or_rows() -> None:
    rng = np.random.default_rng(2)
    flat = CrossGram.of(np.full((9, 3), 0.1), rng.random((9, 2)))
    assert np.isnan(biased_cka(CrossGram.of(np.zeros((9, 3)), rng.random((9, 2)))))
    assert np.isnan(biased_cka(flat))
    assert np.isnan(debiased_cka(flat))
    assert np.isnan(debiased_cka(CrossGram.of(rng.random((3, 2)), rng.random((3, 2)))))
