import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from scipy.sparse import csr_array

from actlake.analytics.hypotheses.effects import effects


def test_effects__controls_remove_a_confound_by_length() -> None:
    """analytics.G35: z = 0.8 length + noise, y depends on length alone."""
    rng, n = np.random.default_rng(0), 20_000
    length = rng.normal(size=n)
    z = 0.8 * length + 0.6 * rng.normal(size=n)
    y = (rng.random(n) < 1 / (1 + np.exp(-length))).astype(np.float64)
    group, feature = np.arange(n) // 10, csr_array(z[:, None])
    raw = effects(feature, y, group)
    controlled = effects(feature, y, group, length[:, None])
    assert raw.effect[0] == pytest.approx(0.166, abs=0.02)
    assert raw.p[0] < 1e-6
    assert controlled.effect[0] == pytest.approx(0, abs=0.016)
    assert controlled.ci_low[0] < 0 < controlled.ci_high[0]


def test_effects__equal_the_corrected_sandwich_written_out() -> None:
    """Bell and McCaffrey with matrices of all documents, as in the paper."""
    rng, groups, n = np.random.default_rng(1), 8, 200
    group = rng.integers(0, groups, n)
    x = rng.exponential(1, n) * (rng.random(n) < 0.5)
    control = rng.normal(100, 5, (n, 1))
    y = 0.3 * x + rng.normal(size=groups)[group] + 0.1 * control[:, 0] + rng.normal(size=n)
    found = effects(csr_array(x[:, None]), y, group, control)
    design = np.column_stack(((x - x.mean()) / x.std(), np.ones(n), control))
    bread = np.linalg.inv(design.T @ design)
    slope, annihilator = bread @ design.T @ y, np.eye(n) - design @ bread @ design.T
    weights = []
    for g in range(groups):
        rows = group == g
        root = scipy.linalg.inv(scipy.linalg.sqrtm(annihilator[np.ix_(rows, rows)]))
        weights.append(annihilator[:, rows] @ root @ design[rows] @ bread[:, 0])
    error = np.sqrt(sum((y @ one) ** 2 for one in weights))
    form = np.array(weights) @ np.array(weights).T
    t = scipy.stats.t(np.trace(form) ** 2 / np.trace(form @ form))
    assert found.effect[0] == pytest.approx(slope[0], rel=1e-9)
    assert found.p[0] == pytest.approx(2 * t.sf(abs(slope[0]) / error), rel=1e-7)
    assert found.ci_low[0] == pytest.approx(slope[0] - t.isf(0.025) * error, rel=1e-7)
    assert found.ci_high[0] == pytest.approx(slope[0] + t.isf(0.025) * error, rel=1e-7)
    assert (found.n, found.n_groups) == (n, groups)


@pytest.mark.parametrize("fires", [10, 20, 40])
@pytest.mark.parametrize("kind", ["number", "class", "class of groups"])
def test_effects__of_features_that_fire_rarely_have_intervals_that_cover(
    fires: int, kind: str
) -> None:
    rng, runs = np.random.default_rng(5), 300
    group = np.repeat(np.arange(12), 12)
    outside = 0
    for _ in range(runs):
        x = np.zeros(144)
        x[rng.choice(144, fires, replace=False)] = rng.lognormal(0, 0.3, fires)
        y = {
            "number": rng.normal(size=144) + rng.normal(size=12)[group],
            "class": rng.permutation(np.arange(144) % 2),
            "class of groups": rng.permutation(np.arange(12) % 2)[group],
        }[kind].astype(np.float64)
        length = np.log(rng.integers(40, 200, 144))[:, None]
        outside += bool(effects(csr_array(x[:, None]), y, group, length).p[0] < 0.05)
    assert outside <= scipy.stats.binom.isf(1e-3, runs, 0.05)  # 28


def test_effects__have_no_interval_where_too_few_documents_fire() -> None:
    rng, group = np.random.default_rng(6), np.repeat(np.arange(12), 12)
    columns = np.zeros((144, 5))
    columns[:9, 0] = 1  # 9 documents
    columns[:24, 1] = 1  # 2 groups
    columns[::10, 2] = 1  # 15 documents of 12 groups
    columns[:, 3] = 1
    columns[:9, 3] = 2  # fires everywhere, and differs in 9 documents
    columns[:, 4] = rng.random(144)
    number = effects(csr_array(columns), rng.normal(size=144), group)
    assert np.isfinite(number.effect).all()
    for values in (number.ci_low, number.ci_high, number.p):
        assert np.isfinite(values).tolist() == [False, False, True, False, True]
    rare = (np.arange(144) % 7 == 0).astype(np.float64)  # 2 of them expected among 15 documents
    found = effects(csr_array(columns), rare, group)
    assert np.isfinite(found.p).tolist() == [False, False, False, False, True]


def test_effects__of_a_planted_slope_are_covered_by_their_interval() -> None:
    rng, runs, groups = np.random.default_rng(2), 300, 20
    group = np.repeat(np.arange(groups), 12)
    covered = 0
    for _ in range(runs):
        x = rng.normal(size=240) + rng.normal(size=groups)[group]
        x = (x - x.mean()) / x.std()
        y = 0.5 * x + rng.normal(size=groups)[group] + rng.normal(size=240)
        found = effects(csr_array(x[:, None]), y, group)
        covered += bool(found.ci_low[0] < 0.5 < found.ci_high[0])
    assert covered / runs == pytest.approx(0.95, abs=0.038)  # 3 standard errors


def test_effects__are_nan_where_nothing_can_be_estimated() -> None:
    rng = np.random.default_rng(3)
    y, group, control = rng.normal(size=40), np.arange(40) // 5, rng.normal(size=(40, 1))
    columns = csr_array(np.column_stack((np.zeros(40), np.ones(40), control, rng.normal(size=40))))
    found = effects(columns, y, group, control)
    for values in (found.effect, found.ci_low, found.ci_high, found.p):
        assert np.isnan(values).tolist() == [True, True, True, False]
    assert np.isnan(effects(columns, np.ones(40), group).effect).all()
    assert np.isnan(effects(columns, y, np.zeros(40, np.int64)).effect).all()
    assert np.isnan(effects(columns[:2].tocsr(), y[:2], group[:2]).effect).all()
    alone, constant = effects(columns, y, group), effects(columns, y, group, np.ones((40, 1)))
    np.testing.assert_array_equal(constant.effect, alone.effect)
