"""Sparse feature values of consecutive rows, as compressed sparse rows."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Csr:
    """Values > 0 of ``rows`` consecutive rows over ``n_features`` features.

    Row i holds features ``indices[indptr[i]:indptr[i+1]]``, ascending and without repeats, with
    ``values`` of the same positions. A feature fires on a row where a value is stored.
    """

    indptr: NDArray[np.int64]
    """Shape (rows + 1,), from 0 to nnz, never falling."""
    indices: NDArray[np.unsignedinteger[Any]]
    """Shape (nnz,), features in [0, n_features): uint16 up to 65,536 features, else uint32."""
    values: NDArray[np.floating[Any]]
    """Shape (nnz,), float16 or float32, finite and > 0."""
    n_features: int

    @property
    def rows(self) -> int:
        return len(self.indptr) - 1

    @property
    def nnz(self) -> int:
        return len(self.indices)

    def row_of_value(self) -> NDArray[np.int64]:
        """The row, counted from 0, of each stored value; shape (nnz,)."""
        return np.repeat(np.arange(self.rows), np.diff(self.indptr))

    def keep(self, mask: NDArray[np.bool_]) -> Self:
        """The rows where ``mask``, shape (rows,), is true, in order."""
        lengths = np.diff(self.indptr)
        stored = np.repeat(mask, lengths)
        indptr = np.concatenate(([0], np.cumsum(lengths[mask])))
        return type(self)(indptr, self.indices[stored], self.values[stored], self.n_features)

    def without(self, rows: NDArray[np.bool_]) -> Self:
        """The same rows, and no values where ``rows``, shape (rows,), is true."""
        lengths = np.diff(self.indptr)
        stored = np.repeat(~rows, lengths)
        indptr = np.concatenate(([0], np.cumsum(np.where(rows, 0, lengths))))
        return type(self)(indptr, self.indices[stored], self.values[stored], self.n_features)

    def dense(self) -> NDArray[np.float32]:
        """Shape (rows, n_features), zero where nothing fires. For small blocks and tests."""
        block = np.zeros((self.rows, self.n_features), np.float32)
        block[self.row_of_value(), self.indices] = self.values
        return block


def ranges(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """The whole numbers of each half-open range, one range after the other."""
    lengths = last - first
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers: NDArray[np.int64] = np.arange(total) + np.repeat(first - (ends - lengths), lengths)
    return numbers


INDPTR = np.dtype(np.uint32)
"""Of the row starts as stored: a shard has at most 2^25 rows, so its values are fewer than 2^32
unless rows hold hundreds each, and wide codes have far smaller shards."""


def fault_of(block: Csr) -> str | None:
    """What keeps ``block`` from being what ``Csr`` says, its values apart; None if nothing does."""
    indptr, indices = block.indptr.astype(np.int64), block.indices.astype(np.int64)
    if len(indices) != len(block.values):
        return f"it has {len(indices):,} features and {len(block.values):,} values"
    if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
        return f"its row starts do not rise from 0 to its {len(indices):,} values"
    if len(indices) > np.iinfo(INDPTR).max:
        return f"it has {len(indices):,} values, too many for one shard"
    if len(indices) and not 0 <= indices.min() <= indices.max() < block.n_features:
        return f"it names a feature outside 0 to {block.n_features - 1}"
    same_row = np.diff(block.row_of_value()) == 0
    if (np.diff(indices)[same_row] <= 0).any():
        return "the features of a row do not ascend"
    return None


def index_dtype(n_features: int) -> np.dtype[Any]:
    """The narrowest unsigned dtype that codes use for a feature number."""
    return np.dtype(np.uint16 if n_features <= 1 << 16 else np.uint32)


def csr_from_dense(block: NDArray[np.floating[Any]], *, dtype: str = "float32") -> Csr:
    """The positive entries of ``block``, shape (rows, features), as ``dtype``; others are dropped.

    Positive means positive after the cast: what underflows to zero does not fire.
    """
    cast = block.astype(dtype)
    rows, columns = np.nonzero(cast > 0)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(block)))))
    indices = columns.astype(index_dtype(block.shape[1]))
    return Csr(indptr.astype(np.int64), indices, cast[rows, columns], block.shape[1])
