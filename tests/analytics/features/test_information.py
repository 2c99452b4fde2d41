"""Mutual information and what chance gives of it: G30 and G31, scikit-learn, permutations."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from actlake.analytics.features import information as module
from actlake.analytics.features.information import (
    chance_information,
    chance_label_information,
    information,
)

Ints = NDArray[np.int64]


def counts(x: Ints, y: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    return np.bincount(x[y], minlength=x.max() + 1), np.bincount(x)


def test_information__is_scikit_learns_and_of_a_channel_what_it_carries() -> None:
    """analytics.G31: a channel that flips one bit in ten carries ln 2 - H(0.1) = 0.368 nats."""
    rng = np.random.default_rng(0)
    y = rng.random(5_000) < 0.5
    x = np.where(rng.random(5_000) < 0.1, ~y, y).astype(np.int64)
    for levels in (x, rng.integers(0, 7, 5_000), np.zeros(5_000, np.int64)):
        found = information(*counts(levels, y))
        assert found == pytest.approx(mutual_info_score(levels, y), abs=1e-12)
    assert information(*counts(x, y)) == pytest.approx(0.368, abs=0.02)
    assert information(np.array([3, 0]), np.array([3, 0])) == 0  # all have the value


def test_chance__of_many_levels_is_all_that_noise_has() -> None:
    """analytics.G30: 1000 levels of noise over 5000 units look like 0.1 nats and are 0."""
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 1000, 5_000), rng.random(5_000) < 0.5
    raw = float(information(*counts(x, y)))
    assert 0.10 < raw < 0.13
    chance = chance_information(np.bincount(x), np.array([y.sum()]))
    assert raw - chance.item() == pytest.approx(0, abs=0.01)
    assert raw - 999 / 10_000 > 0.01  # Miller and Madow take too little off
    permuted = [information(*counts(x, rng.permutation(y))) for _ in range(200)]
    error = 4 * np.std(permuted) / np.sqrt(200)
    assert chance.item() == pytest.approx(np.mean(permuted), abs=error)


@pytest.mark.parametrize("exact", [True, False])
def test_chance__is_scikit_learns_expectation(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    monkeypatch.setattr(module, "WIDEST", 400.0 if exact else 10.0)
    monkeypatch.setattr(module, "PIECE", 50)
    total = np.array([[900, 60, 40], [998, 1, 1], [500, 250, 250], [1000, 0, 0]])
    positive = np.array([3, 500, 970, 1000])
    found = chance_information(total, positive)
    assert found.shape == (4, 4)
    for row, level_sizes in zip(found, total, strict=True):
        x = np.repeat([0, 1, 2], level_sizes)
        for one, size in zip(row, positive, strict=True):
            y = rng.permutation(np.arange(1000) < size)
            right = expected_mutual_information(contingency_matrix(x, y), 1000)
            assert one == pytest.approx(right, rel=1e-6 if exact else 0.02, abs=1e-12)


@pytest.mark.parametrize("exact", [True, False])
def test_chance__of_a_whole_label_is_scikit_learns_expectation(
    exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    monkeypatch.setattr(module, "WIDEST", 400.0 if exact else 10.0)
    total = np.array([[900, 60, 40], [998, 1, 1], [500, 250, 250], [1000, 0, 0]])
    for units in ([3, 497, 470, 30], [500, 500], [1000], [1000, 0]):
        found = chance_label_information(total, np.array(units))
        for one, level_sizes in zip(found, total, strict=True):
            x = np.repeat([0, 1, 2], level_sizes)
            y = rng.permutation(np.repeat(np.arange(len(units)), units))
            right = expected_mutual_information(contingency_matrix(x, y), 1000)
            assert one == pytest.approx(right, rel=1e-6 if exact else 0.02, abs=1e-12)
    of_both = chance_information(total, np.array([300]))[:, 0]
    assert chance_label_information(total, np.array([300, 700])) == pytest.approx(of_both)
