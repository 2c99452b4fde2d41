"""What similarities ignore: analytics.G9, and disparity and RSA beside it."""

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.stats import ortho_group, spearmanr

from actlake.analytics.similarity.cca import svcca
from actlake.analytics.similarity.cka import biased_cka, debiased_cka
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.analytics.similarity.procrustes import disparity
from actlake.analytics.similarity.rsa import cosine_rsa


def rotated() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((300, 50)) * np.linspace(0.2, 2, 50)
    return x, 7.0 * x @ ortho_group(50, seed=1).rvs()


def test_similarities__of_a_rotated_scaled_and_shifted_copy_are_perfect() -> None:
    """analytics.G9."""
    x, copy = rotated()
    state = CrossGram.of(x, copy + np.linspace(-9, 9, 50))
    assert biased_cka(state) == pytest.approx(1, abs=1e-9)
    assert debiased_cka(state) == pytest.approx(1, abs=1e-9)
    assert svcca(state).mean() == pytest.approx(1, abs=1e-9)
    assert disparity(state) == pytest.approx(0, abs=1e-9)
    assert cosine_rsa(x, copy) == pytest.approx(1, abs=1e-9)
    # Not blind to shifts.
    assert cosine_rsa(x, copy + np.linspace(-9, 9, 50)) < 0.9


def test_disparity__is_that_of_scipy() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((80, 6)) + 4, rng.exponential(size=(80, 6))
    assert disparity(CrossGram.of(x, y)) == pytest.approx(procrustes(x, y)[2], rel=1e-9)


def test_disparity__of_unrelated_sides_is_below_1() -> None:
    found = [
        disparity(CrossGram.of(*np.random.default_rng(seed).standard_normal((2, 500, 50))))
        for seed in range(5)
    ]
    assert np.mean(found) == pytest.approx(0.930, abs=0.005)
    assert np.isnan(disparity(CrossGram.of(np.zeros((5, 2)), np.ones((5, 2)))))


def test_cosine_rsa__is_spearman_of_the_upper_triangles() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((2, 40, 5))
    y += x
    upper = np.triu_indices(40, 1)
    cosines = [
        (unit @ unit.T)[upper] for unit in (v / np.linalg.norm(v, axis=1)[:, None] for v in (x, y))
    ]
    right = spearmanr(*cosines).statistic
    assert cosine_rsa(x, y) == pytest.approx(right, abs=1e-9)
    with_nothing = [np.concatenate((v, np.zeros((1, 5)))) for v in (x, y)]
    assert cosine_rsa(*with_nothing) == pytest.approx(right, abs=1e-9)


def test_cosine_rsa__of_sampled_pairs_is_close_and_seeded() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((2, 400, 8))
    y += x
    sampled = cosine_rsa(x, y, pairs=20_000, seed=1)
    assert sampled == cosine_rsa(x, y, pairs=20_000, seed=1)
    assert sampled != cosine_rsa(x, y, pairs=20_000, seed=2)
    assert sampled == pytest.approx(cosine_rsa(x, y), abs=5 / np.sqrt(20_000))


def test_cosine_rsa__of_unrelated_rows_is_0() -> None:
    """analytics.A1 (ii)."""
    rng = np.random.default_rng(5)
    assert cosine_rsa(*rng.standard_normal((2, 1000, 64))) == pytest.approx(0, abs=0.01)


def test_cosine_rsa__is_nan_where_nothing_varies() -> None:
    assert np.isnan(cosine_rsa(np.eye(2), np.eye(2)))
    assert np.isnan(cosine_rsa(np.eye(4), np.random.default_rng(6).random((4, 4))))
