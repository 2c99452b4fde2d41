"""Infinite feature selection: its sum, what it ranks first and last, and its trap."""

import numpy as np
import pytest
import scipy.linalg

from actlake.analytics.activations.gram import Gram
from actlake.analytics.hypotheses.infinite_selection import infinite_selection, path_energy
from actlake.analytics.statistic import merge_in_order
from actlake.storage.errors import InputError


def test_path_energy__is_the_sum_of_its_series() -> None:
    """analytics.G34: the closed form against the series, to 1e-8, and against the inverse."""
    rng = np.random.default_rng(0)
    half = rng.random((12, 12)) * (rng.random((12, 12)) < 0.6)
    weights = np.triu(half) + np.triu(half, 1).T
    for reach in (0.1, 0.9, 0.99):
        found = path_energy(weights, reach=reach)
        shrunk = weights * (reach / np.linalg.eigvalsh(weights)[-1])
        step, series = np.ones(12), np.zeros(12)
        for _ in range(3_000):
            step = shrunk @ step
            series += step
        assert found == pytest.approx(series, rel=1e-8)
        inverse = np.linalg.inv(np.eye(12) - shrunk) - np.eye(12)
        assert found == pytest.approx(inverse.sum(axis=1), rel=1e-8)
    assert path_energy(np.full((3, 3), 2.0), reach=0.5) == pytest.approx([1, 1, 1])  # Σ 2^-l
    assert path_energy(np.zeros((3, 3))).tolist() == [0, 0, 0]
    assert path_energy(np.zeros((0, 0))).shape == (0,)


def test_selection__is_the_method_by_hand() -> None:
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((400, 6)) @ rng.standard_normal((6, 6)) + 50
    gram = merge_in_order(Gram.of(part) for part in np.array_split(rows, 7))
    deviation = rows.std(axis=0)
    larger = np.maximum.outer(deviation, deviation)
    s = (larger - larger.min()) / (larger.max() - larger.min())
    a = 0.3 * s + 0.7 * (1 - np.abs(np.corrcoef(rows.T)))
    series = scipy.linalg.inv(np.eye(6) - 0.9 * a / np.linalg.eigvalsh(a)[-1]).sum(axis=1) - 1
    assert infinite_selection(gram, alpha=0.3) == pytest.approx(series, rel=1e-8)


def test_selection__puts_copies_after_what_is_alone_and_constants_last() -> None:
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((2_000, 8))
    rows[:, 6] = rows[:, 5]  # a copy
    rows[:, 7] = 0.1
    alone = infinite_selection(Gram.of(rows[:, :6]), alpha=0)
    scores = infinite_selection(Gram.of(rows), alpha=0)
    assert np.argsort(scores)[:3].tolist() == [7, 5, 6]
    assert scores[5] == pytest.approx(scores[6])
    # Beside five others it was as good as any of them; the copy lowers it by about one in six.
    assert alone[5] / alone[:5].mean() == pytest.approx(1, abs=0.05)
    assert scores[5] / scores[:5].mean() < 0.9
    assert scores[7] == 0
    for alpha in (0.3, 1.0):
        assert infinite_selection(Gram.of(rows), alpha=alpha).argmin() == 7


def test_selection__of_deviations_alone_ranks_by_them() -> None:
    rows = np.random.default_rng(3).standard_normal((3_000, 5)) * [3, 1, 5, 2, 4]
    assert np.argsort(-infinite_selection(Gram.of(rows), alpha=1)).tolist() == [2, 4, 0, 3, 1]


def test_selection__rewards_independent_noise() -> None:
    """The trap of analytics.C9, so that nobody takes the rank for a finding."""
    rng = np.random.default_rng(4)
    signal = rng.standard_normal((2_000, 1)) + 0.5 * rng.standard_normal((2_000, 9))
    rows = np.column_stack((signal, rng.standard_normal(2_000)))
    rows /= rows.std(axis=0)
    for alpha in (0, 0.5):
        assert infinite_selection(Gram.of(rows), alpha=alpha).argmax() == 9


def test_selection__of_nothing_is_nothing() -> None:
    assert infinite_selection(Gram.empty(3)).tolist() == [0, 0, 0]
    rows = np.random.default_rng(5).standard_normal((50, 3))
    rows[3, 1] = np.nan
    found = infinite_selection(Gram.of(rows), alpha=0)
    assert found[1] == 0
    assert (found[[0, 2]] > 0).all()
    for alpha in (-0.1, 1.1, np.nan):
        with pytest.raises(InputError, match=r"alpha .* is outside \[0, 1\]; give"):
            infinite_selection(Gram.of(rows), alpha=alpha)
    for reach in (0, 1):
        with pytest.raises(InputError, match=r"reach .* is outside \(0, 1\); only"):
            path_energy(np.ones((2, 2)), reach=reach)
