"""Pairs: counts against dense sums, the cut against every pair, chance against scipy."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from actlake.analytics.features.cofirings import CoFirings, DenseCoFirings, Margins, Sides
from actlake.analytics.features.joint_chance import SMALLEST, joint_chance
from actlake.analytics.features.pair_ranking import PairRanking, Partners
from actlake.storage.csr import csr_from_dense

Dense = NDArray[np.float64]


def some_codes(seed: int = 0, rows: int = 400, features: int = 30) -> Dense:
    """Features of every density, a third of which fire with another one."""
    rng = np.random.default_rng(seed)
    fires = rng.random((rows, features)) < np.geomspace(0.5, 0.01, features)
    fires[:, 20:] &= fires[:, :10] | (rng.random((rows, 10)) < 0.2)
    return np.ceil(rng.lognormal(0, 1, (rows, features))) * fires


def ranked(x: Dense, ranges: list[tuple[int, int]], **rules: int) -> tuple[Partners, PairRanking]:
    codes = csr_from_dense(x)
    ranking = PairRanking(Margins.of(codes), **rules)
    sides = Sides(codes)
    for start, stop in ranges:
        ranking.add(CoFirings.of(sides, start=start, stop=stop))
    return ranking.finish(), ranking


def test_pairs__are_those_of_a_dense_product() -> None:
    x = some_codes()
    sides = Sides(csr_from_dense(x))
    joint, product = np.zeros((2, 30, 30))
    for start, stop in ((0, 1), (1, 17), (17, 30)):
        first, second, count, value = CoFirings.of(sides, start=start, stop=stop).pairs()
        joint[first, second], product[first, second] = count, value
    assert np.array_equal(joint, np.triu((x > 0).T.astype(int) @ (x > 0), 1))
    assert np.array_equal(product, np.triu(x.T @ x, 1))


@pytest.mark.parametrize("at_once", [7, 1 << 20])
def test_dense_pairs__are_those_of_all_blocks(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actlake.analytics.features.cofirings.AT_ONCE", at_once)
    x = some_codes()
    joint, product = np.zeros((2, 30, 30))
    for start, stop, cut in ((0, 1, 1), (1, 17, 9), (17, 30, 30)):
        counted = DenseCoFirings(start, stop, 30, units=400)
        for rows in np.split(x, [3, 110, 110, 390]):
            sides = Sides(csr_from_dense(rows))
            counted.add(CoFirings.of(sides, start=start, stop=cut))
            counted.add(CoFirings.of(sides, start=cut, stop=stop))
        for first, second, count, value in counted.strong(2):
            joint[first, second], product[first, second] = count, value
    dense = np.triu((x > 0).T.astype(int) @ (x > 0), 1)
    assert np.array_equal(joint, np.where(dense >= 2, dense, 0))
    assert np.array_equal(product, np.where(dense >= 2, x.T @ x, 0))


def test_dense_pairs__count_as_many_units_as_there_are() -> None:
    """Beyond 32 bits, with one block that counts for two thousand million units."""
    block = CoFirings.of(Sides(csr_from_dense(np.ones((1, 2)))), start=0, stop=2)
    block.joint.data[:] = 2 * 10**9
    counted = DenseCoFirings(0, 2, 2, units=6 * 10**9)
    for _ in range(3):
        counted.add(block)
    [(first, second, count, _)] = counted.strong(1)
    assert (first.tolist(), second.tolist(), count.tolist()) == ([0], [1], [6 * 10**9])


def test_margins__are_those_of_dense_columns() -> None:
    x = some_codes()
    found = Margins.of(csr_from_dense(x))
    fires = x > 0
    assert found.n == 400
    assert np.array_equal(found.fires, fires.sum(axis=0))
    assert np.array_equal(found.total, x.sum(axis=0))
    assert np.array_equal(found.square, (x**2).sum(axis=0))
    assert np.array_equal(found.work, (fires * fires.sum(axis=1)[:, None]).sum(axis=0))


@pytest.mark.parametrize("waiting", [10, 1_000_000])
def test_partners__are_the_best_of_every_pair(
    waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actlake.analytics.features.pair_ranking.WAITING", waiting)
    x = some_codes()
    ranges = [(at, at + 3) for at in range(0, 30, 3)]
    found, ranking = ranked(x, ranges, top=4, min_fires=8, min_joint=3)
    k, n = (x > 0).sum(axis=0), len(x)
    joint = ((x > 0).T.astype(int) @ (x > 0)).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        score = joint * np.log(joint * n / np.outer(k, k))
    able = (joint >= 3) & (k >= 8) & (k >= 8)[:, None] & ~np.eye(30, dtype=bool)
    score = np.where(able & (score > 0), score, 0)
    for feature in range(30):
        best = [int(b) for b in np.argsort(-score[feature], kind="stable")[:4]]
        wanted = [b for b in best if score[feature, b] > 0]
        mine = found.feature == feature
        assert found.partner[mine].tolist() == wanted
        assert found.rank[mine].tolist() == [*range(1, len(wanted) + 1)]
        assert found.joint[mine].tolist() == joint[feature, wanted].tolist()
        assert found.product[mine].tolist() == (x.T @ x)[feature, wanted].tolist()
    assert ranking.n_tests == (k >= 8).sum() * ((k >= 8).sum() - 1) // 2


def test_partners__of_a_nested_pair_have_the_planted_pmi() -> None:
    """analytics.D8: where g fires only in f, P(f | g) = 1 and PMI = -ln density of f."""
    rng = np.random.default_rng(3)
    f = rng.random(5000) < 0.1
    g = f & (rng.random(5000) < 0.3)
    alone = rng.random(5000) < 0.2
    found, _ = ranked(
        np.stack((f, g, alone), axis=1).astype(np.float64),
        [(0, 3)],
        top=1,
        min_fires=5,
        min_joint=5,
    )
    assert found.partner[:2].tolist() == [1, 0]
    assert found.score[0] / found.joint[0] == pytest.approx(-np.log(f.mean()))
    assert found.joint[0] == g.sum()


def test_joint_chance__is_that_of_scipy_at_every_place_of_the_law() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(20, 4000, 300)
    a, b = ((rng.random(300) * n).astype(int).clip(1) for _ in range(2))
    low, high = np.maximum(0, a + b - n), np.minimum(a, b)
    near = np.rint(a * b / n + rng.normal(0, 2, 300) * np.sqrt(a * b / n)).astype(int)
    for joint in (near.clip(low, high), low, high):
        right = np.array(
            [stats.hypergeom.sf(x - 1, *of) for x, *of in zip(joint, n, a, b, strict=True)]
        )
        found = joint_chance(joint, a, b, n)
        kept = right > 1e-250
        np.testing.assert_allclose(found[kept], right[kept], rtol=1e-8)
        assert (found >= SMALLEST).all()
        assert np.array_equal(found, joint_chance(joint, b, a, n))


def test_joint_chance__is_never_zero() -> None:
    assert joint_chance(np.array([5000]), np.array([5000]), np.array([5000]), 100_000) == SMALLEST
