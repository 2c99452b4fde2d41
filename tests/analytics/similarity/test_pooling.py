"""Pooling over units, against dense loops."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.similarity.pooling import pool_max, pool_mean, stack
from actlake.storage.csr import Csr, csr_from_dense, fault_of
from actlake.storage.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


def some_codes(rng: np.random.Generator, rows: int, features: int = 5) -> Csr:
    values = rng.exponential(size=(rows, features)) * (rng.random((rows, features)) < 0.4)
    return csr_from_dense(values, dtype="float16")


@given(rows=st.integers(0, 20), units=st.integers(0, 6), seed=SEEDS)
def test_pool_max__is_the_largest_of_each_unit(rows: int, units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes, unit = some_codes(rng, rows), rng.integers(-1, units, rows)
    pooled = pool_max(codes, unit, units)

    expected = np.zeros((units, 5), np.float32)
    for row, values in enumerate(codes.dense()):
        if unit[row] >= 0:
            expected[unit[row]] = np.maximum(expected[unit[row]], values)
    assert fault_of(pooled) is None
    assert pooled.values.dtype == np.float32
    assert pooled.indices.dtype == np.uint16
    np.testing.assert_array_equal(pooled.dense(), expected)


def test_pool_max__keeps_wide_features_apart() -> None:
    # 3 units of 70,000 features: keys and indices beyond 16 bits.
    indices = np.array([0, 69_999, 69_999], np.uint32)
    codes = Csr(np.array([0, 2, 3]), indices, np.array([1.0, 2.0, 3.0], np.float16), 70_000)
    pooled = pool_max(codes, np.array([2, 2]), 3)
    assert pooled.indptr.tolist() == [0, 0, 0, 2]
    assert pooled.indices.tolist() == [0, 69_999]
    assert pooled.values.tolist() == [1, 3]
    assert pooled.indices.dtype == np.uint32


@given(rows=st.integers(0, 20), units=st.integers(0, 6), seed=SEEDS)
def test_pool_mean__is_the_mean_of_each_unit(rows: int, units: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.normal(100, 1, (rows, 3)).astype(np.float32)
    unit = rng.integers(-1, units, rows)
    pooled = pool_mean(dense, unit, units)
    assert pooled.shape == (units, 3)
    assert pooled.dtype == np.float32
    for number in range(units):
        inside = dense[unit == number]
        expected = inside.astype(np.float64).mean(axis=0) if len(inside) else np.full(3, np.nan)
        np.testing.assert_allclose(pooled[number], expected, rtol=1e-6)


@given(cuts=st.lists(st.integers(0, 12), max_size=4), seed=SEEDS)
def test_stack__puts_blocks_back_together(cuts: list[int], seed: int) -> None:
    codes = some_codes(np.random.default_rng(seed), 12)
    edges = [0, *sorted(cuts), 12]
    place = np.arange(12)
    blocks = [codes.keep((place >= a) & (place < b)) for a, b in pairwise(edges)]
    whole = stack(blocks)
    assert fault_of(whole) is None
    np.testing.assert_array_equal(whole.dense(), codes.dense())


def test_stack__refuses_none_and_mixed_codes() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"0 blocks with \[\] features"):
        stack([])
    with pytest.raises(InputError, match=r"2 blocks with \[4, 5\] features"):
        stack([some_codes(rng, 3, 4), some_codes(rng, 3, 5)])
