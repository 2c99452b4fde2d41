"""A fixed random sample of rows of each group: the same rows whatever the chunking."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import within_group
from actlake.analytics.features.histogram import BIN_OFFSET, BINS, bins_of
from actlake.analytics.features.postings import Ints, Postings
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.errors import InputError

STRATUM_BINS = 8
"""Histogram bins of a stratum: its values differ by up to 17 %."""


@dataclass(frozen=True, slots=True)
class BottomRows:
    """Of each group the ``k`` rows whose hash is smallest, in order of the hash.

    The hash is of the row alone, so which rows are kept depends on which there are and on the
    seed, never on how they were cut or ordered; of a group, every row is as likely as another.

    Source: Cohen & Kaplan (2007), "Summarizing data using bottom-k sketches", PODC.
    """

    k: int
    seed: int
    group: Ints
    """Shape (entries,), ascending; at most ``k`` entries a group."""
    row: Ints
    value: NDArray[np.float64]
    """The feature's value on the row; 0 where the group is no feature's."""

    @classmethod
    def empty(cls, k: int, seed: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(k, seed, none, none, np.zeros(0))

    @classmethod
    def of(cls, group: Ints, row: Ints, value: NDArray[Any], *, k: int, seed: int) -> Self:
        """Of ``row`` with its ``value``, each in ``group`` >= 0; shapes (n,).

        Raises InputError if k < 1.
        """
        _require_rows(k)
        order = np.lexsort((splitmix64(row, seed), group))
        order = order[within_group(group[order]) < k]
        return cls(k, seed, group[order], row[order], value[order].astype(np.float64))

    @classmethod
    def firing(cls, postings: Postings, *, row_start: int, k: int, seed: int) -> Self:
        """Groups are features; rows are those on which they fire."""
        return cls._ordered(postings, postings.feature.astype(np.int64), row_start, k, seed)

    @classmethod
    def by_value(cls, postings: Postings, *, row_start: int, k: int, seed: int) -> Self:
        """Groups are ``stratum_keys``: rows on which a feature fires about as strongly."""
        return cls._ordered(postings, None, row_start, k, seed)

    @classmethod
    def _ordered(
        cls, postings: Postings, group: Ints | None, row_start: int, k: int, seed: int
    ) -> Self:
        """As ``of``, from an order by feature and hash that costs no sort of the values."""
        _require_rows(k)
        hashes = splitmix64(row_start + postings.kept, seed)
        place, value = postings.in_order(np.argsort(hashes))
        feature = postings.feature.astype(np.int64)
        if group is None:
            keys = stratum_keys(feature, value)
            order = np.argsort(keys, kind="stable")
            kept = order[within_group(keys[order]) < k]
            group = keys
        else:
            kept = np.flatnonzero(within_group(feature) < k)
        row = row_start + postings.kept[place[kept]]
        return cls(k, seed, group[kept], row, value[kept].astype(np.float64))

    def merge(self, other: Self) -> Self:
        require_same("k", self.k, other.k)
        require_same("seed", self.seed, other.seed)
        return self.of(
            np.concatenate((self.group, other.group)),
            np.concatenate((self.row, other.row)),
            np.concatenate((self.value, other.value)),
            k=self.k,
            seed=self.seed,
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)


def _require_rows(k: int) -> None:
    if k < 1:
        raise InputError(f"k is {k}; keep at least 1 row a group")


def stratum_keys(feature: Ints, value: NDArray[np.floating[Any]]) -> Ints:
    """Feature and stratum of its values in one number; ``strata_of`` takes it apart."""
    return feature * BINS + (bins_of(value) + BIN_OFFSET) // STRATUM_BINS


def strata_of(keys: Ints) -> tuple[Ints, Ints]:
    """Feature and stratum; histogram bin b lies in stratum (b + BIN_OFFSET) // STRATUM_BINS."""
    return keys // BINS, keys % BINS
