import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import Csr, csr_from_dense


def metrics(x: NDArray[np.float64], rebuilt: NDArray[np.float64]) -> dict[str, float]:
    return ReconstructionSums.of(x, rebuilt, silent(len(x))).finish()


def silent(rows: int) -> Csr:
    return csr_from_dense(np.zeros((rows, 2)))


@pytest.fixture(scope="module")
def shifted() -> NDArray[np.float64]:
    """20,000 rows of N(0, I₆₄) + 10."""
    return np.random.default_rng(0).standard_normal((20_000, 64)) + 10


def test_finish__the_mean_as_predictor_explains_nothing(shifted: NDArray[np.float64]) -> None:
    """dictionaries.D1."""
    found = metrics(shifted, np.broadcast_to(shifted.mean(axis=0), shifted.shape))
    assert abs(found["ev"]) < 1e-9
    # Uncentred, the same predictor looks perfect: 1 - 1/(1 + 10²).
    assert abs(found["ev_uncentred"] - 0.9901) < 1e-4


def test_finish__a_constant_offset_is_seen_by_all_but_the_residual_variance(
    shifted: NDArray[np.float64],
) -> None:
    """dictionaries.D1: x̂ = x + 3 has residual variance 0 and an error nine times the variance."""
    found = metrics(shifted, shifted + 3)
    assert abs(found["ev_residual_variance"] - 1) < 1e-9
    assert abs(found["ev"] + 8) < 0.05  # published at -8.01 for another seed
    assert found["fvu"] == 1 - found["ev"]


def test_finish__explained_variance_of_shifted_gaussians_is_three_quarters() -> None:
    """analytics.G37: mean 3, noise 0.5; an average of batches' squared means reports 0.97."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 16)) + 3
    noise = 0.5 * rng.standard_normal(x.shape)
    found = merge_in_order(
        ReconstructionSums.of(part, part + error, silent(len(part)))
        for part, error in zip(np.array_split(x, 9), np.array_split(noise, 9), strict=True)
    ).finish()
    assert abs(found["ev"] - 0.75) < 0.005


def test_finish__a_perfect_copy_is_perfect(shifted: NDArray[np.float64]) -> None:
    found = metrics(shifted, shifted)
    for name in ("ev", "ev_residual_variance", "ev_uncentred", "cosine", "relative_bias"):
        assert abs(found[name] - 1) < 1e-12, name
    assert found["nmse"] == found["fvu"] == 0


def test_finish__an_offset_of_both_sides_moves_only_the_uncentred(
    shifted: NDArray[np.float64],
) -> None:
    rebuilt = shifted + np.random.default_rng(2).standard_normal(shifted.shape) / 2
    before, after = metrics(shifted, rebuilt), metrics(shifted + 5, rebuilt + 5)
    assert abs(before["ev"] - after["ev"]) < 1e-9
    assert abs(before["ev_residual_variance"] - after["ev_residual_variance"]) < 1e-9
    assert after["ev_uncentred"] > before["ev_uncentred"] + 1e-4
    assert after["nmse"] < before["nmse"]


def test_finish__equals_the_definitions_row_by_row() -> None:
    rng = np.random.default_rng(3)
    x, rebuilt = rng.standard_normal((2, 500, 7))
    codes = csr_from_dense(np.maximum(rng.standard_normal((500, 9)), 0))
    found = ReconstructionSums.of(x, rebuilt, codes).finish()
    error = x - rebuilt
    norms = np.linalg.norm(x, axis=1), np.linalg.norm(rebuilt, axis=1)
    spread = np.square(x - x.mean(axis=0)).sum()
    assert found["fvu"] == pytest.approx(np.square(error).sum() / spread, rel=1e-12)
    assert found["ev_residual_variance"] == pytest.approx(
        1 - error.var(axis=0).sum() / x.var(axis=0).sum(), rel=1e-9
    )
    assert found["nmse"] == pytest.approx(
        (np.square(error).sum(axis=1) / norms[0] ** 2).mean(), rel=1e-12
    )
    cosines = (x * rebuilt).sum(axis=1) / (norms[0] * norms[1])
    assert found["cosine"] == pytest.approx(cosines.mean(), rel=1e-9)
    assert found["relative_bias"] == pytest.approx(
        np.square(rebuilt).sum() / (x * rebuilt).sum(), rel=1e-12
    )
    assert found["l0"] == pytest.approx(codes.nnz / 500)


def test_finish__counts_a_feature_as_dead_only_if_nothing_is_stored() -> None:
    block = np.zeros((50, 4))
    block[3, 2] = 1e-6
    found = ReconstructionSums.of(np.ones((50, 1)), np.ones((50, 1)), csr_from_dense(block))
    assert found.fires.tolist() == [0, 0, 1, 0]
    assert found.finish()["dead_share"] == 0.75
    assert found.finish()["n_rows"] == 50
    assert found.finish()["detectable_density"] == pytest.approx(3 / 50)


def test_finish__is_nan_where_there_is_nothing_to_explain() -> None:
    constant = metrics(np.full((1000, 3), 0.1), np.zeros((1000, 3)))
    assert np.isnan(constant["fvu"])
    assert constant["nmse"] == pytest.approx(1)
    assert constant["cosine"] == 0
    empty = ReconstructionSums.empty(2, 3).finish()
    assert empty.pop("n_rows") == 0
    assert all(np.isnan(value) for value in empty.values())


def test_finish__leaves_zero_rows_out_of_relative_metrics() -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    found = metrics(x, np.array([[1.0, 0.0], [3.0, 4.0]]))
    assert (found["nmse"], found["cosine"]) == (0, 1)
