"""In which sources each feature fires, and how unevenly for how long they are."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import sum_by_key
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack

WIDEST = 1 << 32
"""More than there are sources, so that feature and source fit one 64-bit key."""


@dataclass(frozen=True, slots=True)
class FeatureSources:
    """Firings by feature and source, and the rows of each source under the mask.

    A source is what documents were taken from: an author, a book, a site. Takes a number for each
    feature and source in which it fires.
    """

    n_features: int
    feature: Ints
    """Shape (pairs,), ascending; with ``source`` the key."""
    source: Ints
    count: Ints
    """Firing rows, > 0."""
    seen: Ints
    """Sources with a row under the mask, ascending."""
    seen_rows: Ints

    @classmethod
    def empty(cls, n_features: int) -> Self:
        return cls(n_features, *(np.zeros(0, np.int64) for _ in range(5)))

    @classmethod
    def of(cls, postings: Postings, *, source: NDArray[np.integer[Any]]) -> Self:
        """``source`` of each row of the block, shape (rows,); negative for a row of none."""
        found = postings.by(source)
        pairs = (found.feature, found.group, found.count)
        return cls(postings.n_features, *pairs, found.seen, found.seen_rows)

    def merge(self, other: Self) -> Self:
        require_same("n_features", self.n_features, other.n_features)
        keys, (count,) = sum_by_key(
            np.concatenate((self._keys(), other._keys())), np.concatenate((self.count, other.count))
        )
        seen, (rows,) = sum_by_key(
            np.concatenate((self.seen, other.seen)),
            np.concatenate((self.seen_rows, other.seen_rows)),
        )
        return type(self)(self.n_features, keys // WIDEST, keys % WIDEST, count, seen, rows)

    def renumbered(self, number: Ints) -> Self:
        """The same, with ``number[i]`` in the place of source i; no two get the same one."""
        pairs, seen = number[self.source], number[self.seen]
        order, of_seen = np.lexsort((pairs, self.feature)), np.argsort(seen)
        return type(self)(
            self.n_features,
            self.feature[order],
            pairs[order],
            self.count[order],
            seen[of_seen],
            self.seen_rows[of_seen],
        )

    def _keys(self) -> Ints:
        return self.feature * WIDEST + self.source

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_statistics, each of shape (n_features,).

        ``n_sources`` with a row under the mask; ``n_sources_fires``, those in which the feature
        fires; ``gini_sources``: the Gini coefficient of its firing rows against the rows of each
        source, 0 where it fires at one rate in all of them, however long each is, near 1 where it
        fires in a small part of the rows alone; NaN if it never fires.

        Source: Gini (1912), "Variabilità e mutabilità", with rows as the weights.
        """
        n_rows = max(int(self.seen_rows.sum()), 1)
        rows = self.seen_rows[np.searchsorted(self.seen, self.source)]
        # From the lowest rate up, sources where it is silent having come before.
        order = np.lexsort((self.source, self.count / rows, self.feature))
        feature, count, rows = self.feature[order], self.count[order], rows[order]
        fires = np.bincount(feature, weights=count, minlength=self.n_features)
        so_far = np.cumsum(count)
        so_far -= (np.cumsum(fires) - fires)[feature].astype(np.int64)
        # Twice the area below the curve of firings against rows, both as shares.
        area = np.bincount(feature, rows * (2.0 * so_far - count), self.n_features)
        with np.errstate(invalid="ignore", divide="ignore"):
            gini = 1 - area / (n_rows * fires)
        return {
            "n_sources": np.full(self.n_features, len(self.seen), np.int64),
            "n_sources_fires": np.bincount(feature, minlength=self.n_features),
            "gini_sources": np.where(fires > 0, np.maximum(gini, 0), np.nan),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
