"""Stored dtypes: what activations become on disk, what a reader has of them, and what does not fit.

In int8 a row is whole numbers from -127 to 127 and the one that they are to be multiplied with, its
scale. zarr 3.1 has no bfloat16, so the data type that the Zarr v3 registry names so is
registered here, in memory as ``ml_dtypes.bfloat16``; tensorstore reads and writes the same bytes.
"""

from typing import Any, ClassVar, Literal, Self

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from zarr.core.dtype import data_type_registry
from zarr.core.dtype.common import DataTypeValidationError
from zarr.core.dtype.npy.float import BaseFloat

from actlake.storage.errors import InputError, PrecisionError

__all__ = [
    "DTYPES",
    "SCALE",
    "RowNorms",
    "cast",
    "mean_of",
    "nonfinite",
    "quantize",
    "read_dtype",
    "restore",
    "row_norms",
    "stored_dtype",
]

DTYPES: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "int8": np.dtype(np.int8),
}
SCALE = np.dtype(np.float32)
"""Of int8."""
STEPS = np.float32(127)
"""The largest whole number of a row in int8; -128 is not used, so that x and -x are kept alike."""
SMALLEST_SCALE = np.finfo(np.float32).smallest_normal
"""Smaller ones lose digits of their own, and some processors take them for 0."""
LARGEST_SCALE = np.nextafter(np.finfo(np.float32).max / STEPS, np.float32(0))
"""127 times as much is a float32."""

EXPONENT = {"float16": np.uint16(0x7C00), "bfloat16": np.uint16(0x7F80)}
"""The bits that are all set in NaN and in infinities, and in nothing else."""
SIGN = np.uint16(0x8000)
BLOCK = 1 << 17
"""Values that stay in the cache while they are looked at."""
LEAST = 1e-25
"""Sums of squares below it have lost digits in float32; so has infinity."""


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


def read_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype of what a reader has of a stored dtype: itself, of int8 float32."""
    return SCALE if stored_dtype(name) == np.int8 else stored_dtype(name)


def nonfinite(values: NDArray[Any]) -> int:
    """How many values are NaN or infinite."""
    if values.dtype.name not in EXPONENT:
        return int(values.size - np.count_nonzero(np.isfinite(values)))
    # Several times as fast as isfinite, which has no instructions for halves: as whole numbers,
    # what is not finite is above all else of its sign, so two maxima tell of a block that has none.
    exponent = EXPONENT[values.dtype.name]
    bits = np.ascontiguousarray(values).reshape(-1).view(np.uint16)
    found = 0
    for at in range(0, len(bits), BLOCK):
        one = bits[at : at + BLOCK]
        if one.max() >= exponent | SIGN or one.view(np.int16).max() >= exponent:
            found += int(np.count_nonzero((one & exponent) == exponent))
    return found


class RowNorms:
    """Euclidean norms of finite rows that are seen some at a time; of one that is not, anything."""

    def __init__(self, rows: int) -> None:
        self.norms = np.empty(rows)
        self._room = np.empty(0, np.uint32)

    def see(self, first: int, rows: NDArray[Any]) -> None:
        """``rows``, shape (n, width), of which the first has the number ``first``."""
        step = max(1, BLOCK // max(1, rows.shape[1]))
        squares = self.norms[first : first + len(rows)]
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for at in range(0, len(rows), step):
                wide = self._widened(rows[at : at + step])
                squares[at : at + step] = np.vecdot(wide, wide)
            beyond = np.flatnonzero(~((squares > LEAST) & (squares < np.inf)))
            for at in range(0, len(beyond), step):
                some = beyond[at : at + step]
                exact = rows[some].astype(np.float64)
                squares[some] = np.vecdot(exact, exact)
        np.sqrt(squares, out=squares)

    def _widened(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """What has the magnitudes of ``values``; of halves what is good until the next call."""
        if values.dtype.name not in EXPONENT:
            return values.astype(np.float32, copy=False)
        # Faster than numpy's own casts: the bits of a half are those of a float32 whose exponent is
        # 112 less, which a multiplication puts right, of those below the smallest normal, too;
        # bfloat16 is half of a float32.
        if self._room.size < values.size:
            self._room = np.empty(values.size, np.uint32)
        bits = self._room[: values.size].reshape(values.shape)
        np.copyto(bits, values.view(np.uint16))
        bits &= np.uint32(0x7FFF)
        bits <<= np.uint32(13 if values.dtype == np.float16 else 16)
        found: NDArray[np.float32] = bits.view(np.float32)
        if values.dtype == np.float16:
            found *= np.float32(2.0**112)
        return found


def row_norms(rows: NDArray[Any]) -> NDArray[np.float64]:
    """As ``RowNorms``, of all ``rows`` at once."""
    found = RowNorms(len(rows))
    found.see(0, rows)
    return found.norms


def mean_of(norms: NDArray[np.float64]) -> float | None:
    """Their mean; None of none."""
    return float(norms.mean()) if len(norms) else None


def cast(rows: NDArray[Any], dtype: str, *, what: str) -> NDArray[Any]:
    """``rows`` in the stored ``dtype``, rounded to nearest, C-contiguous and little-endian.

    For int8 they are float32 still, which ``quantize`` takes.

    PrecisionError, naming ``what``, if a value is not finite after the cast: it overflowed, or
    the model made it so.
    """
    target = read_dtype(dtype)
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


def quantize(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Finite ``rows``, shape (rows, width), as whole numbers of the same shape, and their scales,
    shape (rows,).

    The scale is the largest magnitude of the row over 127, so that no value is further from what
    ``restore`` makes of it than half a scale. A row of zeros has scale 0; a row below 1.5e-36
    is as coarse as one of that magnitude.
    """
    whole, scale = np.empty(rows.shape, np.int8), np.empty(len(rows), SCALE)
    step = max(1, BLOCK // max(1, rows.shape[1]))
    for at in range(0, len(rows), step):
        block = rows[at : at + step]
        largest = np.maximum(block.max(axis=1), -block.min(axis=1))
        fitting = np.clip(largest / STEPS, SMALLEST_SCALE, LARGEST_SCALE)
        whole[at : at + step] = np.rint(block / fitting[:, None])
        scale[at : at + step] = np.where(largest > 0, fitting, 0)
    return whole, scale


def restore(whole: NDArray[np.int8], scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """What rows in int8 mean, shape (rows, width); NaN where the scale is."""
    return np.multiply(whole, scale[:, None])
