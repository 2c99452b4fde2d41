"""A fixed random sample of rows of each group: the same rows whatever the chunking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import distinct, first_contexts, leading
from actlake.analytics.features.histogram import BIN_OFFSET, BINS, bins_of
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.errors import InputError

STRATUM_BINS = 8
"""Histogram bins of a stratum: its values differ by up to 17 %."""


@dataclass(frozen=True, slots=True)
class BottomRows:
    """Of each group the ``k`` rows of different contexts whose hash is smallest, in its order.

    Rows of one context, such as a text that the corpus holds many times, count once. The hash is of
    the row alone, so which rows are kept depends on which there are and on the seed, never on how
    they were cut or ordered; of a group, every row is as likely as another.

    Source: Cohen & Kaplan (2007), "Summarizing data using bottom-k sketches", PODC.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("group", "row", "value", "context")

    k: int
    seed: int
    group: Ints
    """Shape (entries,), ascending; at most ``k`` entries a group."""
    row: Ints
    value: NDArray[np.float64]
    """The feature's value on the row; 0 where the group is no feature's."""
    context: Ints
    """What rows of one context share: see ``windows``."""

    @classmethod
    def empty(cls, k: int, seed: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(k, seed, none, none, np.zeros(0), none)

    @classmethod
    def of(
        cls,
        group: Ints,
        row: Ints,
        value: NDArray[Any],
        *,
        k: int,
        seed: int,
        context: Ints | None = None,
    ) -> Self:
        """Of ``row`` with its ``value``, each in ``group`` >= 0 and ``context``; shapes (n,).

        Without contexts each row is one of its own. Raises InputError if k < 1.
        """
        _require_rows(k)
        context = row if context is None else context
        hashes = splitmix64(row, seed)
        high = (hashes >> np.uint64(32)).astype(np.uint32)
        order = leading(np.searchsorted(distinct(group), group), high, hashes, context, k)
        of_order = (group[order], row[order], value[order].astype(np.float64), context[order])
        return cls(k, seed, *of_order)

    @classmethod
    def firing(
        cls,
        postings: Postings,
        *,
        row_start: int,
        k: int,
        seed: int,
        context: Ints | None = None,
    ) -> Self:
        """Groups are features; rows are those on which they fire.

        ``context``, shape (rows of the block,), as in ``of``.
        """
        return cls._drawn(postings, lambda feature, _: feature, row_start, k, seed, context)

    @classmethod
    def by_value(
        cls,
        postings: Postings,
        *,
        row_start: int,
        k: int,
        seed: int,
        context: Ints | None = None,
    ) -> Self:
        """Groups are ``stratum_keys``: rows on which a feature fires about as strongly."""
        return cls._drawn(postings, stratum_keys, row_start, k, seed, context)

    @classmethod
    def _drawn(
        cls,
        postings: Postings,
        group_of: Callable[[Ints, NDArray[Any]], Ints],
        row_start: int,
        k: int,
        seed: int,
        context: Ints | None,
    ) -> Self:
        _require_rows(k)
        # An order by feature and hash that costs no sort of the values.
        place, value = postings.in_order(np.argsort(splitmix64(row_start + postings.kept, seed)))
        group = group_of(postings.feature.astype(np.int64), value)
        order = np.argsort(group, kind="stable")  # its runs of features make that cheap
        row, contexts = _of_place(postings, place, row_start, context)
        kept = order[first_contexts(group[order], contexts[order], k)]
        values = value[kept].astype(np.float64)
        return cls(k, seed, group[kept], row[kept], values, contexts[kept])

    def merge(self, other: Self) -> Self:
        return self.merge_all((self, other))

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        for other in states[1:]:
            require_same("k", states[0].k, other.k)
            require_same("seed", states[0].seed, other.seed)
        return cls.of(
            np.concatenate([one.group for one in states]),
            np.concatenate([one.row for one in states]),
            np.concatenate([one.value for one in states]),
            k=states[0].k,
            seed=states[0].seed,
            context=np.concatenate([one.context for one in states]),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _require_rows(k: int) -> None:
    if k < 1:
        raise InputError(f"k is {k}; keep at least 1 row a group")


def _of_place(
    postings: Postings, place: Ints, row_start: int, context: Ints | None
) -> tuple[Ints, Ints]:
    """Row and context of places among the rows under the mask."""
    row = row_start + postings.kept[place]
    return row, row if context is None else context[postings.kept[place]]


def stratum_keys(feature: Ints, value: NDArray[np.floating[Any]]) -> Ints:
    """Feature and stratum of its values in one number; ``strata_of`` takes it apart."""
    return feature * BINS + (bins_of(value) + BIN_OFFSET) // STRATUM_BINS


def strata_of(keys: Ints) -> tuple[Ints, Ints]:
    """Feature and stratum; histogram bin b lies in stratum (b + BIN_OFFSET) // STRATUM_BINS."""
    return keys // BINS, keys % BINS
