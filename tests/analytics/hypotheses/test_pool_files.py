"""Pools as they are kept: the same to the last bit, and no larger than their codes."""

import numpy as np
import pytest

from actlake.analytics.hypotheses.pool_files import pairs_of_features, pool_arrays, pool_of_arrays
from actlake.analytics.hypotheses.pooling import DocumentPool
from actlake.storage.csr import INDPTR, Csr, index_dtype


def codes_of(rows: int, *, features: int, fires: int, dtype: str, spread: float) -> Csr:
    """The same number of features on every row, whose values differ by ``spread`` powers of e."""
    rng = np.random.default_rng(0)
    few = min(features, 4 * fires)
    chosen = np.sort(rng.random((rows, few)).argpartition(fires - 1, axis=1)[:, :fires], axis=1)
    chosen = chosen * (features // few)
    values = rng.lognormal(0, spread, rows * fires).clip(2**-14, 60_000).astype(dtype)
    starts = np.arange(0, rows * fires + 1, fires)
    return Csr(starts, chosen.ravel().astype(index_dtype(features)), values, features)


def require_same(found: DocumentPool, right: DocumentPool) -> None:
    for name, array in right.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], array, err_msg=name, strict=True)


def stored_bytes(codes: Csr) -> int:
    """Of the three arrays of a shard."""
    return codes.indices.nbytes + codes.values.nbytes + len(codes.indptr) * INDPTR.itemsize


@pytest.mark.parametrize("spread", [0.5, 4.0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("features", [64, 1 << 17])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 128, 1500])
def test_pool__is_what_it_was_and_no_larger_than_its_codes(
    length: int, features: int, dtype: str, spread: float
) -> None:
    codes = codes_of(3000, features=features, fires=8, dtype=dtype, spread=spread)
    document = 7 + np.arange(3000) // length
    pool = DocumentPool.of(codes, document, np.ones(3000, np.bool_), documents=10**6)
    arrays = pool_arrays(pool)
    require_same(pool_of_arrays(arrays), pool)
    assert sum(one.nbytes for one in arrays.values()) <= stored_bytes(codes)
    kinds = {int(name[-1]) for name in arrays if name.startswith("feature")}
    assert kinds >= {min(length, 4)} or length > 7
    if length == 128:  # what it is for
        assert sum(one.nbytes for one in arrays.values()) < 0.4 * stored_bytes(codes)


@pytest.mark.parametrize("fires", [2, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_pool__of_pairs_that_all_fire_as_often_is_no_larger(fires: int, dtype: str) -> None:
    """The dearest pools: no count, and sums that float32 would round."""
    values = np.resize(np.array([30, 0.001, 7], dtype), (500, fires, 4))
    values = np.where(values > 1, values + np.arange(4, dtype=dtype) / 4, values).astype(dtype)
    indices = np.resize(np.arange(4, dtype=np.uint16), values.size)
    codes = Csr(np.arange(0, values.size + 1, 4), indices, values.ravel(), 4)
    document = np.repeat(np.arange(500), fires)
    pool = DocumentPool.of(codes, document, np.ones(len(document), np.bool_), documents=500)
    assert set(pool.count) == {fires}
    arrays = pool_arrays(pool)
    assert fires == 2 or arrays["total3"].dtype == np.float64
    require_same(pool_of_arrays(arrays), pool)
    assert sum(one.nbytes for one in arrays.values()) <= stored_bytes(codes)


def test_pool__of_any_rows_in_any_order_under_a_mask_is_what_it_was() -> None:
    """Documents far apart, some of none but masked rows, numbers beyond what a byte holds."""
    rng = np.random.default_rng(1)
    codes = codes_of(4000, features=2000, fires=40, dtype="float16", spread=1)
    document = rng.choice([3, 4, 400, 9_999, 500_000], 4000, p=[0.1, 0.7, 0.1, 0.05, 0.05])
    keep = (rng.random(4000) < 0.8) & (document != 400)
    pool = DocumentPool.of(codes, document, keep, documents=10**6)
    assert pool.document.tolist() == [3, 4, 9_999, 500_000]
    assert pool.count.max() > 255
    require_same(pool_of_arrays(pool_arrays(pool)), pool)
    half = np.arange(4000) < 1700
    parts = [
        pool_of_arrays(pool_arrays(DocumentPool.of(codes, document, keep & part, documents=10**6)))
        for part in (half, ~half)
    ]
    require_same(parts[0].merge(parts[1]), pool)  # sums of float16 are exact


@pytest.mark.parametrize("features", [70, 1 << 16, 1 << 17])
def test_pool__of_a_range_of_features_is_that_of_their_codes(features: int) -> None:
    rng = np.random.default_rng(2)
    codes = codes_of(2000, features=features, fires=6, dtype="float16", spread=1)
    document = np.sort(rng.integers(0, 300, 2000))
    keep = rng.random(2000) < 0.9
    pool = DocumentPool.of(codes, document, keep, documents=400)
    arrays = pool_arrays(pool)
    fires = np.bincount(pool.key % features, minlength=features)
    assert (pairs_of_features(arrays) == fires).all()
    middle = int(np.flatnonzero(fires)[7])
    for start, stop in ((0, 1), (0, middle), (middle, middle + 1), (middle, features)):
        inside = (codes.indices >= start) & (codes.indices < stop)
        starts = np.concatenate(([0], np.cumsum(inside)))[codes.indptr]
        indices = codes.indices[inside] - np.asarray(start, codes.indices.dtype)
        some = Csr(starts, indices, codes.values[inside], stop - start)
        right = DocumentPool.of(some, document, keep, documents=400)
        require_same(pool_of_arrays(arrays, start, stop), right)


@pytest.mark.parametrize("kept", [False, True])
def test_pool__of_nothing_is_what_it_was(kept: bool) -> None:
    codes = Csr(np.zeros(4, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float16), 5)
    pool = DocumentPool.of(codes, np.array([2, 2, 8]), np.full(3, kept), documents=10**9)
    arrays = pool_arrays(pool)
    assert sum(one.nbytes for one in arrays.values()) < 40
    require_same(pool_of_arrays(arrays), pool)
    assert pool.document.tolist() == ([2, 8] if kept else [])
