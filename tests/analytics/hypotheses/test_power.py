import numpy as np
import pytest
import scipy.stats
from scipy.sparse import csr_array
from statsmodels.stats.power import TTestIndPower

from actlake.analytics.hypotheses.power import (
    correlation_within,
    detectable_effect,
    power,
    smallest_p_of_classes,
)
from actlake.storage.errors import InputError


@pytest.mark.parametrize(
    ("groups", "size", "rho", "effect"), [(20, 24, 0.1, 0.45), (12, 6, 0.3, 1.0), (16, 10, 0.0, 0)]
)
def test_power__is_the_share_of_simulated_trials_that_find_the_effect(
    groups: int, size: int, rho: float, effect: float
) -> None:
    rng, trials = np.random.default_rng(0), 4000
    label = np.arange(groups) % 2
    of_group = np.sqrt(rho) * rng.normal(size=(trials, groups))
    documents = np.sqrt(1 - rho) * rng.normal(size=(trials, groups, size))
    means = of_group + documents.mean(axis=2) + effect * label
    p = scipy.stats.ttest_ind(means[:, label == 1], means[:, label == 0], axis=1).pvalue
    said = power(effect, groups=groups, documents_per_group=size, correlation_within=rho)
    error = np.sqrt(said * (1 - said) / trials)
    assert np.mean(p < 0.05) == pytest.approx(said, abs=4 * error)


def test_power__of_groups_of_one_document_is_that_of_a_t_test() -> None:
    for groups, effect in ((8, 1.5), (20, 0.7), (20, -0.7), (60, 0.0)):
        said = power(effect, groups=groups, documents_per_group=1, correlation_within=0.4)
        expected = TTestIndPower().power(abs(effect), groups / 2, 0.05)
        assert said == pytest.approx(expected, abs=1e-9)


def test_detectable_effect__is_found_with_the_wanted_chance() -> None:
    design = {"groups": 20, "documents_per_group": 24.0, "correlation_within": 0.1, "n_tests": 20}
    effect = detectable_effect(**design, wanted=0.8)  # type: ignore[arg-type]
    assert power(effect, **design) == pytest.approx(0.8, abs=1e-9)  # type: ignore[arg-type]
    assert effect == pytest.approx(0.73, abs=0.01)
    # Were documents independent, less than half of it would do.
    alone = detectable_effect(groups=20, documents_per_group=24, correlation_within=0, n_tests=20)
    assert alone < effect / 1.7


def test_power__is_none_where_no_permutation_can_be_rare_enough() -> None:
    """Six groups, three a class: 20 labellings, half of them mirror images."""
    assert smallest_p_of_classes(6) == pytest.approx(0.1)
    assert smallest_p_of_classes(6, share=1 / 3) == pytest.approx(1 / 15)
    assert smallest_p_of_classes(20) == pytest.approx(2 / 184_756)
    assert power(50, groups=6, documents_per_group=24, correlation_within=0.1) == 0
    assert detectable_effect(groups=6, documents_per_group=24, correlation_within=0.1) == np.inf


def test_power__refuses_two_groups() -> None:
    with pytest.raises(InputError, match="2 groups leave nothing"):
        power(1, groups=2, documents_per_group=10, correlation_within=0)


def test_correlation_within__recovers_what_was_planted_in_groups_of_unequal_size() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(5, 40, 400)
    group = np.repeat(np.arange(400), sizes)
    rho = np.array([0.0, 0.1, 0.5])
    of_group = np.sqrt(rho) * rng.normal(size=(400, 3))
    values = 7 + of_group[group] + np.sqrt(1 - rho) * rng.normal(size=(len(group), 3))
    found = correlation_within(csr_array(values), group)
    np.testing.assert_allclose(found, rho, atol=0.08)  # 3 standard errors of the last


def test_correlation_within__equals_the_analysis_of_variance() -> None:
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(4), [2, 3, 10, 25])
    x = rng.exponential(1, 40) * (rng.random(40) < 0.6) + 0.4 * group
    f = scipy.stats.f_oneway(*(x[group == g] for g in range(4))).statistic
    typical = (40 - (2**2 + 3**2 + 10**2 + 25**2) / 40) / 3
    expected = (f - 1) / (f - 1 + typical)
    assert correlation_within(csr_array(x[:, None]), group)[0] == pytest.approx(expected)


def test_correlation_within__is_nan_where_undefined() -> None:
    columns = csr_array(np.column_stack((np.full(6, 0.1), np.arange(6.0))))
    found = correlation_within(columns, np.array([0, 0, 1, 1, 2, 2]))
    assert np.isnan(found).tolist() == [True, False]
    assert np.isnan(correlation_within(columns, np.zeros(6, np.int64))).all()
    assert np.isnan(correlation_within(columns, np.arange(6))).all()
