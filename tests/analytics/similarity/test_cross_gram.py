"""The one-pass state of two dense tensors, against sums over centred rows."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.analytics.statistic import merge_in_order


def by_definition(x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Sums over longdouble deviations, row by row."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    means = {"count": len(x), "mean_x": x.mean(axis=0), "mean_y": y.mean(axis=0)}
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    sums = {
        "xx": sum(np.outer(i, i) for i in x),
        "yy": sum(np.outer(j, j) for j in y),
        "xy": sum(np.outer(i, j) for i, j in zip(x, y, strict=True)),
        "cube_x": sum(i * (i @ i) for i in x),
        "cube_y": sum(j * (j @ j) for j in y),
        "x_by_y": sum(i * (j @ j) for i, j in zip(x, y, strict=True)),
        "y_by_x": sum(j * (i @ i) for i, j in zip(x, y, strict=True)),
        "fourth_x": sum((i @ i) ** 2 for i in x),
        "fourth_y": sum((j @ j) ** 2 for j in y),
        "fourth_xy": sum((i @ i) * (j @ j) for i, j in zip(x, y, strict=True)),
    }
    return {name: np.atleast_1d(np.asarray(v, np.float64)) for name, v in (means | sums).items()}


@given(
    rows=st.integers(1, 30),
    cuts=st.lists(st.integers(0, 30), max_size=5),
    offset=st.sampled_from([0.0, 100.0]),
    seed=st.integers(0),
)
def test_cross_gram__any_chunks_are_the_sums_of_deviations(
    rows: int, cuts: list[int], offset: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.exponential(size=(rows, 3)) + offset, rng.exponential(size=(rows, 2)) - offset
    y[:, 0] += x[:, 0]
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [CrossGram.of(x[i:j], y[i:j]) for i, j in pairwise(edges)]
    found = merge_in_order([*parts, CrossGram.empty(3, 2)]).arrays()
    for name, right in by_definition(x, y).items():
        scale = 1e-9 * max(1.0, np.abs(right).max())
        np.testing.assert_allclose(found[name], right, rtol=1e-9, atol=scale, err_msg=name)


def test_cross_gram__reads_long_tensors_in_pieces() -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((10_000, 3)) + 50).astype(np.float16)
    whole = CrossGram.of(x, x[:, :2])
    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(whole.xy, centred.T @ centred[:, :2], rtol=1e-9)
    assert whole.fourth_x == pytest.approx((np.square(centred).sum(axis=1) ** 2).sum(), rel=1e-9)


def test_cross_gram__comes_back_from_arrays() -> None:
    rng = np.random.default_rng(1)
    state = CrossGram.of(rng.random((5, 3)), rng.random((5, 2)))
    again = CrossGram.from_arrays(state.arrays())
    assert type(again.fourth_xy) is float
    for name, array in state.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        merged = CrossGram.empty(3, 2).merge(again).merge(CrossGram.empty(3, 2))
        np.testing.assert_array_equal(merged.arrays()[name], array)
