from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.effects import effects
from actlake.analytics.hypotheses.findings import Findings, find
from actlake.analytics.hypotheses.groups import split_groups
from actlake.analytics.hypotheses.permutation import largest_units, permutation_test
from actlake.analytics.hypotheses.pooling import Pooled
from actlake.analytics.hypotheses.power import power
from actlake.analytics.hypotheses.screening import correlations
from actlake.storage.errors import InputError
from tests.analytics.hypotheses.worlds import nested_world, world

PLANTED = 17


def planted(groups: int = 20) -> tuple[Pooled, NDArray[np.float64], NDArray[np.int64]]:
    """A 0/1 label that follows one feature, with noise; it is constant within no group."""
    pooled, group = world(groups)
    fires = pooled.values[:, [PLANTED]].toarray()[:, 0] > 0
    y = np.where(np.random.default_rng(9).random(len(group)) < 0.1, ~fires, fires)
    return pooled, y.astype(np.float64), group


def found_features(found: Findings, column: str = "p_bonferroni") -> list[int]:
    return [int(one) for one in found.columns["feature"][found.columns[column] < 0.05]]


def test_find__recovers_a_planted_label_under_a_split_by_groups() -> None:
    pooled, y, group = planted()
    found = find(pooled, y, group, split_groups(group), draws=1999)
    assert found_features(found) == found_features(found, "q") == [PLANTED]
    at = found.columns["feature"].tolist().index(PLANTED)
    row = {name: column[at] for name, column in found.columns.items()}
    assert (row["split"], row["selected_by"]) == ("holdout", "both")
    assert row["ci_low"] < row["effect"] < row["ci_high"]
    assert row["ci_low"] > 0
    assert row["n_tests"] == found.n_tests >= 5


def test_find__keeps_losers_and_says_on_which_split_each_was_measured() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    found = find(pooled, y, group, split, draws=199)
    columns, length = found.columns, np.log(pooled.rows)[:, None]
    assert {len(column) for column in columns.values()} == {len(columns["feature"])}
    assert 20 <= len(columns["feature"]) <= 40
    assert set(columns["split"].tolist()) == {"holdout", "validation"}
    for part, name in enumerate(SPLITS[1:], start=1):
        rows, at = split == part, columns["split"] == name
        features = pooled.values[rows][:, columns["feature"][at]]
        same = effects(features, y[rows], group[rows], length[rows])
        np.testing.assert_allclose(columns["effect"][at], same.effect)
        np.testing.assert_allclose(columns["p"][at], same.p)
        assert set(columns["n"][at].tolist()) == {int(rows.sum())}
        assert set(columns["n_groups"][at].tolist()) == {len(set(group[rows].tolist()))}
    dropped, tested = columns["split"] == "validation", columns["split"] == "holdout"
    assert found.n_tests == tested.sum()
    for name in ("p_permutation", "p_family", "q", "p_bonferroni"):
        assert np.isnan(columns[name][dropped]).all()
        assert not np.isnan(columns[name][tested]).any()
    by_correlation = columns["selected_by"] != "separation"
    sign = np.where(by_correlation, columns["correlation"], columns["separation"])
    validated = effects(
        pooled.values[split == 1][:, columns["feature"]],
        y[split == 1],
        group[split == 1],
        length[split == 1],
    )
    np.testing.assert_array_equal(np.sign(sign) == np.sign(validated.effect), tested)
    rows = split == 2
    shuffled = permutation_test(
        pooled.values[rows][:, columns["feature"][tested]],
        y[rows],
        largest_units(y[rows], group[rows]),
        length[rows],
        draws=199,
    )
    np.testing.assert_array_equal(columns["p_permutation"][tested], shuffled.p)
    np.testing.assert_allclose(
        columns["p_bonferroni"][tested], np.minimum(shuffled.p * found.n_tests, 1)
    )
    np.testing.assert_allclose(
        columns["q"][tested], scipy.stats.false_discovery_control(shuffled.p), rtol=1e-12
    )


def test_find__nothing_before_the_test_depends_on_the_holdout() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    rng, holdout = np.random.default_rng(0), split == 2
    texts = [" ".join(rng.choice([f"w{i}" for i in range(50)], 20)) for _ in group]
    one = find(pooled, y, group, split, texts=texts, draws=99)
    other_y = np.where(holdout, rng.normal(1e6, 1e5, len(y)), y)
    other_texts = ["nonsense" if out else text for text, out in zip(texts, holdout, strict=True)]
    other_values = csr_array(
        pooled.values.toarray() * np.where(holdout, rng.random(len(y)), 1)[:, None]
    )
    other_pooled = Pooled(other_values, np.where(holdout, 7 * pooled.rows, pooled.rows))
    other = find(other_pooled, other_y, group, split, texts=other_texts, draws=99)
    for name in ("feature", "selected_by", "correlation", "separation", "split"):
        np.testing.assert_array_equal(one.columns[name], other.columns[name])
    assert one.words == other.words
    assert any(one.words)
    tested = one.columns["split"] == "holdout"
    assert (one.columns["effect"][tested] != other.columns["effect"][tested]).all()


def test_find__names_the_words_of_the_planted_feature() -> None:
    pooled, y, group = planted()
    fires = pooled.values[:, [PLANTED]].toarray()[:, 0] > 0
    rng = np.random.default_rng(1)
    texts = [
        " ".join(rng.choice([f"w{i}" for i in range(80)], 20)) + (" silver coin" if on else "")
        for on in fires
    ]
    found = find(pooled, y, group, split_groups(group), texts=texts, draws=99)
    words = found.words[found.columns["feature"].tolist().index(PLANTED)]
    assert words[0].phrase == "silver coin"
    assert words[0].n_silent == 0
    without = find(pooled, y, group, split_groups(group), draws=99)
    assert without.words == [[] for _ in without.columns["feature"]]


def test_find__exchanges_the_finer_unit_where_the_target_varies_within_groups() -> None:
    pooled, _, group = planted()
    address = np.arange(len(group)) // 3
    y = np.random.default_rng(2).normal(size=address.max() + 1)[address]
    found = find(pooled, y, group, split_groups(group), unit=address, draws=99)
    alone = find(pooled, y, group, split_groups(group), draws=99)
    np.testing.assert_array_equal(found.columns["p"], alone.columns["p"])
    tested = found.columns["split"] == "holdout"
    p = [one.columns["p_permutation"][tested] for one in (found, alone)]
    assert (np.abs(p[0] - p[1]) > 0).any()


def test_find__leaves_out_documents_without_target_group_split_or_rows() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    some = np.arange(len(y)) % 10
    gone = some < 5
    labels = group.astype(np.float64)
    labels[some == 0] = np.nan
    unit = np.array([None if one == 4 else i for i, one in enumerate(some)], dtype=object)
    changed = find(
        replace(pooled, rows=np.where(some == 1, 0, pooled.rows)),
        np.where(some == 2, np.nan, y),
        labels,
        np.where(some == 3, -1, split).astype(np.int8),
        unit=unit,
        draws=99,
    )
    kept = Pooled(pooled.values[~gone].tocsr(), pooled.rows[~gone])
    expected = find(kept, y[~gone], group[~gone], split[~gone], draws=99)
    for name, column in expected.columns.items():
        np.testing.assert_array_equal(changed.columns[name], column, err_msg=name)


def test_find__keeps_features_of_which_none_is_confirmed() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    turned = np.where(split == 1, 1 - y, y)  # validation says the opposite
    found = find(pooled, turned, group, split, top=1, draws=99)
    assert found.columns["feature"].tolist() == [PLANTED]
    assert found.columns["split"].tolist() == ["validation"]
    assert (found.n_tests, found.columns["n_tests"].tolist()) == (0, [0])
    assert np.isnan([found.columns["q"][0], found.smallest_p]).all()
    assert found.columns["effect"][0] < 0


def test_find__says_that_six_groups_of_a_label_of_groups_support_nothing() -> None:
    pooled, group = world(20)
    label = np.arange(20) % 2
    perfect = csr_array((label[group] + 1.0)[:, None])
    features = hstack([pooled.values, perfect]).tocsr()
    y = label[group].astype(np.float64)
    found = find(Pooled(features, pooled.rows), y, group, split_groups(group, y))
    assert 300 in found.columns["feature"]
    assert found.smallest_p == pytest.approx(0.1)
    assert found_features(found) == found_features(found, "q") == []


@pytest.mark.slow
def test_find__recovers_a_label_of_groups_as_often_as_power_says() -> None:
    pooled, group = world(60, features=30)
    rng, found_one, said, runs = np.random.default_rng(3), 0, [], 60
    for seed in range(runs):
        label = rng.permutation(np.arange(60) % 2)
        rho = 0.1
        column = np.sqrt(rho) * rng.normal(size=60)[group]
        column += np.sqrt(1 - rho) * rng.normal(size=480) + 0.75 * label[group] + 10
        features = hstack([pooled.values, csr_array(column[:, None])]).tocsr()
        y = label[group].astype(np.float64)
        split = split_groups(group, y, seed=seed)
        found = find(Pooled(features, pooled.rows), y, group, split, top=4, draws=1999, seed=seed)
        found_one += 30 in found_features(found)
        groups = len(set(group[split == 2].tolist()))
        size = float((split == 2).sum()) / groups
        said.append(
            power(
                0.75,
                groups=groups,
                documents_per_group=size,
                correlation_within=rho,
                n_tests=found.n_tests,
            )
        )
    assert 0.5 < np.mean(said) < 0.9
    # Groups are unequal and the cluster-robust t is not the one of power: 0.05 beside 3 errors.
    assert found_one / runs == pytest.approx(np.mean(said), abs=0.05 + 3 * np.sqrt(0.2 / runs))


RUNS = 200
MOST = scipy.stats.binom.isf(1e-4, RUNS, 0.05)  # 22


@pytest.mark.slow
@pytest.mark.parametrize("groups", [20, 60])
def test_find__holds_its_rate_under_200_labellings_of_groups(groups: int) -> None:
    """Labels that mean nothing; what a test of documents would say is counted beside it."""
    pooled, group = world(groups, documents=300, features=100)
    rng, label = np.random.default_rng(4), np.arange(groups) % 2
    splits = [split_groups(group, label[group], seed=seed) for seed in range(10)]
    false = {"Bonferroni": 0, "q": 0, "documents alone": 0}
    for seed in range(RUNS):
        split, drawn = splits[seed % 10], label.copy()
        for part in range(3):
            here = np.unique(group[split == part])
            drawn[here] = rng.permutation(drawn[here])
        y = drawn[group].astype(np.float64)
        found = find(pooled, y, group, split, top=4, draws=249, seed=seed)
        false["Bonferroni"] += bool(found_features(found))
        false["q"] += bool(found_features(found, "q"))
        tested, rows = found.columns["split"] == "holdout", split == 2
        r = correlations(pooled.values[rows][:, found.columns["feature"][tested]].tocsr(), y[rows])
        t = np.abs(r) * np.sqrt((rows.sum() - 2) / (1 - r**2))
        p = 2 * scipy.stats.t.sf(t, rows.sum() - 2)
        false["documents alone"] += bool((p * found.n_tests < 0.05).any())
    assert false["Bonferroni"] <= MOST
    assert false["q"] <= MOST
    if groups == 20:  # of 15 documents each; of 5 each they resemble each other too little
        assert false["documents alone"] > 2 * MOST


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["free", "year"])
def test_find__holds_its_rate_where_a_target_varies_within_groups(kind: str) -> None:
    """200 times new features that resemble themselves within groups and units, and nothing else."""
    splits = [split_groups(nested_world(24)[1], seed=seed) for seed in range(10)]
    false = {"Bonferroni": 0, "q": 0}
    for seed in range(RUNS):
        pooled, group, unit = nested_world(24, seed=seed)
        rng, units = np.random.default_rng(seed), int(unit.max()) + 1
        label = np.arange(units) if kind == "year" else rng.random(units) < 0.5
        y, split = label[unit].astype(np.float64), splits[seed % 10]
        found = find(pooled, y, group, split, unit=unit, top=3, draws=249, seed=seed)
        false["Bonferroni"] += bool(found_features(found))
        false["q"] += bool(found_features(found, "q"))
    assert false["Bonferroni"] <= MOST
    assert false["q"] <= MOST


@pytest.mark.parametrize("groups", [21, 42])
def test_find__recovers_a_trend_through_the_groups(groups: int) -> None:
    """A target like the year by president: it varies between groups and within them."""
    recovered, others, runs = 0, 0, 10
    for seed in range(runs):
        pooled, group, unit = nested_world(groups, seed=seed)
        year = unit - unit.mean()
        latent = 3 * year / year.std() + np.random.default_rng(seed).normal(size=groups)[group]
        latent += np.random.default_rng(seed + 100).normal(size=len(unit))
        features = pooled.values.tolil()
        features[:, 0] = np.exp(0.3 * latent)[:, None]
        world_with = Pooled(features.tocsr(), pooled.rows)
        split = split_groups(group, seed=seed)
        found = find(world_with, year, group, split, unit=unit, top=4, draws=499, seed=seed)
        recovered += 0 in found_features(found, "q")
        others += bool(set(found_features(found, "q")) - {0})
    assert recovered >= 0.8 * runs
    assert others <= 3


def test_find__tests_a_feature_that_fires_too_rarely_for_an_interval() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    features = pooled.values.tolil()
    few = np.flatnonzero((split == 2) & (features[:, [PLANTED]].toarray()[:, 0] > 0))[9:]
    features[few, PLANTED] = 0
    found = find(Pooled(features.tocsr(), pooled.rows), y, group, split, top=5, draws=499)
    at = found.columns["feature"].tolist().index(PLANTED)
    row = {name: column[at] for name, column in found.columns.items()}
    assert row["split"] == "holdout"
    assert row["effect"] > 0
    assert np.isnan([row["ci_low"], row["ci_high"], row["p"]]).all()
    assert 0 < row["p_permutation"] <= row["q"] <= 1


def test_find__refuses_parts_that_cannot_be_tested() -> None:
    pooled, y, group = planted()
    split = split_groups(group)
    for part, name in enumerate(SPLITS):
        constant = np.where(split == part, 1.0, y)
        with pytest.raises(InputError, match=f"the same in all .* documents of {name}"):
            find(pooled, constant, group, split)
        with pytest.raises(InputError, match=f"{name} has 0 groups"):
            find(pooled, y, group, np.where(split == part, -1, split).astype(np.int8))
    with pytest.raises(InputError, match="train has 1 group with"):
        find(pooled, y, np.where(split == 0, 99, group), split)
    with pytest.raises(InputError, match="a group is on two sides of the split"):
        find(pooled, y, group, (np.arange(len(y)) % 3).astype(np.int8))
    with pytest.raises(InputError, match="no feature fires in 480 of"):
        find(pooled, y, group, split, min_documents=480)
