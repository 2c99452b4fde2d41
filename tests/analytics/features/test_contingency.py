"""Contingency tables against dense ones, scipy and scikit-learn, and against what was planted."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import scipy.stats
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from actlake.analytics.features.contingency import WIDEST, ContingencyTables
from actlake.analytics.features.contingency_scores import (
    information_given_stratum,
    label_information,
    value_scores,
)
from actlake.analytics.features.information import chance_information
from actlake.analytics.features.label_scores import RankedFeatures
from actlake.analytics.features.postings import Postings
from actlake.analytics.statistic import merge_in_order, merge_wide
from actlake.storage.csr import Csr, csr_from_dense
from actlake.storage.errors import InputError

Found = dict[str, NDArray[Any]]
Ints = NDArray[np.int64]
N, F = 900, 7
rng = np.random.default_rng(0)
LABEL = rng.integers(-1, 4, N)
STRATUM = rng.integers(-1, 3, N)
MASK = rng.random(N) < 0.9
BLOCK = (rng.exponential(1, (N, F)) * (rng.random((N, F)) < 0.4)).astype(np.float32)
BLOCK[:, 0] = 0  # never fires
BLOCK[:, 1] += 0.01  # everywhere
BLOCK[(LABEL == 2) | (STRATUM == 1), 2] = 0  # silent on a value, and in a stratum
BLOCK[LABEL == 3, 3] += 1
EDGES = np.column_stack((np.full(F, 0.5), np.linspace(0.6, 2, F)))
KEPT = MASK & (LABEL >= 0) & (STRATUM >= 0)
LEVEL = (BLOCK > 0).astype(int) + (EDGES[:, 0] < BLOCK) + (EDGES[:, 1] < BLOCK)


def tables_of(
    block: NDArray[Any],
    label: NDArray[Any],
    stratum: NDArray[Any] | None = None,
    edges: NDArray[Any] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> ContingencyTables:
    mask = np.ones(len(block), np.bool_) if mask is None else mask
    postings = Postings.of(csr_from_dense(block.astype(np.float32)), mask)
    return ContingencyTables.of(postings, label=label, stratum=stratum, edges=edges)


@pytest.fixture(scope="module")
def tables() -> ContingencyTables:
    parts = [
        tables_of(BLOCK[part], LABEL[part], STRATUM[part], EDGES, MASK[part])
        for part in np.array_split(np.arange(N), 5)
    ]
    merged = merge_in_order(parts)
    for name, array in merge_wide(parts).arrays().items():
        np.testing.assert_array_equal(array, merged.arrays()[name])
    return merged


def test_dense__is_the_count_by_hand(tables: ContingencyTables) -> None:
    features = np.array([5, 0, 2])
    found, strata, labels = tables.dense(features)
    right = np.zeros((3, 3, 4, 4), np.int64)
    for place, feature in enumerate(features):
        np.add.at(right[place], (STRATUM[KEPT], LEVEL[KEPT, feature], LABEL[KEPT]), 1)
    np.testing.assert_array_equal(found, right)
    assert strata.tolist() == [0, 1, 2]
    assert labels.tolist() == [0, 1, 2, 3]
    whole, strata, _ = tables.over_all().dense(features)
    np.testing.assert_array_equal(whole, right.sum(axis=1, keepdims=True))
    assert strata.tolist() == [0]


def some_units(overall: bool) -> list[tuple[int, NDArray[np.bool_]]]:
    return [(0, KEPT)] if overall else [(one, KEPT & (one == STRATUM)) for one in range(3)]


@pytest.mark.parametrize("overall", [False, True])
def test_label_information__is_scipys_and_scikit_learns(
    tables: ContingencyTables, overall: bool
) -> None:
    found = label_information(tables.over_all() if overall else tables)
    rows = iter(zip(*found.values(), strict=True))
    for stratum, units in some_units(overall):
        for feature in range(F):
            if not BLOCK[units, feature].any():
                continue
            level, label = LEVEL[units, feature], LABEL[units]
            table = contingency_matrix(level, label)
            right = scipy.stats.chi2_contingency(table, correction=False)
            exact = (stratum, feature, units.sum())
            *key, chi2, freedom, p, told, by_chance = next(rows)
            assert tuple(key) == exact
            assert freedom == right.dof
            assert chi2 == pytest.approx(right.statistic, rel=1e-9)
            assert p == pytest.approx(right.pvalue, rel=1e-9)
            assert told == pytest.approx(mutual_info_score(level, label), rel=1e-9)
            expected = expected_mutual_information(table, int(units.sum()))
            assert by_chance == pytest.approx(expected, rel=1e-6)
    assert next(rows, None) is None


@pytest.mark.parametrize("overall", [False, True])
@pytest.mark.parametrize("least", [1, 3])
def test_value_scores__are_those_of_two_by_two_tables(
    tables: ContingencyTables, overall: bool, least: int
) -> None:
    found = value_scores(tables.over_all() if overall else tables, level=least)
    rows = iter(zip(*found.values(), strict=True))
    for stratum, units in some_units(overall):
        for feature in range(F):
            level, label, n = LEVEL[units, feature], LABEL[units], int(units.sum())
            for value in range(4):
                fires, has = level >= least, label == value
                both = int((fires & has).sum())
                if both == 0:
                    continue
                a, b = int(fires.sum()), int(has.sum())
                right = {
                    "stratum": stratum,
                    "feature": feature,
                    "label": value,
                    "n": n,
                    "n_positive": b,
                    "fires": a,
                    "fires_positive": both,
                    "lift": both / a / (b / n),
                    "iou": both / (fires | has).sum(),
                    "chi2": 0,
                    "p_fisher": 1,
                    "information": mutual_info_score(level, has),
                    "information_by_chance": expected_mutual_information(
                        contingency_matrix(level, has), n
                    ),
                }
                if a < n:
                    table = contingency_matrix(fires, has)
                    of_scipy = scipy.stats.chi2_contingency(table, correction=False)
                    right["chi2"] = of_scipy.statistic
                    right["p_fisher"] = scipy.stats.fisher_exact(table).pvalue
                row = dict(zip(found, next(rows), strict=True))
                assert row == pytest.approx(right, rel=1e-6, abs=1e-12)
    assert next(rows, None) is None


def test_perfect_feature__tells_the_whole_label_and_covers_its_value() -> None:
    label = np.repeat([0, 1, 2], [500, 300, 200])
    block = np.stack((label == 1, label), axis=1)
    tables = tables_of(block, label, edges=np.array([[np.nan], [1.0]]))
    share = np.array([0.5, 0.3, 0.2])
    told = label_information(tables)["information"]
    assert told == pytest.approx([scipy.stats.entropy([0.3, 0.7]), scipy.stats.entropy(share)])
    found = value_scores(tables)
    assert found["label"].tolist() == [1, 1, 2]
    assert found["lift"][0] == pytest.approx(1 / 0.3)
    assert found["iou"].tolist() == [1, 0.6, 0.4]
    assert found["chi2"][0] == pytest.approx(1000)
    of_three = [scipy.stats.entropy([one, 1 - one]) for one in (0.3, 0.3, 0.2)]
    assert found["information"] == pytest.approx(of_three)
    strong = value_scores(tables, level=2)  # above 1 is the last value alone
    assert (strong["label"].tolist(), strong["iou"].tolist()) == ([2], [1])


def test_independent_feature__tells_what_chance_gives() -> None:
    """I less its mean has a spread of √(freedom / 2) / n; within five errors of 300 features."""
    rng = np.random.default_rng(1)
    n, features = 2_000, 300
    label, stratum = rng.choice(4, n, p=[0.7, 0.2, 0.06, 0.04]), rng.integers(0, 3, n)
    block = rng.exponential(1, (n, features)) * (rng.random((n, features)) < 0.05)
    tables = tables_of(block, label, stratum, np.full((features, 1), np.log(2)))
    for found, freedom in (
        (label_information(tables.over_all()), 6),
        (information_given_stratum(tables), 18),
    ):
        bias = freedom / 2 / n
        left = found["information"] - found["information_by_chance"]
        assert left.mean() == pytest.approx(0, abs=5 * np.sqrt(freedom / 2 / features) / n)
        assert found["information_by_chance"].mean() > 0.8 * bias
        assert np.mean(found["p"] < 0.05) < 0.1
    found = value_scores(tables.over_all())
    left = found["information"] - found["information_by_chance"]
    assert left.mean() == pytest.approx(0, abs=5 / np.sqrt(3 * features) / n)
    # analytics.C15: rates multiply, so their union is all that is left to the overlap.
    q, share = found["fires"] / n, found["n_positive"] / n
    some = found["label"] == 0
    expected = (q * share / (q + share - q * share))[some]
    assert found["iou"][some].mean() == pytest.approx(expected.mean(), rel=0.02)


def test_exclusive_or__of_feature_and_stratum_shows_within_strata_alone() -> None:
    """analytics.G33: I(Y;X) = 0 and I(Y;X|Z) = ln 2; a copy of the stratum tells nothing in it."""
    stratum = np.arange(4_000) % 2
    fires = np.arange(4_000) // 2 % 2
    label = stratum ^ fires
    tables = tables_of(np.stack((fires, stratum), axis=1), label, stratum)
    found = label_information(tables.over_all())
    assert found["information"] == pytest.approx([0, 0], abs=1e-12)
    assert found["chi2"] == pytest.approx([0, 0], abs=1e-9)
    given = information_given_stratum(tables)
    assert given["information"] == pytest.approx([np.log(2), 0], abs=1e-12)
    assert given["chi2"] == pytest.approx([4_000, 0], abs=1e-9)
    assert given["freedom"].tolist() == [2, 0]
    assert given["p"].tolist() == [0, 1]


def test_information__of_two_obeys_the_chain_rule(tables: ContingencyTables) -> None:
    """I(Y;X,Z) = I(Y;Z) + I(Y;X|Z), exactly; strata where a feature is silent count with 0."""
    given = information_given_stratum(tables)
    assert given["feature"].tolist() == [1, 2, 3, 4, 5, 6]
    of_stratum = mutual_info_score(LABEL[KEPT], STRATUM[KEPT])
    for feature, told in zip(given["feature"], given["information"], strict=True):
        together = LEVEL[KEPT, feature] * 3 + STRATUM[KEPT]
        right = mutual_info_score(LABEL[KEPT], together) - of_stratum
        assert told == pytest.approx(right, rel=1e-9)


def test_tables__are_those_of_ranked_features() -> None:
    """With the median as an edge the levels are silent, weak and strong, as in feature_labels."""
    ranked = RankedFeatures(scipy.sparse.csr_array(BLOCK[:, 1:].astype(float)))
    number = rng.integers(0, 3, N)
    right = ranked.scores(number, 3)
    edges = np.array([[np.sort(one[one > 0])[-(one > 0).sum() // 2 - 1]] for one in BLOCK[:, 1:].T])
    tables = tables_of(BLOCK[:, 1:], number, edges=edges)
    np.testing.assert_array_equal(tables.dense(np.arange(F - 1))[0].sum((1, 3)), ranked.levels())
    found = value_scores(tables)
    at = found["feature"], found["label"]
    assert len(found["feature"]) == (F - 1) * 3
    for name in ("n_positive", "fires_positive"):
        np.testing.assert_array_equal(found[name], right[name][at])
    assert found["information"] == pytest.approx(right["information"][at], rel=1e-9)
    chance = chance_information(ranked.levels(), right["n_positive"][0])
    assert found["information_by_chance"] == pytest.approx(chance[at], rel=1e-9)


def test_tables__of_many_features_hold_what_fires() -> None:
    """16,384 features, 50 values and 20 strata: 131 MB of cells, were silent ones among them."""
    rng = np.random.default_rng(2)
    rows, k, features = 2_000, 16, 1 << 14
    indices = np.sort(rng.integers(0, features // k, (rows, k)) + np.arange(k) * (features // k))
    codes = Csr(
        np.arange(rows + 1) * k,
        indices.ravel().astype(np.uint16),
        np.ones(rows * k, np.float32),
        features,
    )
    postings = Postings.of(codes, np.ones(rows, np.bool_))
    label, stratum = rng.integers(0, 50, rows), rng.integers(0, 20, rows)
    tracemalloc.start()
    tables = ContingencyTables.of(postings, label=label, stratum=stratum)
    assert label_information(tables)["n"].sum() > 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tables.count) <= rows * k
    assert peak < 20e6


def test_tables__of_nothing_say_nothing() -> None:
    empty = ContingencyTables.empty(3)
    silent = tables_of(np.zeros((5, 3)), np.arange(5))
    for tables in (empty, empty.merge(silent), silent.over_all()):
        for found in (
            label_information(tables),
            information_given_stratum(tables),
            value_scores(tables),
        ):
            assert all(len(column) == 0 for column in found.values())
    assert silent.dense(np.array([2]))[0].tolist() == [[[[1] * 5, [0] * 5]]]


def test_tables__that_cannot_be_are_refused() -> None:
    block, label = np.ones((2, 3)), np.zeros(2, np.int64)
    with pytest.raises(InputError, match=r"edges of a feature fall; give"):
        tables_of(block, label, edges=np.array([[1, 2], [2, 1], [1, 2]]))
    for edges in (np.ones(3), np.ones((2, 1))):
        with pytest.raises(InputError, match=r"do not cut 3 features; give one row"):
            tables_of(block, label, edges=edges)
    with pytest.raises(InputError, match=r"are too many to count; give fewer"):
        ContingencyTables.empty(1 << 26, np.ones((1 << 26, 2)))
    for wide in ((label + WIDEST, None), (label, label + WIDEST)):
        with pytest.raises(InputError, match=r"at most 262,144 values and as many strata; number"):
            tables_of(block, *wide)
    tables = tables_of(block, label + WIDEST - 1, label + WIDEST - 1, np.full((3, 1), 0.5))
    assert value_scores(tables)["label"].tolist() == [WIDEST - 1] * 3
    with pytest.raises(InputError, match=r"have different edges do not merge; make"):
        tables.merge(ContingencyTables.empty(3, np.ones((3, 1))))
    with pytest.raises(InputError, match=r"n_features 3 and 2 do not merge"):
        tables.merge(ContingencyTables.empty(2, np.ones((2, 1))))
    for level in (0, 3):
        with pytest.raises(InputError, match=rf"no level {level} of a feature fires; give one"):
            value_scores(tables, level=level)
