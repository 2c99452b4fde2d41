"""How often each level of each feature meets each value of a label, stratum by stratum."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import sum_by_key
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]

WIDEST = 1 << 18
"""Values of a label, and strata, at most; with ``MOST_LEVELS`` all fit one 64-bit key."""
MOST_LEVELS = 1 << 27
"""Levels of all features together, the silent ones apart."""


@dataclass(frozen=True, slots=True)
class ContingencyTables:
    """Units by level of a feature, value of a label and stratum, for every feature.

    A unit is a row of the codes that are given: a token, or a document that was pooled. Level 0 is
    silent, 1 firing with a value up to the first edge, and so on. Only levels above 0 are held, and
    of them only cells that are not empty, 40 bytes each: silent units are those of the value less
    those on which the feature fires. ``contingency_scores.py`` says what the tables tell.
    """

    edges: Floats
    """Shape (n_features, cuts), rising along each row: what a value must be above to be of the next
    level. NaN is above everything."""
    feature: Ints
    """Shape (cells,), ascending; with ``level``, ``stratum`` and ``label``, in this order, the
    key."""
    level: Ints
    """1 and above."""
    stratum: Ints
    label: Ints
    count: Ints
    """Units, > 0."""
    seen_stratum: Ints
    """Pairs of a stratum and a value of which there is a unit, firing or not; ascending."""
    seen_label: Ints
    seen_rows: Ints

    @classmethod
    def empty(cls, n_features: int, edges: Floats | None = None) -> Self:
        """Without ``edges`` a feature fires or is silent, and there are no other levels.

        Raises InputError for edges that fall, or that are not one row a feature.
        """
        cuts = _checked(n_features, edges)
        return cls(cuts, *(np.zeros(0, np.int64) for _ in range(8)))

    @classmethod
    def of(
        cls,
        postings: Postings,
        *,
        label: NDArray[np.integer[Any]],
        stratum: NDArray[np.integer[Any]] | None = None,
        edges: Floats | None = None,
    ) -> Self:
        """Tables of a block; ``label`` and ``stratum`` number what each of its rows has.

        Both have shape (rows of the block,), and are negative for a row that has none: it counts
        nowhere. Without ``stratum`` all rows are of stratum 0. A unit has one value: what may have
        several, as spans give it, is a table for each. Raises InputError for more than ``WIDEST``
        values or strata.
        """
        cuts = _checked(postings.n_features, edges)
        strata = np.zeros(len(label), np.int64) if stratum is None else stratum.astype(np.int64)
        if max(label.max(initial=0), strata.max(initial=0)) >= WIDEST:
            raise InputError(
                f"a table has at most {WIDEST:,} values and as many strata; number those that are "
                "there from 0, or leave out what is rare"
            )
        of_row = np.where((label < 0) | (strata < 0), -1, strata * WIDEST + label)
        found = _by_level(postings, cuts).by(of_row)
        cells = (*np.divmod(found.feature, cuts.shape[1] + 1), *np.divmod(found.group, WIDEST))
        feature, level, of_stratum, of_label = cells
        seen = (*np.divmod(found.seen, WIDEST), found.seen_rows)
        return cls(cuts, feature, level + 1, of_stratum, of_label, found.count, *seen)

    def merge(self, other: Self) -> Self:
        return self.merge_all((self, other))

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        first = states[0]
        for other in states[1:]:
            require_same("n_features", first.n_features, other.n_features)
            if not np.array_equal(first.edges, other.edges, equal_nan=True):
                raise InputError(
                    "states whose levels have different edges do not merge; make both with the same"
                )
        return cls._summed(
            first.edges,
            np.concatenate([one._keys() for one in states]),
            np.concatenate([one.count for one in states]),
            np.concatenate([one.seen_stratum * WIDEST + one.seen_label for one in states]),
            np.concatenate([one.seen_rows for one in states]),
        )

    @classmethod
    def _summed(cls, edges: Floats, keys: Ints, count: Ints, seen: Ints, rows: Ints) -> Self:
        keys, (count,) = sum_by_key(keys, count)
        seen, (rows,) = sum_by_key(seen, rows)
        columns, groups = np.divmod(keys, WIDEST * WIDEST)
        feature, level = np.divmod(columns, edges.shape[1] + 1)
        pairs, sides = np.divmod(groups, WIDEST), np.divmod(seen, WIDEST)
        return cls(edges, feature, level + 1, *pairs, count, *sides, rows)

    def _keys(self) -> Ints:
        column = self.feature * (self.levels - 1) + self.level - 1
        return (column * WIDEST + self.stratum) * WIDEST + self.label

    @property
    def n_features(self) -> int:
        return len(self.edges)

    @property
    def levels(self) -> int:
        """The silent one with them."""
        return int(self.edges.shape[1]) + 2

    def over_all(self) -> Self:
        """The tables of all strata together, as stratum 0."""
        keys = self._keys()
        keys -= self.stratum * WIDEST
        return self._summed(self.edges, keys, self.count, self.seen_label, self.seen_rows)

    def dense(self, features: NDArray[np.integer[Any]]) -> tuple[Ints, Ints, Ints]:
        """Full tables of some features, with their strata and values, both ascending.

        Shapes (features, strata, levels, values), (strata,) and (values,); ``features`` are
        distinct. 8 bytes a cell, empty or not: for a few features.
        """
        strata, of_stratum = np.unique(self.seen_stratum, return_inverse=True)
        labels, of_label = np.unique(self.seen_label, return_inverse=True)
        place = np.full(self.n_features, -1)
        place[features] = np.arange(len(features))
        some = np.flatnonzero(place[self.feature] >= 0)
        found = np.zeros((len(features), len(strata), self.levels, len(labels)), np.int64)
        at = np.searchsorted(strata, self.stratum[some]), np.searchsorted(labels, self.label[some])
        found[place[self.feature[some]], at[0], self.level[some], at[1]] = self.count[some]
        units = np.zeros((len(strata), len(labels)), np.int64)
        units[of_stratum, of_label] = self.seen_rows
        found[:, :, 0] = units - found.sum(axis=2)
        return found, strata, labels

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _checked(n_features: int, edges: Floats | None) -> Floats:
    cuts = np.zeros((n_features, 0)) if edges is None else np.asarray(edges, np.float64)
    if cuts.ndim != 2 or len(cuts) != n_features:
        raise InputError(
            f"edges of shape {cuts.shape} do not cut {n_features:,} features; give one row of them "
            "a feature"
        )
    if (np.diff(cuts, axis=1) < 0).any():
        raise InputError("the edges of a feature fall; give each row of them in rising order")
    if n_features * (cuts.shape[1] + 1) > MOST_LEVELS:
        raise InputError(
            f"{cuts.shape[1] + 2} levels of {n_features:,} features are too many to count; "
            "give fewer edges, or fewer features"
        )
    return cuts


def _by_level(postings: Postings, edges: Floats) -> Postings:
    """The same values, as if each level above 0 of each feature were a feature."""
    codes, firing = postings.codes, edges.shape[1] + 1
    if firing == 1:
        return postings
    column = codes.indices.astype(np.uint32) * np.uint32(firing)
    for edge in edges.T:
        column += codes.values > edge[codes.indices]
    wide = Csr(codes.indptr, column, codes.values, codes.n_features * firing)
    return Postings(wide, postings.kept)
