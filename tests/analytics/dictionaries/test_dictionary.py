import tracemalloc
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.analytics.dictionaries import dictionary as dictionary_module
from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar
from actlake.analytics.dictionaries.identity import identity
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.analytics.dictionaries.selection import largest_positive
from actlake.storage.errors import InputError, PrecisionError


def made(k: int = 4, *, threshold: float | None = None, seed: int = 0) -> Dictionary:
    rng = np.random.default_rng(seed)
    width, n_features = 6, 20
    config: dict[str, Scalar] = {"n_features": n_features, "width": width, "k": k}
    arrays = {
        "W_enc": rng.standard_normal((width, n_features)),
        "b_enc": rng.standard_normal(n_features) / 2,
        "W_dec": rng.standard_normal((n_features, width)),
        "b_dec": rng.standard_normal(width),
    }
    if threshold is not None:
        arrays["threshold"] = np.array([threshold])
    return Dictionary("made", config, {name: a.astype(np.float32) for name, a in arrays.items()})


def activations(dictionary: Dictionary, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    a = {name: array.astype(np.float64) for name, array in dictionary.arrays.items()}
    pre: NDArray[np.float64] = (rows - a["b_dec"]) @ a["W_enc"] + a["b_enc"]
    return np.maximum(pre, 0)


ROWS = np.random.default_rng(1).standard_normal((500, 6)).astype(np.float32)


def test_encode__keeps_the_k_largest_of_each_row() -> None:
    dictionary = made(k=4)
    codes = dictionary.encode(ROWS)
    full = activations(dictionary, ROWS)
    kept = codes.dense()
    assert np.count_nonzero(kept, axis=1).max() <= 4
    np.testing.assert_allclose(kept[kept > 0], full[kept > 0], rtol=1e-4)
    dropped = np.where(kept > 0, 0, full).max(axis=1)
    weakest = np.where(kept > 0, kept, np.inf).min(axis=1)
    assert (weakest >= dropped - 1e-5).all()
    # A row keeps fewer than k only if it has no more positive ones.
    short = np.count_nonzero(kept, axis=1) < 4
    assert (dropped[short] == 0).all()


def test_encode__by_threshold_keeps_what_is_above_it() -> None:
    dictionary = made(threshold=1.5)
    full = activations(dictionary, ROWS)
    np.testing.assert_allclose(
        dictionary.encode(ROWS).dense(), np.where(full > 1.5, full, 0), atol=1e-5
    )


def test_encode__makes_ascending_rows_of_positive_values() -> None:
    for dictionary in (made(), made(threshold=-1.0), identity(6, k=3)):
        codes = dictionary.encode(ROWS, "float16")
        assert codes.indptr[0] == 0
        assert codes.indptr[-1] == codes.nnz == len(codes.values)
        assert codes.indices.dtype == np.uint16
        assert codes.values.dtype == np.float16
        assert (codes.values > 0).all()
        within = np.diff(codes.row_of_value()) == 0
        assert (np.diff(codes.indices.astype(int))[within] > 0).all()


def test_encode__does_not_depend_on_its_own_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made().encode(ROWS)
    monkeypatch.setattr(dictionary_module, "BLOCK_VALUES", 20 * 37)
    blocked = made().encode(ROWS)
    np.testing.assert_array_equal(blocked.indptr, whole.indptr)
    np.testing.assert_array_equal(blocked.indices, whole.indices)
    np.testing.assert_allclose(blocked.values, whole.values, rtol=1e-5)


def test_encode__twice_gives_the_same_bits() -> None:
    first, second = made().encode(ROWS), made().encode(ROWS)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.values, second.values)


def test_encode__holds_no_more_than_a_block() -> None:
    rows = np.random.default_rng(2).standard_normal((6000, 8)).astype(np.float32)
    dictionary = random_dictionary(rows[:100], 16_384, 32)
    tracemalloc.start()
    codes = dictionary.encode(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    result = codes.indptr.nbytes + codes.indices.nbytes + codes.values.nbytes
    assert peak - 2 * result < 256 * 2**20  # all activations at once would be 375 MiB, twice


def test_encode__reads_every_stored_dtype_and_no_rows() -> None:
    rows = np.round(ROWS * 4) / 4  # exact in all of them
    expected = made().encode(rows).dense()
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32):
        np.testing.assert_array_equal(made().encode(rows.astype(dtype)).dense(), expected)
    nothing = made().encode(ROWS[:0])
    assert (nothing.rows, nothing.nnz) == (0, 0)
    assert made().decode(nothing).shape == (0, 6)


def test_decode__is_the_dense_product() -> None:
    dictionary = made()
    codes = dictionary.encode(ROWS)
    expected = codes.dense() @ dictionary.arrays["W_dec"] + dictionary.arrays["b_dec"]
    np.testing.assert_allclose(dictionary.decode(codes), expected, rtol=1e-4, atol=1e-5)


def test_identity__keeps_the_largest_positive_units_and_rebuilds_them() -> None:
    rows = np.array([[3, -9, 1, 2], [-1, -2, 0, -4], [1, 1, 1, 1]], np.float32)
    codes = identity(4, k=2).encode(rows)
    expected = np.array([[3, 0, 0, 2], [0, 0, 0, 0], [1, 1, 0, 0]], np.float32)
    np.testing.assert_array_equal(codes.dense(), expected)
    assert codes.nnz == 4  # a peer stores zeros as firings
    np.testing.assert_array_equal(identity(4, k=2).decode(codes), expected)
    assert identity(64).arrays == {}
    assert identity(100).config["k"] == 64


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 8),
    features=st.integers(1, 12),
    k=st.integers(1, 12),
    levels=st.sampled_from([2, 5, 1000]),
)
def test_largest_positive__is_a_stable_sort_of_each_row(
    seed: int, rows: int, features: int, k: int, levels: int
) -> None:
    k = min(k, features)
    values = np.random.default_rng(seed).integers(-levels, levels, (rows, features)) / 2
    found = largest_positive(values, k)
    for row, mask in zip(values, found, strict=True):
        best = sorted(range(features), key=lambda j: (-row[j], j))[:k]
        assert np.flatnonzero(mask).tolist() == sorted(j for j in best if row[j] > 0)


def test_encode__float16_drops_what_underflows_and_refuses_what_overflows() -> None:
    rows = np.array([[1e-9, 2, 0], [70_000, 1, 0]], np.float32)
    codes = identity(3, k=3).encode(rows[:1], "float16")
    assert codes.indices.tolist() == [1]
    with pytest.raises(PrecisionError, match=r"70000 does not fit float16.*float32"):
        identity(3, k=3).encode(rows, "float16")
    assert identity(3, k=3).encode(rows, "float32").nnz == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_encode__refuses_rows_that_are_not_finite(bad: float) -> None:
    rows = ROWS.copy()
    rows[17, 3] = bad
    with pytest.raises(InputError, match=r"row 17 .* not finite"):
        made().encode(rows)


def test_dictionary__refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="k is 21 and the dictionary has 20 features"):
        made(k=21)
    with pytest.raises(InputError, match="k is 0"):
        made(k=0)
    with pytest.raises(InputError, match="k is 64 and the dictionary has 63 features"):
        identity(63)
    with pytest.raises(InputError, match="n_features is 0"):
        identity(0, k=1)
    with pytest.raises(InputError, match="width 6"):
        made().encode(ROWS[:, :5])
    with pytest.raises(InputError, match="6 features and the made dictionary has 20"):
        made().decode(identity(6, k=1).encode(ROWS))
    with pytest.raises(InputError, match=r"array b_dec .* shape \(5,\)"):
        replace(made(), arrays={**made().arrays, "b_dec": np.zeros(5, np.float32)})
    with pytest.raises(InputError, match="no whole number k"):
        Dictionary("made", {"n_features": 3, "width": 3}, {})
