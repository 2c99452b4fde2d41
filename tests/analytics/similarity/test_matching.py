"""Matching by correlation, its null, and its calibration."""

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.similarity.matching import FeatureMatches, best_of_many, match_features
from actlake.storage.csr import Csr, csr_from_dense
from actlake.storage.errors import InputError


def some_documents(rng: np.random.Generator, documents: int, *, heavy: bool) -> NDArray[np.int64]:
    lengths = rng.lognormal(3.5, 1, documents) if heavy else rng.uniform(80, 120, documents)
    return np.repeat(np.arange(documents), lengths.astype(np.int64) + 5)


def bursty(
    rng: np.random.Generator, document: NDArray[np.int64], features: int, *, early: float = 0
) -> NDArray[np.float64]:
    """Features with their own rate in each document, and ``early`` times it on its first units."""
    rate = rng.gamma(0.3, 1 / 0.3, (int(document.max()) + 1, features))
    rate *= rng.uniform(0.01, 0.06, features)
    place = np.arange(len(document)) - np.searchsorted(document, document)
    often = np.minimum(rate[document] * (1 + early * (place < 3))[:, None], 0.9)
    fires = rng.random(often.shape) < often
    return np.where(fires, rng.lognormal(0, 1, often.shape), 0.0)


def p_of(found: FeatureMatches, *, of_a: bool) -> NDArray[np.float64]:
    p: NDArray[np.float64] = found.matches.p[found.matches.of_a == of_a]
    return p


@pytest.mark.parametrize("early", [0, 20])
@pytest.mark.parametrize("of_a", [True, False])
def test_match_features__p_of_unrelated_features_is_uniform(early: float, of_a: bool) -> None:
    """Documents' bursts and shared places are in the null: permuted rows would not keep them."""
    rng = np.random.default_rng(3)
    document = some_documents(rng, 60, heavy=False)
    a, b = (csr_from_dense(bursty(rng, document, 400, early=early)) for _ in range(2))
    found = match_features(a, b, document)
    assert found.null_share > 0.98
    p = p_of(found, of_a=of_a)
    assert len(p) > 380
    for level in (0.05, 0.2, 0.5):
        # Five binomial standard deviations.
        spread = 5 * np.sqrt(level * (1 - level) / len(p))
        assert np.mean(p <= level) == pytest.approx(level, abs=spread)
    assert found.matches.q.min() > 0.01


def test_match_features__p_errs_to_the_safe_side_where_lengths_differ() -> None:
    rng = np.random.default_rng(4)
    document = some_documents(rng, 100, heavy=True)
    a, b = (csr_from_dense(bursty(rng, document, 300, early=20)) for _ in range(2))
    found = match_features(a, b, document)
    assert 0.5 < found.null_share < 0.97
    assert np.mean(found.matches.p <= 0.05) <= 0.05 + 5 * np.sqrt(0.05 * 0.95 / len(found.n_fires))


def planted() -> tuple[Csr, Csr, NDArray[np.int64], NDArray[np.int64]]:
    """80 features of each side, of which 30 of A are, noisily, those of B that ``where`` says."""
    rng = np.random.default_rng(5)
    document = some_documents(rng, 50, heavy=False)
    values_a, values_b = bursty(rng, document, 80), bursty(rng, document, 80)
    where = rng.permutation(80)[:30]
    values_b[:, where] = values_a[:, :30] * rng.lognormal(0, 0.5, (len(document), 30))
    lost = rng.random((len(document), 30)) < 0.4
    values_b[:, where] *= ~lost
    return csr_from_dense(values_a), csr_from_dense(values_b), document, where


def test_match_features__finds_planted_pairs_and_no_others() -> None:
    a, b, document, where = planted()
    found = match_features(a, b, document, seed=1)
    table = found.matches
    shared = table.of_a & (table.feature < 30)
    np.testing.assert_array_equal(table.feature[table.of_a], np.arange(80))
    np.testing.assert_array_equal(table.partner[shared], where)
    assert table.is_mutual[shared].all()
    assert (table.q[shared] < 0.01).all()
    assert (table.margin[shared] > 0.2).all()
    back = np.isin(table.feature, where) & ~table.of_a
    np.testing.assert_array_equal(np.sort(table.partner[back]), np.arange(30))
    # At q <= 0.05 about 5 % of 60 to 64 finds are false: more than 10 in one of 1,000 runs.
    assert (table.q[~shared & ~back] <= 0.05).sum() <= 10

    x, y = a.dense(), b.dense()
    right = np.corrcoef(x.T, y.T)[:80, 80:]
    np.testing.assert_allclose(table.score[table.of_a], right.max(axis=1), atol=1e-9)
    np.testing.assert_allclose(table.score[~table.of_a], right.max(axis=0), atol=1e-9)
    second = np.sort(right, axis=1)[:, -2]
    np.testing.assert_allclose(table.margin[table.of_a], right.max(axis=1) - second, atol=1e-9)
    np.testing.assert_array_equal(found.n_fires[table.of_a], (x > 0).sum(axis=0))
    joint = ((x > 0) & (y[:, table.partner[table.of_a]] > 0)).sum(axis=0)
    np.testing.assert_array_equal(found.n_joint[table.of_a], joint)
    assert (found.n_units, found.n_documents, found.permutations) == (len(document), 50, 20)


def test_match_features__is_the_same_for_a_seed_and_in_any_tiles() -> None:
    a, b, document, _ = planted()
    found, again, tiled, other = (
        match_features(a, b, document, permutations=3, seed=seed, tile_bytes=tile_bytes)
        for seed, tile_bytes in ((1, 1 << 24), (1, 1 << 24), (1, 8 * 80 * 7), (2, 1 << 24))
    )
    for name, column in found.matches.columns().items():
        np.testing.assert_array_equal(column, again.matches.columns()[name])
        np.testing.assert_array_equal(column, tiled.matches.columns()[name])
    assert (found.matches.p != other.matches.p).any()
    np.testing.assert_array_equal(found.matches.score, other.matches.score)


def test_match_features__leaves_out_rare_features_on_both_sides() -> None:
    rng = np.random.default_rng(6)
    document = np.repeat(np.arange(10), 30)
    values = rng.random((300, 3)) * (rng.random((300, 3)) < 0.3)
    rare = np.zeros((300, 1))
    rare[[5, 50, 100]] = 1  # a perfect match of three coincidences
    constant = np.full((300, 1), 0.1)
    codes = csr_from_dense(np.concatenate((rare, values, constant, 0 * rare), axis=1))
    found = match_features(codes, codes, document, min_fires=4, permutations=2)
    assert found.matches.feature.tolist() == [1, 2, 3, 4] * 2
    assert found.matches.partner.tolist() == [1, 2, 3, -1] * 2
    assert found.n_fires[3] == 300
    assert found.n_joint[3] == 0
    assert not found.matches.is_mutual[3]
    for column in (found.matches.score, found.matches.margin, found.matches.p, found.matches.q):
        assert np.isnan(column[3])
        assert np.isfinite(column[:3]).all()
    # A feature that never fires is tested only if asked for, and has no partner either.
    silent = match_features(codes, codes, document, min_fires=0, permutations=1)
    assert silent.matches.partner[5] == -1
    assert np.isnan(silent.matches.p[5])


def test_match_features__equal_features_tie() -> None:
    rng = np.random.default_rng(7)
    document = np.repeat(np.arange(10), 30)
    values = rng.random((300, 2)) * (rng.random((300, 2)) < 0.3)
    twice = csr_from_dense(values[:, [0, 0, 1]])
    table = match_features(twice, csr_from_dense(values), document, permutations=1).matches
    assert table.partner.tolist() == [0, 0, 1, 0, 2]
    assert table.is_mutual.tolist() == [True, False, True, True, True]
    assert table.margin[3] == 0


def test_match_features__without_candidates_has_rows_without_partners() -> None:
    a, b, document, _ = planted()
    silent = Csr(np.zeros(len(document) + 1, np.int64), b.indices[:0], b.values[:0], 80)
    table = match_features(a, silent, document, permutations=1).matches
    assert table.of_a.all()
    assert (table.partner == -1).all()
    assert np.isnan(table.q).all()


def test_match_features__of_few_documents_claims_no_small_p() -> None:
    a, b, document, _ = planted()
    for documents, least in ((2, 1 / 2), (3, 1 / 3), (5, 1 / 25)):
        few = document * documents // (document.max() + 1)
        found = match_features(a, b, few, permutations=2)
        assert np.nanmin(found.matches.p) >= least


def test_match_features__refuses_what_has_no_null() -> None:
    a, b, document, _ = planted()
    with pytest.raises(InputError, match="permutations is 0"):
        match_features(a, b, document, permutations=0)
    with pytest.raises(InputError, match="at least 2 documents in common"):
        match_features(a, b, np.zeros_like(document))
    with pytest.raises(InputError, match="ordered by document"):
        match_features(a, b, document[::-1])
    with pytest.raises(InputError, match="rows and 3 documents do not match"):
        match_features(a, b, document[:3])


def test_best_of_many__pools_features_of_like_counts() -> None:
    """Two strata of 100: the rare ones' null is larger, as it is on real data."""
    fires = np.repeat((20, 1000), 100)
    null = np.where(fires == 20, 0.5, 0.1) + np.linspace(0, 0.09, 200) * np.ones((4, 1))
    p = best_of_many(np.full(200, 0.3), null, fires).p
    np.testing.assert_array_equal(p[fires == 20], 1)
    np.testing.assert_array_equal(p[fires == 1000], 1 / 401)


def test_best_of_many__counts_ties_against_the_finding_and_skips_what_is_undefined() -> None:
    score = np.array([0.5, 0.2, -np.inf])
    null = np.array([[0.5, 0.1, -np.inf], [0.3, -np.inf, 0.2]])
    p = best_of_many(score, null, np.array([5, 5, 5])).p
    np.testing.assert_array_equal(p, [2 / 5, 4 / 5, np.nan])
