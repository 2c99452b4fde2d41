from itertools import permutations

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.hypotheses.permutation import (
    Units,
    largest_units,
    permutation_test,
    shuffles,
    smallest_p,
)
from actlake.analytics.hypotheses.screening import correlations
from actlake.storage.errors import InputError
from tests.analytics.hypotheses.worlds import world


def units_of(unit: np.ndarray, within: np.ndarray | None = None) -> Units:
    return Units(unit, np.zeros_like(unit) if within is None else within)


def test_largest_units__are_the_largest_on_which_the_target_is_constant() -> None:
    group = np.array(["b", "b", "b", "a", "a", "a"])
    address = np.array([1, 1, 2, 1, 2, 2])  # numbered anew in each group
    by_group = largest_units(np.array([1.0, 1, 1, 0, 0, 0]), group, address)
    assert by_group.unit.tolist() == [1, 1, 1, 0, 0, 0]
    assert by_group.within.tolist() == [0] * 6
    by_address = largest_units(np.array([1.0, 1, 0, 0, 5, 5]), group, address)
    assert by_address.unit.tolist() == [2, 2, 3, 0, 1, 1]
    assert by_address.within.tolist() == [1, 1, 1, 0, 0, 0]
    for finer in (address, None):
        by_document = largest_units(np.array([1.0, 0, 0, 0, 5, 5]), group, finer)
        assert by_document.unit.tolist() == [0, 1, 2, 3, 4, 5]
        assert by_document.within.tolist() == [1, 1, 1, 0, 0, 0]


def drawn_from(y: NDArray[np.float64], units: Units, draws: int, seed: int = 0) -> np.ndarray:
    return np.concatenate(list(shuffles(y, units, draws, seed=seed)), axis=1)


def test_shuffles__exchange_whole_units_uniformly() -> None:
    units, y = units_of(np.array([0, 0, 1, 2, 2])), np.array([7.0, 7, 8, 9, 9])
    drawn = drawn_from(y, units, 6000)
    assert drawn.shape == (5, 6000)
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[3] == drawn[4]).all()
    orders, count = np.unique(drawn[[0, 2, 3]].T, axis=0, return_counts=True)
    assert orders.tolist() == [list(order) for order in sorted(permutations([7.0, 8, 9]))]
    assert scipy.stats.chisquare(count).pvalue > 1e-4
    np.testing.assert_array_equal(drawn, drawn_from(y, units, 6000))
    assert (drawn != drawn_from(y, units, 6000, seed=1)).any()


def test_shuffles__exchange_means_among_strata_and_rests_within_them_uniformly() -> None:
    """Means 1.5 and 6.5, with rests of 0.5 and 1.5: 2 × 2 × 2 targets in all."""
    units = Units(np.array([0, 1, 1, 2, 3]), np.array([0, 0, 0, 1, 1]))
    drawn = drawn_from(np.array([1.0, 2, 2, 5, 8]), units, 6000)
    assert (drawn[1] == drawn[2]).all()
    orders, count = np.unique(drawn[[0, 1, 3, 4]].T.round(9), axis=0, return_counts=True)
    expected = [
        [mean - rest, mean + rest, 8 - mean - other, 8 - mean + other]
        for mean in (1.5, 6.5)
        for rest in (0.5, -0.5)
        for other in (1.5, -1.5)
    ]
    assert orders.tolist() == sorted(expected)
    assert scipy.stats.chisquare(count).pvalue > 1e-4


@pytest.mark.parametrize(("between", "least", "most"), [(0.0, 0.07, 0.25), (3.0, 2.5, 3.5)])
def test_shuffles__give_a_large_stratum_only_means_that_it_can_have(
    between: float, least: float, most: float
) -> None:
    """Means of chance vary with 1 / √n, here 0.07; those of strata that differ vary for all."""
    sizes = np.array([2] * 60 + [200] * 2)
    within = np.repeat(np.arange(62), sizes)
    rng = np.random.default_rng(0)
    y = rng.normal(size=len(within)) + between * rng.normal(size=62)[within]
    drawn = drawn_from(y, Units(np.arange(len(y)), within), 500)
    small, large = drawn[:2].mean(axis=0).std(), drawn[-200:].mean(axis=0).std()
    assert small == pytest.approx(np.sqrt(between**2 + 1 / 2), rel=0.3)
    assert least < large < most


@pytest.mark.parametrize("controlled", [False, True])
def test_permutation_test__equals_the_enumeration_of_all_labellings(controlled: bool) -> None:
    features, _ = world(7, documents=60, features=20)
    group = np.repeat(np.arange(7), [3, 5, 8, 9, 10, 12, 13])
    label = np.array([1.0, 0, 0, 1, 0, 1, 0])
    # A control that goes with the groups, so that it matters which of them are labelled.
    control = (group % 3 + np.random.default_rng(5).random(60))[:, None] if controlled else None

    def statistic(labels: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.abs(correlations(features.values, labels[group], control))

    observed = statistic(label)
    every = sorted(set(permutations(label.tolist())))
    null = np.stack([statistic(np.array(one)) for one in every])
    assert len(every) == 35
    exact = (null >= observed * (1 - 1e-9)).mean(axis=0)
    exact_family = (null.max(axis=1)[:, None] >= observed * (1 - 1e-9)).mean(axis=0)
    draws = 20_000
    found = permutation_test(features.values, label[group], units_of(group), control, draws=draws)
    tolerance = 5 * np.sqrt(0.25 / draws)
    np.testing.assert_allclose(found.p, exact, atol=tolerance)
    np.testing.assert_allclose(found.p_family, exact_family, atol=tolerance)
    assert found.smallest_p == pytest.approx(1 / 35)


def test_permutation_test__p_is_never_zero_and_counts_the_observed() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    features = csr_array(np.column_stack((y - y.min(), np.zeros(200), rng.random(200))))
    found = permutation_test(features, y, units_of(np.arange(200)), draws=99)
    assert found.p[0] == found.p_family[0] == 1 / 100
    assert np.isnan([found.p[1], found.p_family[1]]).all()
    assert found.p[2] > 0.01
    assert found.smallest_p == 1 / 100


@pytest.mark.parametrize(
    ("values", "within", "expected"),
    [
        ([1, 1, 1, 0, 0, 0], None, 2 / 20),  # a mirror image correlates as strongly
        ([1, 1, 0, 0, 0, 0], None, 1 / 15),
        ([1, 2, 3, 4], None, 2 / 24),
        ([1, 2, 3, 5], None, 1 / 24),
        ([1, 0, 1, 0, 5, 5], [0, 0, 1, 1, 2, 2], 1 / 12),
        ([1, 0, 1, 0], [0, 0, 1, 1], 2 / 4),
        ([1, 0, 3, 2], [0, 0, 1, 1], 2 / 8),
        ([1, 0, 3, 2, 6], [0, 0, 1, 1, 2], 1 / 24),
        ([3, 3, 3], None, 1),
    ],
)
def test_smallest_p__counts_distinct_assignments(
    values: list[float], within: list[int] | None, expected: float
) -> None:
    y, unit = np.array(values, np.float64), np.arange(len(values))
    strata = None if within is None else np.array(within)
    assert smallest_p(y, units_of(unit, strata)) == pytest.approx(expected)
    if len(values) == 6 and within is None:  # no feature can do better
        perfect = csr_array(y[:, None] + 1)
        found = permutation_test(perfect, y, units_of(unit), draws=5000)
        assert found.p[0] == pytest.approx(expected, abs=0.02)


def test_permutation_test__with_length_as_control_is_not_fooled_by_it() -> None:
    rng, hits = np.random.default_rng(0), np.zeros(2)
    for _ in range(100):
        length = rng.normal(size=(150, 1))
        feature = np.maximum(0.9 * length[:, 0] + 0.4 * rng.normal(size=150), 0)
        y = length[:, 0] + rng.normal(size=150)
        for i, controls in enumerate((None, length)):
            units = units_of(np.arange(150))
            found = permutation_test(csr_array(feature[:, None]), y, units, controls, draws=199)
            hits[i] += found.p[0] <= 0.05
    assert hits[0] == 100
    assert hits[1] <= 14  # binomial(100, 0.05) exceeds 14 once in 10,000


def test_permutation_test__of_groups_holds_its_rate_where_documents_do_not() -> None:
    """200 labellings of 20 groups that mean nothing, 480 documents, 300 features."""
    features, group = world(20)
    rng, runs = np.random.default_rng(1), 200
    any_feature = {"groups": 0, "documents, max-T": 0, "documents, Bonferroni": 0}
    level = 0.0
    for seed in range(runs):
        y = rng.permutation(np.arange(20) % 2)[group].astype(np.float64)
        found = permutation_test(features.values, y, units_of(group), draws=199, seed=seed)
        any_feature["groups"] += bool((found.p_family <= 0.05).any())
        level += float((found.p <= 0.05).mean()) / runs
        naive = correlations(features.values, y)
        t = np.abs(naive) * np.sqrt(478 / (1 - naive**2))
        any_feature["documents, Bonferroni"] += bool((scipy.stats.t.sf(t, 478) * 600 < 0.05).any())
        if seed < 50:
            alone = permutation_test(
                features.values, y, units_of(np.arange(480)), draws=99, seed=seed
            )
            any_feature["documents, max-T"] += bool((alone.p_family <= 0.05).any())
    assert any_feature["groups"] <= scipy.stats.binom.isf(1e-4, runs, 0.05)
    assert level == pytest.approx(0.05, abs=0.005)
    assert any_feature["documents, Bonferroni"] > 0.9 * runs
    assert any_feature["documents, max-T"] > 0.9 * 50


def trend(units: int, seed: int = 0) -> tuple[NDArray[np.float64], Units]:
    """The number of the unit as target, in groups of 4 to 8 units that follow each other."""
    sizes = np.random.default_rng(seed).integers(4, 9, units)
    return np.arange(units, dtype=np.float64), Units(
        np.arange(units), np.repeat(np.arange(units), sizes)[:units]
    )


def test_permutation_test__sees_a_trend_that_runs_through_the_groups() -> None:
    y, units = trend(60)
    noise = np.random.default_rng(1).normal(size=60)
    feature = np.exp((y - y.mean()) / y.std() + 0.5 * noise)
    found = permutation_test(csr_array(feature[:, None]), y, units, draws=999)
    assert found.p[0] == found.smallest_p == 1 / 1000


def test_permutation_test__of_a_trend_holds_its_rate_where_groups_resemble_themselves() -> None:
    """500 features with effects of groups, 20 times; permuted alone, documents are found."""
    rates, naive = [], []
    for seed in range(20):
        y, units = trend(60, seed)
        rng = np.random.default_rng(seed)
        latent = rng.normal(size=(60, 500))[units.within] + rng.normal(size=(60, 500))
        features = csr_array(np.exp(0.5 * latent))
        rates.append((permutation_test(features, y, units, draws=99, seed=seed).p <= 0.05).mean())
        alone = permutation_test(features, y, units_of(np.arange(60)), draws=99, seed=seed)
        naive.append((alone.p <= 0.05).mean())
    assert np.mean(rates) == pytest.approx(0.05, abs=0.008)
    assert np.mean(naive) > 0.15


def test_shuffles__refuse_a_target_that_varies_within_a_unit() -> None:
    with pytest.raises(InputError, match="varies within a unit of the permutation"):
        next(shuffles(np.array([0.0, 1]), units_of(np.zeros(2, np.int64)), 1))
