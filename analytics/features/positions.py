"""Where in its document each feature fires, beside how many rows there were to fire on."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.entropy import divergence
from actlake.analytics.features.grouping import sum_by_key
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack

BINS = 64
"""More than there are: positions are 32-bit."""


def position_bins(position: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """0 for position 0, and b for positions [2^(b-1), 2^b): binary digits of the position."""
    return np.frexp(position.astype(np.float64))[1].astype(np.int64)


def bin_starts(bins: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """The first position of each of ``bins``, and the one after its last."""
    wide = bins.astype(np.int64)
    return np.where(wide > 0, 1 << np.maximum(wide - 1, 0), 0), 1 << wide


@dataclass(frozen=True, slots=True)
class FeaturePositions:
    """Firings by feature and bin of position, and the rows of each bin under the mask.

    Bins double in length, so the beginning of a document, where most features that are about
    position fire, is told apart row by row.
    """

    n_features: int
    feature: Ints
    """Shape (pairs,), ascending; with ``bin`` the key."""
    bin: Ints
    count: Ints
    """Firing rows, > 0."""
    seen_bin: Ints
    """Bins with a row under the mask, ascending."""
    seen_rows: Ints

    @classmethod
    def empty(cls, n_features: int) -> Self:
        return cls(n_features, *(np.zeros(0, np.int64) for _ in range(5)))

    @classmethod
    def of(cls, postings: Postings, *, position: NDArray[np.integer[Any]]) -> Self:
        """``position`` >= 0 of each row of the block in its document, shape (rows,)."""
        found = postings.by(position_bins(position))
        pairs = (found.feature, found.group, found.count)
        return cls(postings.n_features, *pairs, found.seen, found.seen_rows)

    def merge(self, other: Self) -> Self:
        require_same("n_features", self.n_features, other.n_features)
        keys, (count,) = sum_by_key(
            np.concatenate((self.feature * BINS + self.bin, other.feature * BINS + other.bin)),
            np.concatenate((self.count, other.count)),
        )
        seen, (rows,) = sum_by_key(
            np.concatenate((self.seen_bin, other.seen_bin)),
            np.concatenate((self.seen_rows, other.seen_rows)),
        )
        return type(self)(self.n_features, keys // BINS, keys % BINS, count, seen, rows)

    def table(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_positions: one row a feature and bin in which it fires."""
        start, stop = bin_starts(self.bin)
        return {
            "feature": self.feature,
            "position_start": start,
            "position_stop": stop,
            "n_rows": self._exposure(),
            "n_fires": self.count,
        }

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_profiles, each of shape (n_features,); NaN if it never fires.

        ``position_bits``: divergence of the bins of firing rows from those of all rows, in bits,
        without its bias. ``position_lift``: the largest ratio of firings in a bin to what the
        bin's rows let expect, (firings + 1) / (expected + 1), which few firings leave near 1;
        ``position_peak``: the first position of that bin; ``position_peak_share``: the share of
        the firings that lie in it.
        """
        exposure, rows = self._exposure(), max(int(self.seen_rows.sum()), 1)
        fires = np.bincount(self.feature, weights=self.count, minlength=self.n_features)
        bits = divergence(self.feature, self.count, exposure / rows, self.n_features)
        expected = fires[self.feature] * exposure / rows
        lift = (self.count + 1) / (expected + 1)
        # The best of each feature, the earliest of equal ones.
        order = np.lexsort((self.bin, -lift, self.feature))
        feature, first = np.unique(self.feature[order], return_index=True)
        best = order[first]
        start, _ = bin_starts(self.bin[best])
        found = {"position_bits": bits}
        for name, values in (
            ("position_peak", start),
            ("position_peak_share", self.count[best] / fires[feature]),
            ("position_lift", lift[best]),
        ):
            found[name] = np.full(self.n_features, np.nan)
            found[name][feature] = values
        return found

    def _exposure(self) -> Ints:
        """Rows under the mask in the bin of each pair."""
        return self.seen_rows[np.searchsorted(self.seen_bin, self.bin)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
