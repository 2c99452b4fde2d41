"""The rows on which each feature fires most strongly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import may_be_first, ordered_by, within_group
from actlake.analytics.features.postings import Postings
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError


@dataclass(frozen=True, slots=True)
class TopRows:
    """For each feature the ``k`` largest (value, row), strongest first.

    Equal values are ordered by a fixed hash of the row, not by the row: the choice among ties is
    the same under any chunking and does not prefer the corpus's beginning.
    """

    k: int
    n_features: int
    feature: NDArray[np.int64]
    """Shape (entries,), ascending; at most ``k`` entries a feature."""
    value: NDArray[np.float64]
    row: NDArray[np.int64]

    @classmethod
    def empty(cls, n_features: int, k: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(k, n_features, none, np.zeros(0), none)

    @classmethod
    def of(cls, codes: Csr, mask: NDArray[np.bool_], *, row_start: int, k: int) -> Self:
        """Top rows among those of ``codes`` where ``mask``, shape (rows,), is true.

        Row i of ``codes`` is row ``row_start + i`` of the rowset. Raises InputError if k < 1.
        """
        return cls.of_postings(Postings.of(codes, mask), row_start=row_start, k=k)

    @classmethod
    def of_postings(cls, postings: Postings, *, row_start: int, k: int) -> Self:
        if k < 1:
            raise InputError(f"k is {k}; keep at least 1 row a feature")
        codes = postings.codes
        # Few values reach the k-th largest, and only those are put in order.
        strong = np.flatnonzero(codes.values >= postings.at_least(k)[codes.indices])
        place = np.searchsorted(codes.indptr, strong, side="right") - 1
        feature, value = codes.indices[strong].astype(np.int64), codes.values[strong]
        row = row_start + postings.kept[place]
        return cls._largest(k, codes.n_features, feature, value.astype(np.float64), row)

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
        )

    @classmethod
    def _largest(
        cls,
        k: int,
        n_features: int,
        feature: NDArray[np.int64],
        value: NDArray[np.float64],
        row: NDArray[np.int64],
    ) -> Self:
        # Bits of positive float32 numbers rise with the numbers; inverted, the strongest is first.
        falling = ~value.astype(np.float32).view(np.uint32)
        near = np.flatnonzero(may_be_first(feature, falling, k))
        keys = (feature[near].astype(np.uint64) << np.uint64(32)) | falling[near]
        order = near[ordered_by(keys, splitmix64(row[near]))]
        order = order[within_group(feature[order]) < k]
        return cls(k, n_features, feature[order], value[order], row[order])

    def finish(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_examples: feature, rank (1 = strongest), row, value."""
        rank = within_group(self.feature) + 1
        return {"feature": self.feature, "rank": rank, "row": self.row, "value": self.value}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
