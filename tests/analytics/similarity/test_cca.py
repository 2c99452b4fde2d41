"""SVCCA, its null, and the slip that it must not make."""

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from actlake.analytics.dictionaries.random import unit_rows
from actlake.analytics.similarity.cca import svcca
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.storage.errors import InputError


def test_svcca__of_unrelated_unit_rows_is_its_null() -> None:
    """analytics.G10."""
    found = svcca(CrossGram.of(unit_rows(1000, 64, 0), unit_rows(1000, 64, 1)))
    assert (found.k_x, found.k_y) == (63, 63)
    assert found.mean() == pytest.approx(0.216, abs=0.01)
    assert found.null_mean_square() == 63 / 999
    assert np.square(found.correlations).mean() == pytest.approx(63 / 999, rel=0.05)
    assert found.adjusted_mean_square() == pytest.approx(0, abs=0.005)


def test_svcca__one_loud_row_does_not_decide() -> None:
    """analytics.G11: keeping one component instead of 63 would give 0.98."""
    x, y = unit_rows(1000, 64, 0), unit_rows(1000, 64, 1)
    x[17] *= 30
    y[17] *= 30
    found = svcca(CrossGram.of(x, y))
    assert found.mean() == pytest.approx(0.22, abs=0.02)
    assert found.k_x > 50
    one = svcca(CrossGram.of(x, y), variance_share=0.01)
    assert (one.k_x, one.k_y) == (1, 1)
    assert one.mean() > 0.9


def test_svcca__keeps_the_fewest_components_with_the_share() -> None:
    # Orthogonal columns of variances 6, 3, 1: shares 0.6, 0.9, 1.
    columns = np.linalg.qr(np.column_stack((np.ones(40), unit_rows(40, 3, 0))))[0][:, 1:]
    state = CrossGram.of(columns * np.sqrt([3, 6, 1]), columns)
    kept = [svcca(state, variance_share=share).k_x for share in (0.5, 0.61, 0.89, 0.91, 1.0)]
    assert kept == [1, 2, 2, 3, 3]


def test_svcca__of_all_variance_is_canonical_correlation() -> None:
    rng = np.random.default_rng(3)
    shared = rng.standard_normal((400, 2))
    x = np.column_stack((shared, rng.standard_normal((400, 2)))) @ rng.standard_normal((4, 4)) + 9
    y = np.column_stack((shared + 0.5 * rng.standard_normal((400, 2)), rng.standard_normal(400)))
    u, v = CCA(n_components=3, tol=1e-12, max_iter=10_000).fit_transform(x, y)
    right = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(3)]
    found = svcca(CrossGram.of(x, y), variance_share=1.0)
    np.testing.assert_allclose(found.correlations, right, atol=1e-4)
    swapped = svcca(CrossGram.of(y, x), variance_share=1.0)
    np.testing.assert_allclose(found.correlations, swapped.correlations, atol=1e-12)


def test_svcca__null_holds_for_unequal_widths() -> None:
    squares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = rng.standard_normal((200, 20)), rng.standard_normal((200, 5))
        found = svcca(CrossGram.of(x, y), variance_share=1.0)
        squares.append(np.square(found.correlations).mean())
        assert found.null_mean_square() == 20 / 199
    # Means of five squares scatter by 0.03 at most.
    assert np.mean(squares) == pytest.approx(20 / 199, abs=5 * 0.03 / np.sqrt(40))


def test_svcca__of_degenerate_sides() -> None:
    rng = np.random.default_rng(4)
    flat = svcca(CrossGram.of(np.zeros((9, 3)), rng.random((9, 2))))
    assert np.isnan([flat.mean(), flat.adjusted_mean_square()]).all()
    deficient = rng.standard_normal((100, 2)) @ rng.standard_normal((2, 8))
    assert svcca(CrossGram.of(deficient, deficient), variance_share=1.0).k_x == 2
    few = svcca(CrossGram.of(rng.random((6, 9)), rng.random((6, 9))), variance_share=1.0)
    assert few.mean() == pytest.approx(1)
    assert np.isnan(few.adjusted_mean_square())
    with pytest.raises(InputError, match="variance share 99"):
        svcca(CrossGram.empty(2, 2), variance_share=99)
