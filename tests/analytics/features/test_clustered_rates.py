"""Rates of rows in documents: the error of statsmodels, and p that are uniform without a change."""

import numpy as np
import pytest
import scipy.sparse
import statsmodels.api as sm
from numpy.typing import NDArray

from actlake.analytics.features.clustered_rates import (
    LEAST_DOCUMENTS,
    RateSums,
    rate_difference,
    rate_difference_within,
)

Counts = NDArray[np.int64]


def sums(fires: Counts, rows: Counts) -> RateSums:
    return RateSums.of(scipy.sparse.csr_array(fires.astype(float)), rows)


def bursty(
    rng: np.random.Generator, documents: int, features: int, shift: float = 0.0
) -> tuple[Counts, Counts]:
    """Firing rows of documents, each of which has a rate of its own, and their rows."""
    rows = rng.integers(5, 40, documents)
    rate = rng.beta(0.5, 4.5, (documents, features)) + shift
    return rng.binomial(rows[:, None], np.minimum(rate, 1)), rows


def test_standard_error__is_that_of_a_clustered_regression() -> None:
    rng = np.random.default_rng(0)
    (fires_a, rows_a), (fires_b, rows_b) = bursty(rng, 30, 1), bursty(rng, 40, 1, 0.05)
    fires, rows = np.concatenate((fires_a, fires_b))[:, 0], np.concatenate((rows_a, rows_b))
    document = np.repeat(np.arange(70), rows)
    fired = np.concatenate([np.arange(r) < f for r, f in zip(rows, fires, strict=True)])
    design = sm.add_constant((document >= 30).astype(float))
    fit = sm.OLS(fired.astype(float), design).fit(
        cov_type="cluster", cov_kwds={"groups": document, "use_correction": False}
    )
    a, b = sums(fires_a, rows_a), sums(fires_b, rows_b)
    difference, error, _ = rate_difference(a, b)
    assert difference[0] == pytest.approx(fit.params[1])
    # Theirs has no correction for the number of documents of a side.
    plain = a.variance() * 29 / 30 + b.variance() * 39 / 40
    assert np.sqrt(plain[0]) == pytest.approx(fit.bse[1])
    assert error[0] > fit.bse[1]


def test_without__is_the_state_of_the_others() -> None:
    fires, rows = bursty(np.random.default_rng(2), 40, 5)
    some = np.arange(40) % 3 == 0
    left = sums(fires, rows).without(sums(fires[some], rows[some])).arrays()
    for name, values in sums(fires[~some], rows[~some]).arrays().items():
        assert np.array_equal(left[name], values), name


def test_p__is_uniform_where_nothing_changed_though_rows_are_alike() -> None:
    rng = np.random.default_rng(1)
    a, b = (sums(*bursty(rng, 60, 3000)) for _ in range(2))
    _, error, p = rate_difference(a, b)
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.016)
    # Rows taken for independent would call four times as many changes.
    pooled = (a.fires + b.fires) / (a.rows + b.rows)
    naive = np.sqrt(pooled * (1 - pooled) * (1 / a.rows + 1 / b.rows))
    assert np.median(error / naive) > 1.4


def test_p__finds_a_planted_change_and_is_nan_for_too_few_documents() -> None:
    rng = np.random.default_rng(2)
    fires_a, rows_a = bursty(rng, 80, 3)
    fires_b, rows_b = bursty(rng, 80, 3)
    fires_b[:, 0] = np.minimum(fires_b[:, 0] + rows_b // 4, rows_b)
    fires_a[:, 1], fires_b[:, 1] = 0, 0
    fires_b[: LEAST_DOCUMENTS - 1, 1] = 1
    difference, error, p = rate_difference(sums(fires_a, rows_a), sums(fires_b, rows_b))
    assert p[0] < 1e-8
    assert difference[0] == pytest.approx(0.25, abs=0.06)
    assert np.isnan([error[1], p[1]]).all()
    assert p[2] > 1e-3


def test_sums__leave_out_documents_without_rows() -> None:
    fires, rows = np.array([[1, 0], [0, 0], [2, 3]]), np.array([4, 0, 5])
    found = sums(fires, rows)
    assert (found.documents, found.rows) == (2, 9)
    assert found.rate().tolist() == [3 / 9, 3 / 9]
    assert found.firing.tolist() == [2, 1]
    assert np.isnan(sums(fires[:1], rows[:1]).variance()).all()


def within(
    fires_a: Counts, rows_a: Counts, fires_b: Counts, rows_b: Counts
) -> tuple[NDArray[np.float64], ...]:
    a, b = (scipy.sparse.csr_array(one.astype(float)) for one in (fires_a, fires_b))
    return rate_difference_within(a, rows_a, b, rows_b)


def test_within__is_a_clustered_regression_of_parts_of_the_same_documents() -> None:
    rng = np.random.default_rng(3)
    rate = rng.beta(0.5, 2, 40)
    rows_a, rows_b = rng.integers(5, 40, 40), rng.integers(0, 6, 40)
    fires_a, fires_b = rng.binomial(rows_a, rate), rng.binomial(rows_b, np.sqrt(rate))
    document = np.concatenate((np.repeat(np.arange(40), rows_a), np.repeat(np.arange(40), rows_b)))
    fired = np.concatenate(
        [
            np.arange(r) < f
            for fires, rows in ((fires_a, rows_a), (fires_b, rows_b))
            for r, f in zip(rows, fires, strict=True)
        ]
    )
    in_b = (np.arange(len(document)) >= rows_a.sum()).astype(float)
    fit = sm.OLS(fired.astype(float), sm.add_constant(in_b)).fit(
        cov_type="cluster", cov_kwds={"groups": document, "use_correction": False}
    )
    difference, error, _ = within(fires_a[:, None], rows_a, fires_b[:, None], rows_b)
    n = np.count_nonzero(rows_b)
    assert difference[0] == pytest.approx(fit.params[1])
    assert error[0] == pytest.approx(fit.bse[1] * np.sqrt(n / (n - 1)))


def test_within__p_is_uniform_where_documents_differ_and_parts_do_not() -> None:
    rng = np.random.default_rng(4)
    rate = rng.beta(0.5, 4.5, (80, 3000))
    rows_a, rows_b = rng.integers(20, 60, 80), rng.integers(1, 9, 80)
    sides = [rng.binomial(rows[:, None], rate) for rows in (rows_a, rows_b)]
    p = within(sides[0], rows_a, sides[1], rows_b)[2]
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_within__what_is_exact_has_the_p_of_its_signs() -> None:
    rows_a, rows_b = np.full(12, 20), np.repeat([3, 0], 6)
    exact, few, none = rows_b, np.where(np.arange(12) < LEAST_DOCUMENTS - 1, rows_b, 0), 0 * rows_b
    fires_b = np.stack((exact, few, none, rows_b), axis=1)
    fires_a = np.stack((none, none, none, rows_a), axis=1)
    difference, error, p = within(fires_a, rows_a, fires_b, rows_b)
    assert difference.tolist() == [1, 4 / 6, 0, 0]
    assert (error[0], p[0]) == (0, 2**-5)
    assert np.isnan(p[1:]).all()  # in too few documents; nowhere; everywhere
