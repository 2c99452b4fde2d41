"""The stored values of a block under a mask, feature by feature: ordered once, for every state."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.storage.csr import Csr

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Groups:
    """What the values of a block are, by feature and by a group of rows."""

    feature: Ints
    """Shape (pairs,), ascending; with ``group`` the key."""
    group: Ints
    count: Ints
    """Rows of the group on which the feature fires, > 0."""
    value_sum: NDArray[np.float64]
    seen: Ints
    """Groups that have a row under the mask, ascending; shape (groups,)."""
    seen_rows: Ints
    """Rows of each under the mask, firing or not."""


@dataclass(frozen=True)  # without slots: the orders are kept once they are made
class Postings:
    """The values of the rows of a block that are under a mask, ordered by feature, then by row.

    Every order is made by counting, so it costs time linear in the values and the features.
    """

    codes: Csr
    """The rows under the mask."""
    kept: Ints
    """Which rows of the block those are, ascending; shape (rows under the mask,)."""

    @classmethod
    def of(cls, codes: Csr, mask: NDArray[np.bool_]) -> Self:
        """Of the rows of ``codes`` where ``mask``, shape (rows,), is true."""
        return cls(codes if mask.all() else codes.keep(mask), np.flatnonzero(mask))

    def prepare(self) -> None:
        """Make what most states share, before several threads ask for it."""
        self.starts, self.feature, self.rising, self._matrix  # noqa: B018 - kept once they are made

    @property
    def n_rows(self) -> int:
        """Rows under the mask, firing or not."""
        return self.codes.rows

    @property
    def n_features(self) -> int:
        return self.codes.n_features

    @property
    def nnz(self) -> int:
        return self.codes.nnz

    @cached_property
    def starts(self) -> Ints:
        """Where each feature's values start in any order by feature; shape (n_features + 1,)."""
        count = np.bincount(self.codes.indices, minlength=self.n_features)
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(count)))

    @property
    def count(self) -> Ints:
        """Values of each feature, shape (n_features,)."""
        return np.diff(self.starts)

    @cached_property
    def feature(self) -> NDArray[np.int32]:
        """Of each value in any order by feature; shape (nnz,), ascending."""
        return np.repeat(np.arange(self.n_features, dtype=np.int32), self.count)

    @cached_property
    def value(self) -> NDArray[np.float32]:
        """In order of feature, then row."""
        values: NDArray[np.float32] = self._matrix.tocsc().data
        return values

    @cached_property
    def rising(self) -> NDArray[np.float32]:
        """The values of each feature, smallest first."""
        # The bits of positive float32 numbers rise with the numbers, so one key orders both.
        bits = self.codes.values.astype(np.float32).view(np.uint32)
        keys = (self.codes.indices.astype(np.uint64) << np.uint64(32)) | bits
        keys.sort()
        return keys.astype(np.uint32).view(np.float32)

    def at_least(self, k: int) -> NDArray[np.float32]:
        """The ``k``-th largest value of each feature, or its smallest; +inf where none fires."""
        stop = self.starts[1:]
        found = np.full(self.n_features, np.inf, np.float32)
        fires = self.count > 0
        found[fires] = self.rising[(stop - np.minimum(self.count, k))[fires]]
        return found

    def in_order(self, rows: Ints) -> tuple[Ints, NDArray[np.float32]]:
        """Rows under the mask, and values, by feature and then as in ``rows``; shapes (n,).

        ``rows`` are distinct places among the rows under the mask; values of others are left out.
        """
        ordered = self._matrix[rows].tocsc()
        return rows[ordered.indices], ordered.data

    def by(self, group: NDArray[np.integer[Any]]) -> Groups:
        """Counts and sums by feature and group of rows.

        ``group``, shape (rows of the block,), is >= 0, or negative where a row has none: such rows
        are as if not under the mask.
        """
        of_row = group[self.kept].astype(np.int64)
        seen, place, seen_rows = np.unique(
            of_row[of_row >= 0], return_inverse=True, return_counts=True
        )
        rows = np.flatnonzero(of_row >= 0)
        order = np.argsort(place, kind="stable")
        matrix = self._matrix[rows[order]].tocsc()
        place_of_value = place[order][matrix.indices].astype(np.int64)
        count = np.diff(matrix.indptr)
        feature = np.repeat(np.arange(self.n_features), count)
        changes = np.diff(place_of_value, prepend=-1) != 0
        changes[matrix.indptr[:-1][count > 0]] = True
        starts = np.flatnonzero(changes)
        sums = np.add.reduceat(matrix.data.astype(np.float64), starts) if len(starts) else None
        return Groups(
            feature[starts],
            seen[place_of_value[starts]],
            np.diff(starts, append=len(feature)),
            np.zeros(0) if sums is None else sums,
            seen,
            seen_rows,
        )

    @cached_property
    def _matrix(self) -> "scipy.sparse.csr_array[np.float32, tuple[int, int]]":
        codes = self.codes
        values, indices = codes.values.astype(np.float32), codes.indices.astype(np.int32)
        shape = (codes.rows, codes.n_features)
        # Block by block there are far fewer than 2^31 values, and narrow indices halve the time.
        return scipy.sparse.csr_array((values, indices, codes.indptr.astype(np.int32)), shape=shape)
