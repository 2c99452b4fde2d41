"""The rows on which each feature fires most strongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import leading, within_group
from actlake.analytics.features.postings import Postings
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError


@dataclass(frozen=True, slots=True)
class TopRows:
    """For each feature the ``k`` largest (value, row) of different contexts, strongest first.

    Of the rows of one context, such as a text that the corpus holds many times, the strongest
    stands for all. Equal values are ordered by a fixed hash of the row, not by the row: the choice
    among ties is the same under any chunking and does not prefer the corpus's beginning.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("feature", "value", "row", "context")

    k: int
    n_features: int
    feature: NDArray[np.int64]
    """Shape (entries,), ascending; at most ``k`` entries a feature."""
    value: NDArray[np.float64]
    row: NDArray[np.int64]
    context: NDArray[np.int64]
    """What rows of one context share: see ``windows``."""

    @classmethod
    def empty(cls, n_features: int, k: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(k, n_features, none, np.zeros(0), none, none)

    @staticmethod
    def of(
        codes: Csr,
        mask: NDArray[np.bool_],
        *,
        row_start: int,
        k: int,
        context: NDArray[np.int64] | None = None,
    ) -> "TopRows":
        """Top rows among those of ``codes`` where ``mask``, shape (rows,), is true.

        Row i of ``codes`` is row ``row_start + i`` of the rowset, in ``context`` i; without them
        each row is one of its own. Raises InputError if k < 1.
        """
        postings = Postings.of(codes, mask)
        return TopRows.of_postings(postings, row_start=row_start, k=k, context=context)

    @staticmethod
    def of_postings(
        postings: Postings,
        *,
        row_start: int,
        k: int,
        context: NDArray[np.int64] | None = None,
    ) -> "TopRows":
        if k < 1:
            raise InputError(f"k is {k}; keep at least 1 row a feature")
        codes, of_row = postings.codes, row_start + postings.kept
        contexts = of_row if context is None else context[postings.kept]

        def largest(which: NDArray[np.bool_]) -> "TopRows":
            at = np.flatnonzero(which)
            place = np.searchsorted(codes.indptr, at, side="right") - 1
            feature, value = codes.indices[at].astype(np.int64), codes.values[at].astype(np.float64)
            entries = (feature, value, of_row[place], contexts[place])
            return TopRows._largest(k, codes.n_features, *entries)

        # Few values reach the 2k-th largest, and only those are put in order, unless so many are
        # of one context that fewer than k contexts are among them.
        strong = codes.values >= postings.at_least(2 * k)[codes.indices]
        found = largest(strong)
        many = codes.n_features
        short = np.bincount(found.feature, minlength=many) < k
        short &= np.bincount(codes.indices[~strong], minlength=many) > 0
        return largest(strong | short[codes.indices]) if short.any() else found

    def merge(self, other: Self) -> Self:
        return self.merge_all((self, other))

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        for other in states[1:]:
            require_same("n_features", states[0].n_features, other.n_features)
            require_same("k", states[0].k, other.k)
        return cls._largest(
            states[0].k,
            states[0].n_features,
            np.concatenate([one.feature for one in states]),
            np.concatenate([one.value for one in states]),
            np.concatenate([one.row for one in states]),
            np.concatenate([one.context for one in states]),
        )

    @classmethod
    def _largest(
        cls,
        k: int,
        n_features: int,
        feature: NDArray[np.int64],
        value: NDArray[np.float64],
        row: NDArray[np.int64],
        context: NDArray[np.int64],
    ) -> Self:
        # Bits of positive float32 numbers rise with the numbers; inverted, the strongest is first.
        falling = ~value.astype(np.float32).view(np.uint32)
        order = leading(feature, falling, splitmix64(row), context, k)
        return cls(k, n_features, feature[order], value[order], row[order], context[order])

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_examples: feature, rank (1 = strongest), row, value, context."""
        return {
            "feature": self.feature,
            "rank": within_group(self.feature) + 1,
            "row": self.row,
            "value": self.value,
            "context": self.context,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
