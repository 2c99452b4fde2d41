"""Best partners in tiles, against the whole matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from actlake.analytics.similarity.partners import Best, best_partners, matches


@st.composite
def some_similarity(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.uniform(-1, 1, shape)
    if draw(st.booleans()):
        values = np.round(values)  # ties
    values[rng.random(shape) < draw(st.sampled_from([0, 0.2, 0.9]))] = np.nan
    return values


def by_hand(line: np.ndarray) -> tuple[int, float, float]:
    known = [(value, -place) for place, value in enumerate(line) if not np.isnan(value)]
    best = sorted(known, reverse=True)[:2] + [(-np.inf, 1)] * 2
    return -best[0][1], best[0][0], best[1][0]


def assert_best(found: Best, lines: np.ndarray) -> None:
    assert found.partner.dtype == np.int64
    got = list(zip(found.partner, found.score, found.second, strict=True))
    assert got == [by_hand(line) for line in lines]


@given(similarity=some_similarity(), cuts=st.lists(st.integers(0, 7), max_size=3))
def test_best_partners__in_tiles_are_those_of_the_matrix(
    similarity: np.ndarray, cuts: list[int]
) -> None:
    row, column = best_partners(np.split(similarity, sorted(cuts)), similarity.shape[1])
    assert_best(row, similarity)
    assert_best(column, similarity.T)


def test_best_partners__of_a_tie_across_tiles_is_the_first() -> None:
    _, column = best_partners([np.array([[0.5]]), np.array([[0.5]])], 1)
    assert (column.partner[0], column.score[0], column.second[0]) == (0, 0.5, 0.5)


def test_matches__tell_mutual_pairs_margins_and_q() -> None:
    similarity = np.array([[0.9, 0.2, 0.1], [0.8, 0.3, 0.1], [np.nan, np.nan, np.nan]])
    best = best_partners([similarity], 3)
    p_a, p_b = np.array([0.01, 0.02, np.nan]), np.array([0.03, 0.5, 0.6])
    found = matches((np.array([10, 11, 12]), np.array([5, 6, 7])), best, (p_a, p_b))

    assert found.of_a.tolist() == [True] * 3 + [False] * 3
    assert found.feature.tolist() == [10, 11, 12, 5, 6, 7]
    assert found.partner.tolist() == [5, 5, -1, 10, 11, 10]
    assert found.is_mutual.tolist() == [True, False, False, True, False, False]
    np.testing.assert_allclose(found.score, [0.9, 0.8, np.nan, 0.9, 0.3, 0.1])
    np.testing.assert_allclose(found.margin, [0.7, 0.5, np.nan, 0.1, 0.1, 0.0], atol=1e-15)
    tested = ~np.isnan(found.p)
    np.testing.assert_allclose(found.q[tested], false_discovery_control(found.p[tested]))
    assert np.isnan(found.q[2])
    assert list(found.columns()) == [
        "of_a", "feature", "partner", "score", "margin", "is_mutual", "p", "q",
    ]  # fmt: skip


def test_matches__of_nothing_are_an_empty_table() -> None:
    none = np.zeros(0, np.int64)
    best = best_partners([], 2)
    found = matches((none, np.array([3, 4])), best, (np.zeros(0), np.full(2, np.nan)))
    assert found.partner.tolist() == [-1, -1]
    assert not found.is_mutual.any()
    assert np.isnan(found.score).all()


def test_matches__only_one_candidate_has_no_margin() -> None:
    best = best_partners([np.array([[0.5], [0.4]])], 1)
    found = matches((np.arange(2), np.arange(1)), best, (np.ones(2), np.ones(1)))
    assert np.isnan(found.margin[:2]).all()
    assert found.margin[2] == pytest.approx(0.1)
