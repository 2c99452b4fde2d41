import numpy as np
import pytest
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


def test_effects__equal_the_sandwich_written_out() -> None:
    rng, groups, n = np.random.default_rng(1), 8, 200
    group = rng.integers(0, groups, n)
    x = rng.exponential(1, n) * (rng.random(n) < 0.5)
    control = rng.normal(100, 5, (n, 1))
    y = 0.3 * x + rng.normal(size=groups)[group] + 0.1 * control[:, 0] + rng.normal(size=n)
    found = effects(csr_array(x[:, None]), y, group, control)
    design = np.column_stack(((x - x.mean()) / x.std(), np.ones(n), control))
    inverse = np.linalg.inv(design.T @ design)
    slope = inverse @ design.T @ y
    scores = design * (y - design @ slope)[:, None]
    sums = np.stack([scores[group == g].sum(axis=0) for g in range(groups)])
    small = groups / (groups - 1) * (n - 1) / (n - 3)
    error = np.sqrt(small * (inverse @ sums.T @ sums @ inverse)[0, 0])
    t = scipy.stats.t(groups - 1)
    assert found.effect[0] == pytest.approx(slope[0], rel=1e-9)
    assert found.p[0] == pytest.approx(2 * t.sf(abs(slope[0]) / error), rel=1e-7)
    assert found.ci_low[0] == pytest.approx(slope[0] - t.isf(0.025) * error, rel=1e-9)
    assert found.ci_high[0] == pytest.approx(slope[0] + t.isf(0.025) * error, rel=1e-9)
    assert (found.n, found.n_groups) == (n, groups)


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
    assert covered / runs == pytest.approx(0.93, abs=0.045)  # a little short of 0.95; 3 std. errors


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
