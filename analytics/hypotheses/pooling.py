"""Feature values of documents, made from those of their rows."""

from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.features.grouping import distinct, stable_order
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
    """Sum, maximum and number of firing rows of each feature over the kept rows of each document.

    One state serves every pooling. A block may begin and end inside a document. Takes 32 bytes a
    pair of a document and a feature that fires in it; documents without kept rows take nothing.
    """

    documents: int
    n_features: int
    key: NDArray[np.int64]
    """document × n_features + feature, ascending and without repeats; shape (pairs,)."""
    total: NDArray[np.float64]
    largest: NDArray[np.float64]
    count: NDArray[np.int64]
    """Rows on which the feature fires."""
    document: NDArray[np.int64]
    """Those with kept rows, ascending."""
    rows: NDArray[np.int64]
    """Kept rows of each of ``document``, firing or not."""

    @classmethod
    def empty(cls, documents: int, n_features: int) -> Self:
        none, nothing = np.zeros(0), np.zeros(0, np.int64)
        return cls(documents, n_features, nothing, none, none, nothing, nothing, nothing)

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
        once = np.ones(len(key), np.int64)
        pairs = _reduced(key, values, values, once)
        seen = distinct(of_row)
        rows = np.bincount(np.searchsorted(seen, of_row), minlength=len(seen))
        return cls(documents, codes.n_features, *pairs, seen, rows)

    def merge(self, other: Self) -> Self:
        require_same("documents", self.documents, other.documents)
        require_same("n_features", self.n_features, other.n_features)
        start, stop = len(self.key), 0
        if len(self.key) and len(other.key):
            # Shards share the document that they meet in, so little has to be sorted.
            start = int(np.searchsorted(self.key, other.key[0]))
            stop = int(np.searchsorted(other.key, self.key[-1], "right"))
        ends = [*zip(self._pairs, other._pairs, strict=True)]
        shared = _reduced(*(np.concatenate((one[start:], two[:stop])) for one, two in ends))
        key, total, largest, count = (
            np.concatenate((one[:start], both, two[stop:]))
            for (one, two), both in zip(ends, shared, strict=True)
        )
        document, place = np.unique(
            np.concatenate((self.document, other.document)), return_inverse=True
        )
        rows = np.zeros(len(document), np.int64)
        np.add.at(rows, place, np.concatenate((self.rows, other.rows)))
        pairs = key, total, largest, count
        return type(self)(self.documents, self.n_features, *pairs, document, rows)

    @property
    def _pairs(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        return self.key, self.total, self.largest, self.count

    def finish(self, how: str) -> Pooled:
        """Documents by features: ``max``, ``mean`` or ``sum`` over kept rows, or 1 for ``any``.

        A mean counts the rows where the feature is silent as zeros. A sum grows with the length of
        the document: give ``rows`` as a control wherever sums, maxima or ``any`` are compared.
        Raises InputError for another pooling.
        """
        match how:
            case "max":
                values = self.largest
            case "mean":
                values = self.total / self._rows()[self.key // self.n_features]
            case "sum":
                values = self.total
            case "any":
                values = np.ones(len(self.key))
            case _:
                raise InputError(f"no pooling {how!r}; choose one of {', '.join(POOLINGS)}")
        return self._pooled(values)

    def fires(self) -> Pooled:
        """Documents by features: the number of kept rows on which a feature fires."""
        return self._pooled(self.count.astype(np.float64))

    def _rows(self) -> NDArray[np.int64]:
        rows = np.zeros(self.documents, np.int64)
        rows[self.document] = self.rows
        return rows

    def _pooled(self, values: NDArray[np.float64]) -> Pooled:
        document, feature = np.divmod(self.key, self.n_features)
        starts = np.searchsorted(document, np.arange(self.documents + 1))
        shape = (self.documents, self.n_features)
        return Pooled(scipy.sparse.csr_array((values, feature, starts), shape=shape), self._rows())

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


def _reduced(
    key: NDArray[np.int64],
    total: NDArray[np.float64],
    largest: NDArray[np.float64],
    count: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Distinct keys, ascending, with the sums of ``total`` and ``count`` and the maximum of
    ``largest``."""
    order = stable_order(key)
    key, total, largest, count = key[order], total[order], largest[order], count[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))  # keys are never negative
    add = np.add.reduceat
    return key[starts], add(total, starts), np.maximum.reduceat(largest, starts), add(count, starts)
