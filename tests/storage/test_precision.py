"""What is stored is rounded to nearest, or refused."""

import ml_dtypes
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from zarr.core.dtype.common import DataTypeValidationError

from actlake.storage.errors import InputError, PrecisionError
from actlake.storage.precision import (
    BLOCK,
    DTYPES,
    LARGEST_SCALE,
    SMALLEST_SCALE,
    BFloat16,
    RowNorms,
    cast,
    nonfinite,
    quantize,
    read_dtype,
    restore,
    row_norms,
    stored_dtype,
)

FLOATS = ("float16", "bfloat16", "float32")
MAX = float(np.finfo(np.float32).max)
LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}


def test_stored_dtype__knows_four() -> None:
    assert {name: stored_dtype(name) for name in DTYPES} == {
        "float16": np.dtype("float16"),
        "bfloat16": np.dtype(ml_dtypes.bfloat16),
        "float32": np.dtype("float32"),
        "int8": np.dtype("int8"),
    }
    assert {name: read_dtype(name) for name in FLOATS} == {name: DTYPES[name] for name in FLOATS}
    assert read_dtype("int8") == np.float32
    known = "no stored dtype; use float16, bfloat16, float32, int8"
    for name in ("float64", "int4", "", "f2", "Float16"):
        with pytest.raises(InputError, match=known):
            stored_dtype(name)


@given(rows=hnp.arrays(np.float32, (3, 4), elements=st.floats(-60000, 60000, width=32)))
def test_cast__rounds_to_nearest(rows: NDArray[np.float32]) -> None:
    for name in FLOATS:
        stored = cast(rows, name, what="x")
        assert stored.dtype == DTYPES[name]
        assert stored.tobytes() == rows.astype(DTYPES[name]).tobytes()
        step = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24}[name]
        slack = {"float16": 2**-25, "bfloat16": 2**-134, "float32": 0}[name]
        error = np.abs(stored.astype(np.float64) - rows.astype(np.float64))
        assert (error <= np.abs(rows) * step + slack).all()


@pytest.mark.parametrize("name", FLOATS)
def test_cast__refuses_what_overflows_and_keeps_the_largest(name: str) -> None:
    largest = np.array([[LARGEST[name], -LARGEST[name]]])
    assert cast(largest, name, what="x").astype(np.float64).tolist() == largest.tolist()
    with pytest.raises(
        PrecisionError, match=rf"tensor t: 1 values do not fit {name}; store bfloat16"
    ):
        cast(np.array([[1.0, LARGEST[name] * 1.01]]), name, what="tensor t")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", DTYPES)
def test_cast__refuses_what_the_model_made_nonfinite(name: str, bad: float) -> None:
    with pytest.raises(PrecisionError, match="2 values are NaN or infinite as the model computed"):
        cast(np.array([[bad, 1.0], [bad, 0.0]], np.float32), name, what="x")


def test_quantize__rounds_to_the_nearest_of_255_steps() -> None:
    rows = np.array([[12.7, 0.04, 0.06, -0.34, -12.7], [0, 0, -0.0, 0, 0], [1, -254, 2, 3, 0]])
    whole, scale = quantize(rows.astype(np.float32))
    assert whole.tolist() == [[127, 0, 1, -3, -127], [0] * 5, [0, -127, 1, 2, 0]]
    assert scale.dtype == np.float32
    assert scale[1:].tolist() == [0, 2]
    assert scale[0] == np.float32(12.7) / np.float32(127)
    assert restore(whole, scale)[2].tolist() == [0, -254, 2, 4, 0]
    assert np.isnan(restore(whole, np.full(3, np.nan, np.float32))).all()
    for shape in ((0, 3), (1, 1)):
        assert [one.shape for one in quantize(np.ones(shape, np.float32))] == [shape, shape[:1]]


@given(rows=hnp.arrays(np.float32, (4, 3), elements=st.floats(-MAX, MAX, width=32)))
def test_quantize__loses_half_a_scale_at_most(rows: NDArray[np.float32]) -> None:
    check_loss(rows)


def test_quantize__loses_half_a_scale_at_most_of_any_magnitude() -> None:
    exponents = np.repeat(np.arange(-151, 128), 9)[:, None]  # from below the smallest on
    parts = np.random.default_rng(5).uniform(-1, 1, (len(exponents), 3))
    check_loss(np.ldexp(parts, exponents).astype(np.float32))


def check_loss(x: NDArray[np.float32]) -> None:
    whole, scale = quantize(x)
    error = np.abs(restore(whole, scale).astype(np.float64) - x)
    # 2**-15 for the roundings to float32, of a value that is 127 scales or less.
    assert (error <= scale[:, None] * (0.5 + 2**-15)).all()
    assert ((scale == 0) == (x == 0).all(axis=1)).all()
    fits = (scale >= SMALLEST_SCALE) & (scale <= LARGEST_SCALE)
    assert (fits | (scale == 0)).all()
    most = np.abs(whole.astype(int)).max(axis=1)
    assert ((most == 127) | (scale == SMALLEST_SCALE) | (scale == 0)).all()


def test_quantize__holds_every_finite_float32() -> None:
    x = np.array([[MAX, -MAX], [MAX, 0]], np.float32)
    back = restore(*quantize(x))
    assert np.isfinite(back).all()
    assert np.allclose(back, x, rtol=1e-6)


def test_quantize__is_of_each_row_alone() -> None:
    x = np.random.default_rng(0).normal(size=(700, 600)).astype(np.float32)  # more than a block
    whole, scale = quantize(x)
    for row in (0, 218, 219, 699):
        alone = quantize(x[row : row + 1])
        assert (alone[0][0].tolist(), alone[1][0]) == (whole[row].tolist(), scale[row])


def test_nonfinite__counts() -> None:
    for name in FLOATS:
        values = np.array([1, np.nan, np.inf, -np.inf, 0]).astype(DTYPES[name])
        assert nonfinite(values) == 3
    assert nonfinite(np.empty((0, 3), np.float16)) == 0


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_nonfinite__knows_every_half_alone_and_among_others(name: str) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(DTYPES[name])
    right = ~np.isfinite(halves.astype(np.float32))
    assert [nonfinite(one) for one in np.split(halves, len(halves))] == right.tolist()
    finite = np.resize(halves[~right], 3 * BLOCK)
    assert nonfinite(finite) == 0
    for bad in halves[right][::97]:
        finite[[BLOCK - 1, BLOCK]] = bad  # on either side of a border
        assert nonfinite(finite) == 2


def test_row_norms__of_every_finite_half_are_exact() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(row_norms(halves[:, None]), np.abs(halves.astype(np.float64)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_row_norms__are_those_of_float64(dtype: str) -> None:
    """Also where squares leave the range of float32, and however rows are cut."""
    rows = np.random.default_rng(0).normal(size=(700, 300))
    rows[::7] *= np.logspace(-4, 4, 100)[:, None] if dtype == "float16" else 0
    if dtype != "float16":
        rows[::7] += np.logspace(-37, 36, 100)[:, None]
    rows[3] = 0
    stored = rows.astype(DTYPES[dtype])
    right = np.linalg.norm(stored.astype(np.float64), axis=1)
    np.testing.assert_allclose(row_norms(stored), right, rtol=1e-6)
    seen = RowNorms(len(stored))
    for first, last in ((0, 1), (1, 500), (500, 500), (500, 700)):
        seen.see(first, stored[first:last])
    np.testing.assert_array_equal(seen.norms, row_norms(stored))


def test_bfloat16__is_a_zarr_type_and_others_are_not() -> None:
    assert BFloat16.from_native_dtype(DTYPES["bfloat16"]).to_native_dtype() == DTYPES["bfloat16"]
    for other in ("float16", "float32", "int16"):
        with pytest.raises(DataTypeValidationError):
            BFloat16.from_native_dtype(np.dtype(other))
    values = np.array([1.5, -0.0, np.nan]).astype(DTYPES["bfloat16"])
    array = zarr.create_array({}, data=values)
    assert np.asarray(array[:]).tobytes() == values.tobytes()
