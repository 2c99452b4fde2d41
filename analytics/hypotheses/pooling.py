"""Feature values of documents, made from those of their rows."""

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

Matrix: TypeAlias = "scipy.sparse.csr_array[np.float64, tuple[int, int]]"
"""Shape (documents, features), float64, no zeros stored: a feature fires where a value is."""

POOLINGS = ("max", "mean", "sum", "any")


@dataclass(frozen=True, slots=True)
class Pooled:
    """One value a document and feature."""

    values: Matrix
    """All > 0; a document without kept rows holds nothing."""
    rows: NDArray[np.int64]
    """Kept rows of each document, shape (documents,): its length, and the denominator of means."""


@dataclass(frozen=True, slots=True)
class DocumentPool:
    """Sum and maximum of each feature over the kept rows of each document.

    One state serves every pooling. A block may begin and end inside a document. Takes 24 bytes a
    pair of a document and a feature that fires in it.
    """

    documents: int
    n_features: int
    key: NDArray[np.int64]
    """document × n_features + feature, ascending and without repeats; shape (pairs,)."""
    total: NDArray[np.float64]
    largest: NDArray[np.float64]
    rows: NDArray[np.int64]
    """Kept rows of each document, firing or not; shape (documents,)."""

    @classmethod
    def empty(cls, documents: int, n_features: int) -> Self:
        none = np.zeros(0)
        key = np.zeros(0, np.int64)
        return cls(documents, n_features, key, none, none, np.zeros(documents, np.int64))

    @classmethod
    def of(
        cls,
        codes: Csr,
        document: NDArray[np.integer[Any]],
        keep: NDArray[np.bool_],
        *,
        documents: int,
    ) -> Self:
        """The state of a block, of whose rows those where ``keep`` is true count.

        ``document``, shape (rows,), numbers the document of each row, from 0 to ``documents`` - 1.
        """
        kept, of_row = codes.keep(keep), document[keep].astype(np.int64)
        key = of_row[kept.row_of_value()] * codes.n_features + kept.indices
        values = kept.values.astype(np.float64)
        rows = np.bincount(of_row, minlength=documents)
        return cls(documents, codes.n_features, *_reduce(key, values, values), rows)

    def merge(self, other: Self) -> Self:
        require_same("documents", self.documents, other.documents)
        require_same("n_features", self.n_features, other.n_features)
        both = _reduce(
            np.concatenate((self.key, other.key)),
            np.concatenate((self.total, other.total)),
            np.concatenate((self.largest, other.largest)),
        )
        return type(self)(self.documents, self.n_features, *both, self.rows + other.rows)

    def finish(self, how: str) -> Pooled:
        """Documents by features: ``max``, ``mean`` or ``sum`` over kept rows, or 1 for ``any``.

        A mean counts the rows where the feature is silent as zeros. A sum grows with the length of
        the document: give ``rows`` as a control wherever sums, maxima or ``any`` are compared.
        Raises InputError for another pooling.
        """
        document, feature = np.divmod(self.key, self.n_features)
        match how:
            case "max":
                values = self.largest
            case "mean":
                values = self.total / self.rows[document]
            case "sum":
                values = self.total
            case "any":
                values = np.ones(len(self.key))
            case _:
                raise InputError(f"no pooling {how!r}; choose one of {', '.join(POOLINGS)}")
        starts = np.searchsorted(document, np.arange(self.documents + 1))
        shape = (self.documents, self.n_features)
        return Pooled(scipy.sparse.csr_array((values, feature, starts), shape=shape), self.rows)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def pool_documents(
    codes: Csr,
    document: NDArray[np.integer[Any]],
    keep: NDArray[np.bool_],
    *,
    documents: int,
    how: str,
) -> Pooled:
    """``DocumentPool`` of one block, finished."""
    return DocumentPool.of(codes, document, keep, documents=documents).finish(how)


def _reduce(
    key: NDArray[np.int64], total: NDArray[np.float64], largest: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Distinct keys, ascending, with the sum of ``total`` and the maximum of ``largest``."""
    order = np.argsort(key, kind="stable")
    key, total, largest = key[order], total[order], largest[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))  # keys are never negative
    return key[starts], np.add.reduceat(total, starts), np.maximum.reduceat(largest, starts)
