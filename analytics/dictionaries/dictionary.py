"""What every dictionary is once learned: a few matrices, how codes are selected, and how made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.dictionaries.selection import largest_positive
from actlake.storage.csr import Csr, index_dtype
from actlake.storage.errors import InputError, PrecisionError

Scalar = str | int | float | bool | None
BLOCK_VALUES = 1 << 24
"""Pre-activations held at once while encoding: 64 MiB of float32."""


@dataclass(frozen=True, slots=True)
class Dictionary:
    """An encoder and a decoder between rows, shape (rows, width), and sparse codes.

    Codes are ``max(0, (x - b_dec) W_enc + b_enc)``, of which a row keeps those above ``threshold``
    where there is one, else its ``k`` largest; a row is rebuilt as ``codes W_dec + b_dec``. Without
    ``W_enc`` feature j is unit j. Codes and rows are in the units of the tensor: whatever scaling
    a method trains under is folded into its arrays.
    """

    method: str
    config: Mapping[str, Scalar]
    """JSON-able; has n_features, width, k, and every hyper-parameter of the method."""
    arrays: Mapping[str, NDArray[np.float32]]
    """W_enc (width, n_features), b_enc (n_features,), W_dec (n_features, width), b_dec (width,),
    threshold (1,) if selection is by threshold; empty for the identity."""

    def __post_init__(self) -> None:
        require_sizes(self.n_features, self.k)
        shapes = {
            "W_enc": (self.width, self.n_features),
            "b_enc": (self.n_features,),
            "W_dec": (self.n_features, self.width),
            "b_dec": (self.width,),
            "threshold": (1,),
        }
        for name, array in self.arrays.items():
            if shapes.get(name) != array.shape:
                raise InputError(
                    f"array {name} of a {self.method} dictionary has shape {array.shape}; "
                    f"n_features {self.n_features} and width {self.width} ask for "
                    f"{shapes.get(name, 'no such array')}"
                )

    @property
    def n_features(self) -> int:
        return self._size("n_features")

    @property
    def width(self) -> int:
        return self._size("width")

    @property
    def k(self) -> int:
        """Codes kept a row, at most; the target mean where selection is by threshold."""
        return self._size("k")

    def _size(self, name: str) -> int:
        value = self.config.get(name)
        if not isinstance(value, int):
            raise InputError(
                f"the config of a {self.method} dictionary has no whole number {name}; give it one"
            )
        return value

    def encode(self, rows: NDArray[Any], dtype: str = "float32") -> Csr:
        """Codes of ``rows``, shape (rows, width), with values of ``dtype``, float16 or float32.

        Stored values are > 0 after the cast. Rows are encoded in blocks cut from the first row on,
        so the same rows, libraries and threads give the same bits. Needs at most 256 MiB beside
        the rows and the result.

        Raises InputError for rows of another width or with a value that is not finite, and
        PrecisionError where ``dtype`` cannot hold a code.
        """
        return encoded(self, rows, dtype, self._encode_block)

    def _encode_block(self, x: NDArray[np.float32]) -> "Block":
        if "W_enc" in self.arrays:
            x = np.matmul(x - self.arrays["b_dec"], self.arrays["W_enc"])
            x += self.arrays["b_enc"]
        if "threshold" in self.arrays:
            mask = x > self.arrays["threshold"]  # values <= 0 go with the cast
        else:
            mask = largest_positive(x, self.k)
        row, feature = np.nonzero(mask)
        length = np.bincount(row, minlength=len(x))
        return length, feature.astype(index_dtype(self.n_features)), x[row, feature]

    def decode(self, codes: Csr) -> NDArray[np.float32]:
        """Rows rebuilt from ``codes``, shape (rows, width).

        Raises InputError for codes over another number of features.
        """
        if codes.n_features != self.n_features:
            raise InputError(
                f"codes have {codes.n_features} features and the {self.method} dictionary has "
                f"{self.n_features}; decode with the dictionary that made them"
            )
        values = codes.values.astype(np.float32)
        if "W_dec" not in self.arrays:
            rows = np.zeros((codes.rows, self.width), np.float32)
            rows[codes.row_of_value(), codes.indices] = values
            return rows
        shape = (codes.rows, self.n_features)
        columns = codes.indices.astype(np.int64)
        sparse = scipy.sparse.csr_array((values, columns, codes.indptr), shape=shape)
        rebuilt: NDArray[np.float32] = sparse @ self.arrays["W_dec"]
        return rebuilt + self.arrays["b_dec"]


Block = tuple[NDArray[np.int64], NDArray[np.unsignedinteger[Any]], NDArray[np.float32]]
"""Codes of some rows: how many each has, then features, ascending within a row, and values."""


def encoded(
    dictionary: Dictionary,
    rows: NDArray[Any],
    dtype: str,
    encode_block: Callable[[NDArray[np.float32]], Block],
    blocks: int = 1,
) -> Csr:
    """``Dictionary.encode``, by whatever encodes finite rows, ``blocks`` times BLOCK_VALUES at a
    time."""
    if rows.ndim != 2 or rows.shape[1] != dictionary.width:
        raise InputError(
            f"rows have shape {rows.shape} and the {dictionary.method} dictionary has width "
            f"{dictionary.width}; encode the tensor that it was trained on, or one of that width"
        )
    block_rows = max(1, blocks * BLOCK_VALUES // dictionary.n_features)
    lengths, indices, values = [np.zeros(1, np.int64)], [], []
    for start in range(0, len(rows), block_rows):
        x: NDArray[np.float32] = rows[start : start + block_rows].astype(np.float32)
        finite = np.isfinite(x).all(axis=1)
        if not finite.all():
            raise InputError(
                f"row {start + int(np.argmin(finite))} of the block holds a value that is not "
                "finite; extract it again in a wider dtype, or mask it out"
            )
        length, index, value = encode_block(x)
        with np.errstate(over="ignore"):
            cast = value.astype(dtype)
        if not np.isfinite(cast).all():
            raise PrecisionError(
                f"a code of {value.max():.6g} does not fit {dtype}; encode with dtype float32"
            )
        kept = cast > 0
        row = np.repeat(np.arange(len(length)), length)[kept]
        lengths.append(np.bincount(row, minlength=len(length)))
        indices.append(index[kept])
        values.append(cast[kept])
    narrow = index_dtype(dictionary.n_features)
    return Csr(
        np.cumsum(np.concatenate(lengths)),
        np.concatenate([np.zeros(0, narrow), *indices]),
        np.concatenate([np.zeros(0, dtype), *values]),
        dictionary.n_features,
    )


def require_sizes(n_features: int, k: int) -> None:
    """Raise InputError unless 1 <= k <= n_features."""
    if n_features < 1:
        raise InputError(f"n_features is {n_features}; a dictionary has at least 1 feature")
    if k < 1:
        raise InputError(f"k is {k}; keep at least 1 feature a row")
    if k > n_features:
        raise InputError(
            f"k is {k} and the dictionary has {n_features} features; lower k or raise n_features"
        )
