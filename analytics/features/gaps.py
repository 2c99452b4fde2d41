"""How far apart the rows are on which each feature fires: evenly, at random, or in bursts."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import within_group
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.errors import InputError


@dataclass(frozen=True, slots=True)
class FeatureGaps:
    """Gaps between successive firings of each feature, in rows under the mask.

    Blocks come in any order, so the rows seen so far are stretches without a gap in them; two that
    meet become one, and the last firing of the one is then a gap away from the first of the next.
    Gaps reach over the ends of documents: a corpus is one row of text after another.
    """

    n_features: int
    start: Ints
    """First row of each stretch, ascending; shape (stretches,)."""
    stop: Ints
    """Row after its last."""
    kept: Ints
    """Its rows under the mask."""
    stretch: Ints
    """Of each pair of a stretch and a feature that fires in it, ascending; shape (pairs,)."""
    feature: Ints
    """Of each pair, ascending within a stretch."""
    fires: Ints
    """Firing rows, > 0."""
    first: Ints
    """Place of the first of them among the stretch's rows under the mask."""
    last: Ints
    square: Ints
    """Sum of the squared gaps between them; the gaps themselves add up to ``last`` - ``first``."""

    @classmethod
    def empty(cls, n_features: int) -> Self:
        return cls(n_features, *(np.zeros(0, np.int64) for _ in range(9)))

    @classmethod
    def of(cls, postings: Postings, *, row_start: int, rows: int) -> Self:
        """The state of a block of ``rows`` rows that begins with row ``row_start``."""
        if rows == 0:
            return cls.empty(postings.n_features)
        place, _ = postings.in_order(np.arange(postings.n_rows))
        count = postings.count.astype(np.int64)
        fires = np.flatnonzero(count)
        begin, end = postings.starts[:-1][fires], postings.starts[1:][fires]
        place = place.astype(np.int64)
        gap = np.diff(place, prepend=0)
        gap[begin] = 0
        square = np.add.reduceat(gap * gap, begin)
        one = np.ones(1, np.int64)
        return cls(
            postings.n_features,
            row_start * one,
            (row_start + rows) * one,
            postings.n_rows * one,
            np.zeros(len(fires), np.int64),
            fires,
            count[fires],
            place[begin],
            place[end - 1],
            square,
        )

    def after(self, rows: int) -> Self:
        """The same, of rows that come after ``rows`` others, as those of a second rowset do."""
        return replace(self, start=self.start + rows, stop=self.stop + rows)

    def merge(self, other: Self) -> Self:
        """Of rows that are in one of the two alone; InputError if a row is in both."""
        require_same("n_features", self.n_features, other.n_features)
        starts, stops, kept, *pairs = (
            np.concatenate((getattr(self, name), getattr(other, name)))
            for name in ("start", "stop", "kept", "feature", "fires", "first", "last", "square")
        )
        order = np.argsort(starts)
        starts, stops, kept = starts[order], stops[order], kept[order]
        if (starts[1:] < stops[:-1]).any():
            raise InputError("two states of the same rows do not merge; give each row once")
        # Stretches that touch are one: its number, and the rows under the mask before each part.
        begins = np.flatnonzero(np.append(True, starts[1:] > stops[:-1])[: len(starts)])
        whole = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(starts)))
        before = np.cumsum(kept) - kept
        before -= before[begins][whole]
        part = np.argsort(order)[np.concatenate((self.stretch, other.stretch + len(self.start)))]
        sort = np.lexsort((part, pairs[0], whole[part]))
        part, (feature, fires, first, last, square) = part[sort], [one[sort] for one in pairs]
        first, last = first + before[part], last + before[part]
        place = within_group(whole[part] * self.n_features + feature)
        square += np.where(place > 0, first - np.roll(last, 1), 0) ** 2
        begin = np.flatnonzero(place == 0)
        end = np.append(begin, len(place))[1:] - 1
        return type(self)(
            self.n_features,
            starts[begins],
            stops[np.append(begins, len(stops))[1:] - 1],
            np.add.reduceat(kept, begins),
            whole[part][begin],
            feature[begin],
            np.add.reduceat(fires, begin),
            first[begin],
            last[end],
            np.add.reduceat(square, begin),
        )

    def finish(self) -> dict[str, NDArray[Any]]:
        """The column ``burstiness`` of feature_profiles, shape (n_features,), in [-1, 1].

        (σ - μ) / (σ + μ) of the gaps, as it would be for endlessly many of them: -1 where they are
        all alike, about 0 where a feature fires on rows at random (-density / 4), near 1 where it
        fires in bursts with long silence between. NaN for fewer than three firings. Rows that were
        not seen are passed over.

        Source: Goh & Barabási (2008), "Burstiness and memory in complex systems"; for few gaps: Kim
        & Jo (2016), "Measuring burstiness for finite event sequences", eq. 22.
        """
        state = self._joined()
        gaps = (state.fires - 1).astype(np.float64)
        found = np.full(self.n_features, np.nan)
        some = gaps >= 2
        n, mean = gaps[some], (state.last - state.first)[some] / gaps[some]
        ratio = np.sqrt(np.maximum(state.square[some] / n / mean**2 - 1, 0))
        up, down = np.sqrt(n + 1), np.sqrt(n - 1)
        found[state.feature[some]] = (up * ratio - down) / ((up - 2) * ratio + down)
        return {"burstiness": np.clip(found, -1, 1)}

    def _joined(self) -> Self:
        """The same, as if no rows lay between the stretches."""
        stop = np.cumsum(self.stop - self.start)
        start = stop - (self.stop - self.start)
        return replace(self, start=start, stop=stop).merge(type(self).empty(self.n_features))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
