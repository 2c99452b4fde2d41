"""Families and redundancy: planted parents and copies, and what must not be found."""

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.families import Family, families
from actlake.analytics.features.joint_chance import joint_chance
from actlake.analytics.features.redundancy import redundancy
from actlake.analytics.hypotheses.correction import benjamini_hochberg


def found(fires: NDArray[np.bool_]) -> list[Family]:
    n, k = len(fires), fires.sum(axis=0)
    a, b = np.triu_indices(fires.shape[1], 1)
    joint = (fires.T.astype(int) @ fires)[a, b]
    q = benjamini_hochberg(joint_chance(joint, k[a], k[b], n))
    return families(a, b, joint, q, k, n)


def nested(rng: np.random.Generator, n: int = 4000) -> NDArray[np.bool_]:
    """Feature 0 fires on 0.15; 1 to 4 only inside it, and 5 to 7 only inside 4; 8 to 19 alone."""
    parent = rng.random(n) < 0.15
    which = rng.integers(0, 4, n)
    children = [parent & (which == one) for one in range(4)]
    third = rng.integers(0, 3, n)
    below = [children[3] & (third == one) for one in range(3)]
    alone = rng.random((n, 12)) < np.linspace(0.02, 0.19, 12)
    return np.column_stack((parent, *children, *below, alone))


def test_families__are_the_planted_trees() -> None:
    top, lower = found(nested(np.random.default_rng(0)))
    assert top.round == 1
    assert top.features.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert top.parents.tolist() == [-1, 0, 0, 0, 0, 4, 4, 4]
    assert top.depth.tolist() == [0, 1, 1, 1, 1, 2, 2, 2]
    assert np.isnan(top.share[0])
    assert (top.share[1:] > 0.97).all()
    # With its root out of the way, the second level is a family by itself.
    assert (lower.round, lower.features.tolist()) == (2, [4, 5, 6, 7])


def test_families__need_lift_and_no_feature_that_fires_everywhere() -> None:
    rng = np.random.default_rng(1)
    # A dense feature is on for a tenth of everything by chance: 0.19 is above the least share.
    assert found(rng.random((4000, 30)) < np.linspace(0.02, 0.19, 30)) == []
    dense = rng.random(4000) < 0.3
    children = [dense & (rng.random(4000) < 0.3) for _ in range(4)]
    assert all(0 not in one.features for one in found(np.column_stack((dense, *children))))


def test_families__of_nothing_are_none() -> None:
    assert found(np.zeros((10, 0), np.bool_)) == []


def test_redundancy__is_ridge_regression_on_all_others() -> None:
    """dictionaries.B9, by solving each regression."""
    rng = np.random.default_rng(2)
    x = np.maximum(rng.normal(size=(200, 12)), 0)
    gram = x.T @ x
    penalty = 0.05 * gram.diagonal().mean()
    answer = redundancy(gram, ridge=0.05)
    for one in range(12):
        others = np.delete(np.arange(12), one)
        inner = gram[np.ix_(others, others)] + penalty * np.eye(11)
        weights = np.linalg.solve(inner, gram[others, one])
        assert answer.weights[others, one] == pytest.approx(weights, abs=1e-12)
        left = ((x[:, one] - x[:, others] @ weights) ** 2).sum() + penalty * (weights**2).sum()
        assert answer.explained[one] == pytest.approx(1 - left / gram[one, one])
    assert (answer.weights.diagonal() == 0).all()


def test_redundancy__of_an_endless_penalty_is_nothing() -> None:
    """dictionaries.B9: weights go to 0 as the penalty grows, and fall as its inverse."""
    x = np.maximum(np.random.default_rng(3).normal(size=(200, 12)), 0)
    gram = x.T @ x
    largest = [np.abs(redundancy(gram, ridge=ridge).weights).max() for ridge in (1.0, 1e3, 1e6)]
    assert largest[0] > 0.05
    assert largest[2] < 1e-5
    assert largest[1] / largest[2] == pytest.approx(1e3, rel=0.02)
    assert redundancy(gram, ridge=1e6).explained == pytest.approx(np.zeros(12), abs=1e-4)


def test_redundancy__finds_the_copy() -> None:
    rng = np.random.default_rng(2)
    x = rng.random((300, 5)) * (rng.random((300, 5)) < 0.2)
    x[:, 4] = x[:, 0]
    answer = redundancy(x.T @ x, ridge=1e-6)
    assert answer.weights[0, 4] == pytest.approx(1, abs=1e-3)
    assert answer.weights[4, 0] == pytest.approx(1, abs=1e-3)
    assert answer.explained[[0, 4]] == pytest.approx([1, 1], abs=1e-3)
    assert (answer.explained[1:4] < 0.5).all()


def test_redundancy__of_a_silent_feature_is_nan() -> None:
    assert np.isnan(redundancy(np.diag([1.0, 0.0])).explained).tolist() == [False, True]
