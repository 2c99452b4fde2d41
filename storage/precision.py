"""Stored dtypes: what activations become on disk, and what does not fit.

zarr 3.1 has no bfloat16, so the data type that the Zarr v3 registry names so is registered here,
in memory as ``ml_dtypes.bfloat16``; tensorstore reads and writes the same bytes.
"""

from typing import Any, ClassVar, Literal, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from zarr.core.dtype import data_type_registry
from zarr.core.dtype.common import DataTypeValidationError
from zarr.core.dtype.npy.float import BaseFloat

from actlake.storage.errors import InputError, PrecisionError

__all__ = ["DTYPES", "cast", "nonfinite", "stored_dtype"]

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
}

EXPONENT = {"float16": np.uint16(0x7C00), "bfloat16": np.uint16(0x7F80)}
"""The bits that are all set in NaN and in infinities, and in nothing else."""
BLOCK = 1 << 17
"""Values that stay in the cache while they are looked at."""


class BFloat16(BaseFloat[Any, Any]):
    """The registered Zarr v3 data type ``bfloat16``."""

    dtype_cls = type(DTYPES["bfloat16"])
    _zarr_v3_name: ClassVar[Literal["bfloat16"]] = "bfloat16"

    @property
    def item_size(self) -> int:
        return 2

    @classmethod
    def from_native_dtype(cls, dtype: np.dtype[Any]) -> Self:
        if dtype != DTYPES["bfloat16"]:
            raise DataTypeValidationError(f"{dtype} is not bfloat16")
        return cls()

    def to_native_dtype(self) -> np.dtype[Any]:
        return DTYPES["bfloat16"]


data_type_registry.register("bfloat16", BFloat16)


def stored_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of a stored dtype's name; InputError for any other."""
    try:
        return DTYPES[name]
    except KeyError:
        raise InputError(f"{name!r} is no stored dtype; use {', '.join(DTYPES)}") from None


def nonfinite(values: NDArray[Any]) -> int:
    """How many values are NaN or infinite."""
    if values.dtype.name not in EXPONENT:
        return int(values.size - np.count_nonzero(np.isfinite(values)))
    # Several times as fast as isfinite, which has no instructions for halves.
    exponent = EXPONENT[values.dtype.name]
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint16)
    blocks = (bits[at : at + BLOCK] for at in range(0, len(bits), BLOCK))
    return sum(int(np.count_nonzero((one & exponent) == exponent)) for one in blocks)


def cast(rows: NDArray[Any], dtype: str, *, what: str) -> NDArray[Any]:
    """``rows`` in the stored ``dtype``, rounded to nearest, C-contiguous and little-endian.

    PrecisionError, naming ``what``, if a value is not finite after the cast: it overflowed, or
    the model made it so.
    """
    target = stored_dtype(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        stored = np.ascontiguousarray(rows, dtype=target)
    if lost := nonfinite(stored):
        if before := nonfinite(rows):
            raise PrecisionError(
                f"{what}: {before:,} values are NaN or infinite as the model computed them; "
                "compute in float32, or leave this site out"
            )
        raise PrecisionError(
            f"{what}: {lost:,} values do not fit {dtype}; store bfloat16 or float32 instead"
        )
    return stored
