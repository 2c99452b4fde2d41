import numpy as np
import pytest
import scipy.stats
from scipy.sparse import csr_array

from actlake.analytics.hypotheses.labels import one_versus_rest
from actlake.analytics.hypotheses.screening import correlations, screen, separation
from actlake.storage.errors import InputError


def sparse(documents: int = 400, features: int = 12, seed: int = 0) -> csr_array:
    rng = np.random.default_rng(seed)
    density = np.linspace(0.02, 0.9, features)
    values = rng.exponential(1, (documents, features))
    return csr_array(values * (rng.random((documents, features)) < density))


def test_correlations__equal_scipy_on_dense_columns() -> None:
    features, rng = sparse(), np.random.default_rng(1)
    targets = np.column_stack((rng.normal(1e3, 1, 400), rng.random(400) < 0.2)).astype(np.float64)
    found = correlations(features, targets)
    for feature, column in enumerate(features.toarray().T):
        for target in range(2):
            expected = scipy.stats.pearsonr(column, targets[:, target]).statistic
            assert found[feature, target] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(correlations(features, targets[:, 0]), found[:, 0], rtol=1e-14)


def test_correlations__with_controls_are_those_of_the_residuals() -> None:
    features, rng = sparse(), np.random.default_rng(2)
    control = np.column_stack((rng.normal(5, 1e-4, 400), np.full(400, 7.0)))  # one is constant
    y = rng.normal(size=400) + 1e4 * control[:, 0]
    found = correlations(features, y, control)
    design = np.column_stack((np.ones(400), (control[:, 0] - 5) * 1e4))
    for feature, column in enumerate(features.toarray().T):
        left = [v - design @ np.linalg.lstsq(design, v)[0] for v in (column, y)]
        assert found[feature] == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-9)


def test_correlations__of_constants_are_nan() -> None:
    columns = np.column_stack((np.zeros(50), np.full(50, 0.1), np.arange(50.0)))
    found = correlations(csr_array(columns), np.arange(50.0))
    assert np.isnan(found[:2]).all()
    assert found[2] == pytest.approx(1)
    assert np.isnan(correlations(csr_array(columns), np.full(50, 0.3))).all()
    assert np.isnan(correlations(csr_array(columns), np.arange(50.0) % 7, columns[:, 2:]))[2]


def test_separation__counts_only_firing_documents() -> None:
    """analytics.G36: 30 firings with y = 1 exactly there are 1; padded with zeros they are 0.3."""
    fires = np.zeros(1000)
    fires[np.random.default_rng(0).choice(1000, 30, replace=False)] = 1
    assert separation(csr_array(fires[:, None]), fires).tolist() == [1.0]


@pytest.mark.parametrize("strongest", [1, 5, 100])
def test_separation__equals_a_sort_of_each_column(strongest: int) -> None:
    features, y = sparse(), np.random.default_rng(1).normal(3, 1, 400)
    found = separation(features, y, strongest=strongest)
    for feature, column in enumerate(features.toarray().T):
        firing = np.flatnonzero(column > 0)
        top = firing[np.argsort(-column[firing])][:strongest]
        expected = y[top].mean() - y[column == 0].mean()
        assert found[feature] == pytest.approx(expected, rel=1e-9)


def test_separation__cuts_ties_by_a_hash_not_by_place() -> None:
    # All fire alike, the first half with y = 1: the first 100 in order would all have y = 1.
    column, y = np.ones((1000, 1)), (np.arange(1000) < 500).astype(np.float64)
    column[-1] = 0
    assert separation(csr_array(column), y)[0] == pytest.approx(0.5, abs=0.25)  # 5 std. errors


def test_separation__of_what_fires_everywhere_or_nowhere_is_nan() -> None:
    columns = csr_array(np.column_stack((np.ones(20), np.zeros(20))))
    assert np.isnan(separation(columns, np.arange(20.0))).all()


def test_screen__finds_planted_features_in_each_kind_of_target() -> None:
    features, rng = sparse(2000, 40), np.random.default_rng(3)
    dense = features.toarray()
    real = dense[:, 20] - dense[:, 30] + rng.normal(0, 1, 2000)
    found, why = screen(features, real).strongest(2)
    assert found.tolist() == [20, 30]
    assert why.tolist() == ["both", "both"]
    kind = np.array(["none", "first", "second"], dtype=object)[
        np.where(dense[:, 10] > 0, 1, np.where(dense[:, 15] > 0, 2, 0))
    ]
    targets, classes = one_versus_rest(kind)
    assert classes.tolist() == ["first", "none", "second"]
    assert screen(features, targets[:, 0]).strongest(1)[0].tolist() == [10]
    assert screen(features, targets[:, 2]).separation[15] > 0.5


def test_screen__leaves_out_rare_features_and_says_why_others_were_chosen() -> None:
    y = (np.arange(200) < 40).astype(np.float64)
    rare, strong, broad = np.zeros(200), np.zeros(200), np.zeros(200)
    rare[:9] = 1  # goes with y perfectly, in too few documents
    strong[:10] = 1  # every firing has y = 1: the largest separation
    broad[:40], broad[40:60] = 1, 1  # more firings, a larger correlation
    found = screen(csr_array(np.column_stack((rare, strong, broad))), y, min_documents=10)
    assert found.n_fires.tolist() == [9, 10, 60]
    assert np.isnan([found.correlation[0], found.separation[0]]).all()
    feature, why = found.strongest(1)
    assert feature.tolist() == [1, 2]
    assert why.tolist() == ["separation", "correlation"]


def test_one_versus_rest__is_nan_where_the_label_is_missing() -> None:
    targets, classes = one_versus_rest(np.array(["b", None, "a"], dtype=object))
    assert classes.tolist() == ["a", "b"]
    np.testing.assert_array_equal(targets, [[0, 1], [np.nan, np.nan], [1, 0]])


@pytest.mark.parametrize(
    ("y", "message"),
    [(np.ones(400), "the same in all 400 documents"), (np.arange(400.0), "fires in 401 of 400")],
)
def test_screen__refuses_what_cannot_be_screened(y: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        screen(sparse(), y, min_documents=401)
