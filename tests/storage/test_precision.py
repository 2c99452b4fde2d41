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
from actlake.storage.precision import DTYPES, BFloat16, cast, nonfinite, stored_dtype

LARGEST = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": 3.4028234663852886e38}


def test_stored_dtype__knows_three() -> None:
    assert {name: stored_dtype(name) for name in DTYPES} == {
        "float16": np.dtype("float16"),
        "bfloat16": np.dtype(ml_dtypes.bfloat16),
        "float32": np.dtype("float32"),
    }
    for name in ("float64", "int8", "", "f2", "Float16"):
        with pytest.raises(InputError, match="no stored dtype; use float16, bfloat16, float32"):
            stored_dtype(name)


@given(rows=hnp.arrays(np.float32, (3, 4), elements=st.floats(-60000, 60000, width=32)))
def test_cast__rounds_to_nearest(rows: NDArray[np.float32]) -> None:
    for name in DTYPES:
        stored = cast(rows, name, what="x")
        assert stored.dtype == DTYPES[name]
        assert stored.tobytes() == rows.astype(DTYPES[name]).tobytes()
        step = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-24}[name]
        slack = {"float16": 2**-25, "bfloat16": 2**-134, "float32": 0}[name]
        error = np.abs(stored.astype(np.float64) - rows.astype(np.float64))
        assert (error <= np.abs(rows) * step + slack).all()


@pytest.mark.parametrize("name", DTYPES)
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


def test_nonfinite__counts() -> None:
    for dtype in DTYPES.values():
        values = np.array([1, np.nan, np.inf, -np.inf, 0]).astype(dtype)
        assert nonfinite(values) == 3
    assert nonfinite(np.empty((0, 3), np.float16)) == 0


def test_bfloat16__is_a_zarr_type_and_others_are_not() -> None:
    assert BFloat16.from_native_dtype(DTYPES["bfloat16"]).to_native_dtype() == DTYPES["bfloat16"]
    for other in ("float16", "float32", "int16"):
        with pytest.raises(DataTypeValidationError):
            BFloat16.from_native_dtype(np.dtype(other))
    values = np.array([1.5, -0.0, np.nan]).astype(DTYPES["bfloat16"])
    array = zarr.create_array({}, data=values)
    assert np.asarray(array[:]).tobytes() == values.tobytes()
