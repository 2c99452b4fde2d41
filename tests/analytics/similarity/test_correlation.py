"""The sparse co-Gram, against numpy on dense rows."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.similarity.correlation import CoGram, correlation_tiles, sparse
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import Csr, csr_from_dense
from actlake.storage.errors import InputError


def some_codes(rng: np.random.Generator, rows: int, features: int) -> Csr:
    values = rng.lognormal(0, 1, (rows, features)) * (rng.random((rows, features)) < 0.3)
    return csr_from_dense(values)


def test_correlation__counts_silent_rows_as_zeros() -> None:
    rng = np.random.default_rng(0)
    a, b = some_codes(rng, 300, 7), some_codes(rng, 300, 5)
    right = np.corrcoef(a.dense().T, b.dense().T)[:7, 7:]
    state = CoGram.of(a, b, start=2, stop=6)
    np.testing.assert_allclose(state.correlation(), right[2:6], atol=1e-12)
    assert state.n == 300
    np.testing.assert_array_equal(state.fires_a, (a.dense() > 0).sum(axis=0)[2:6])
    np.testing.assert_array_equal(state.fires_b, (b.dense() > 0).sum(axis=0))
    tiles = list(correlation_tiles(sparse(a), sparse(b), tile_bytes=3 * 8 * 5))
    assert [len(tile) for tile in tiles] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(tiles), right, atol=1e-12)


def test_correlation__is_nan_for_constant_and_silent_features() -> None:
    rows = np.zeros((50, 4))
    rows[:, 1] = 0.1  # constant; its sums round
    rows[::2, 2] = rows[::2, 3] = 3.0
    codes = csr_from_dense(rows)
    found = CoGram.of(codes, codes, start=0, stop=4).correlation()
    defined = np.zeros((4, 4), np.bool_)
    defined[2:, 2:] = True
    np.testing.assert_array_equal(np.isfinite(found), defined)
    assert found[2, 3] == pytest.approx(1, abs=1e-12)
    assert found[2, 3] <= 1


def test_correlation__knows_constants_of_any_value() -> None:
    levels = np.random.default_rng(3).lognormal(0, 3, 40)
    codes = csr_from_dense(np.tile(levels, (997, 1)))
    assert np.isnan(CoGram.of(codes, codes, start=0, stop=40).correlation()).all()


def test_correlation__of_indicators_is_phi_and_its_products_are_joint_counts() -> None:
    """analytics.G6, for two codes."""
    rng = np.random.default_rng(1)
    a, b = (some_codes(rng, 400, 3) for _ in range(2))
    ones = [Csr(c.indptr, c.indices, np.ones_like(c.values), 3) for c in (a, b)]
    state = CoGram.of(*ones, start=0, stop=3)
    joint = (a.dense() > 0).T.astype(int) @ (b.dense() > 0).astype(int)
    np.testing.assert_array_equal(state.product, joint)
    k, m, n = state.fires_a[:, None], state.fires_b, 400
    phi = (n * joint - k * m) / np.sqrt(k * (n - k) * m * (n - m))
    np.testing.assert_allclose(state.correlation(), phi, atol=1e-12)


@given(rows=st.integers(0, 30), cuts=st.lists(st.integers(0, 30), max_size=4), seed=st.integers(0))
def test_co_gram__any_chunks_are_one_pass(rows: int, cuts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = some_codes(rng, rows, 4), some_codes(rng, rows, 3)
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    place = np.arange(rows)
    parts = [
        CoGram.of(a.keep(inside), b.keep(inside), start=1, stop=3)
        for inside in ((place >= i) & (place < j) for i, j in pairwise(edges))
    ]
    merged, whole = merge_in_order(parts), CoGram.of(a, b, start=1, stop=3)
    again = CoGram.from_arrays(merged.arrays()).merge(CoGram.empty(1, 3, 3))
    for name, array in whole.arrays().items():
        np.testing.assert_allclose(merged.arrays()[name], array, rtol=1e-12, err_msg=name)
        np.testing.assert_array_equal(merged.arrays()[name], again.arrays()[name])


def test_co_gram__refuses_another_tile() -> None:
    with pytest.raises(InputError, match="first feature 0 and 1"):
        CoGram.empty(0, 2, 3).merge(CoGram.empty(1, 3, 3))
    with pytest.raises(InputError, match="features of b 3 and 4"):
        CoGram.empty(0, 2, 3).merge(CoGram.empty(0, 2, 4))


def test_correlation_tiles__never_hold_rows_by_features() -> None:
    rng = np.random.default_rng(2)
    rows, features, each = 20_000, 4_000, 4
    indices = np.sort(rng.integers(0, features // each, (rows, each)) + np.arange(each) * 1000)
    codes = Csr(
        np.arange(rows + 1) * each,
        indices.astype(np.uint16).reshape(-1),
        np.ones(rows * each, np.float32),
        features,
    )
    a = sparse(codes)
    tracemalloc.start()
    tile_bytes = 1 << 20
    seen = sum(len(tile) for tile in correlation_tiles(a, a, tile_bytes=tile_bytes))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == features
    # Four tiles and a transposed copy; the dense rows would be 320 MB even as float32.
    assert peak < 4 * tile_bytes + 6 * 12 * codes.nnz
