"""Enrichment of token sets: planted sets, scipy's two-sample test, chance of random sets."""

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from actlake.analytics.dictionaries.enrichment import enrichment, enrichment_p
from actlake.analytics.dictionaries.logit_effects import (
    TokenSets,
    Unembedding,
    logit_effects,
    random_scores,
)

V = 400


def some(rng: np.random.Generator, sizes: list[int]) -> NDArray[np.bool_]:
    members = np.zeros((len(sizes), V), np.bool_)
    for member, size in zip(members, sizes, strict=True):
        member[rng.choice(V, size, replace=False)] = True
    return members


def test_enrichment__of_the_tokens_raised_or_lowered_most_is_whole() -> None:
    """analytics.G42: S = top-|S| tokens gives 1; of the lowered ones -1, at any size."""
    effects = np.random.default_rng(0).standard_normal((1, V)).astype(np.float32)
    order = np.argsort(-effects[0])
    for size in (1, 7, V // 2, V - 1):
        members = np.zeros((2, V), np.bool_)
        members[0, order[:size]] = True
        members[1, order[-size:]] = True
        assert enrichment(effects, members).tolist() == [[1.0, -1.0]]


def test_enrichment__is_the_signed_statistic_of_scipy_with_ties_and_signed_zeros() -> None:
    rng = np.random.default_rng(1)
    effects = rng.standard_normal((12, V)).astype(np.float32)
    effects[4:8] = np.round(effects[4:8] * 2)  # ties, and both zeros
    effects[8:] = np.round(effects[8:])
    members = some(rng, [1, 3, 40, 150, 250, 399])
    found = enrichment(effects, members)
    for row, score in zip(effects, found, strict=True):
        for member, one in zip(members, score, strict=True):
            right = scipy.stats.ks_2samp(-row[member], -row[~member], method="asymp")
            assert abs(one) == pytest.approx(right.statistic, abs=1e-12)
            up = scipy.stats.ks_2samp(-row[member], -row[~member], "greater", method="asymp")
            down = scipy.stats.ks_2samp(-row[member], -row[~member], "less", method="asymp")
            if up.statistic != pytest.approx(down.statistic):
                assert (one > 0) == (up.statistic > down.statistic)
    assert np.isnan(enrichment(np.zeros((1, V), np.float32), members)).all()


def test_enrichment_p__is_uniform_for_random_sets() -> None:
    """analytics.G42: random S within the KS null. 600 sets a size: 5 % come out 2.3 to 8 times in
    a hundred but in one run of 2,000."""
    rng = np.random.default_rng(2)
    effects = rng.standard_normal((1, V)).astype(np.float32)
    for size in (4, 20, 300):
        scores = enrichment(effects, some(rng, [size] * 600)).T
        p = enrichment_p(scores, np.array([size]), V)
        assert 0.02 < (p <= 0.05).mean() < 0.08, size
        assert 0.4 < (p <= 0.5).mean() < 0.6, size
    limit = enrichment_p(np.array([[0.3, np.nan]]), np.array([30, 30]), V)
    right = scipy.stats.kstwo.sf(0.3, round(30 * (V - 30) / V))
    assert limit[0, 0] == pytest.approx(right, rel=0.1)
    assert limit[0, 1] == 1


def test_logit_effects__find_the_set_that_a_direction_was_made_for() -> None:
    """Tokens alike in the unembedding are raised together by any direction: that is no finding."""
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((V, 16)).astype(np.float32)
    alike, months = slice(0, 100), slice(100, 112)
    weight[alike] += 2 * rng.standard_normal(16).astype(np.float32)
    aim = rng.standard_normal(16).astype(np.float32)
    aim /= np.linalg.norm(aim)
    weight[months] += 4 * aim
    members = np.zeros((2, V - 1), np.bool_)
    members[0, alike], members[1, months] = True, True
    sets = TokenSets(np.arange(V - 1), members)  # the last row stands for no token
    unembedding = Unembedding(weight, np.ones(16, np.float32), centres=False)
    decoder = np.stack([aim, -aim, *rng.standard_normal((30, 16)).astype(np.float32)])
    [block] = logit_effects(decoder, unembedding, 1, sets)
    assert block.scores.shape == (32, 2)
    right = enrichment((decoder @ weight.T)[:, :-1], members)
    np.testing.assert_allclose(block.scores, right, atol=1e-6)
    limit = np.quantile(np.abs(random_scores(unembedding, sets, directions=200, seed=0)), 0.99, 0)
    assert block.scores[0, 1] > 0.9
    assert block.scores[1, 1] < -0.9
    p = enrichment_p(block.scores, members.sum(axis=1), V - 1)
    assert (p[2:, 0] < 1e-3).mean() > 0.5  # most random directions are no random draw of tokens
    assert (np.abs(block.scores[2:, 0]) > limit[0]).mean() <= 0.1
