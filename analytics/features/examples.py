"""Rows that show what a feature does besides the strongest: weak, ordinary, silent, near misses.

Each kind is a fixed sample by the hash of the row, so the same rows come whatever the chunking.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.bottom_rows import STRATUM_BINS, BottomRows, strata_of
from actlake.analytics.features.grouping import (
    first_contexts,
    ordered_by,
    stable_order,
    within_group,
)
from actlake.analytics.features.histogram import BIN_OFFSET, FeatureHistogram
from actlake.analytics.features.postings import Ints
from actlake.analytics.splitmix import splitmix64
from actlake.storage.csr import Csr

STRATA = 10
"""Tenths of a feature's firing rows, by value."""

PIECE_FEATURES = 1 << 15
"""Features that are looked at together: 40 MiB for a sample of 256 rows."""

Columns = dict[str, NDArray[Any]]
"""Of feature_examples: feature, rank (from 1), row, value; and the context of the row."""


def random_examples(sample: BottomRows) -> Columns:
    """The rows of ``BottomRows.firing``, in the order of their hash."""
    rank = within_group(sample.group) + 1
    return _columns(sample.group, rank, sample.row, sample.value, sample.context)


def quantile_examples(sample: BottomRows, histogram: FeatureHistogram, per_stratum: int) -> Columns:
    """Rows of ``BottomRows.by_value`` from each tenth of a feature's firing rows, strongest first.

    A stratum of about equal values lies whole in the tenth that its middle row is of, so every
    row of a tenth is as likely as another; a feature of few different values has fewer than ten.
    ``per_stratum`` rows at most of each, and no more than the sample keeps of a group.
    """
    feature, stratum = strata_of(sample.group)
    fires = histogram.n_fires()
    # Firing rows below each stratum, and in it, by histogram.
    keys = histogram.feature << 32 | (histogram.bin + BIN_OFFSET) // STRATUM_BINS
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    keys = keys[first]
    if len(keys) == 0:
        return _columns(feature, feature, sample.row, sample.value, sample.context)
    count = np.add.reduceat(histogram.count, first)
    below = np.cumsum(count) - count - (np.cumsum(fires) - fires)[keys >> 32]
    tenth_of = np.floor(STRATA * (below + count / 2) / fires[keys >> 32]).astype(np.int64)
    tenth = tenth_of[np.searchsorted(keys, feature << 32 | stratum)]
    # Of a context that two tenths hold, the row that is first by its hash.
    # A set of codes has rows of one number, so equal hashes, too.
    chosen = np.argsort(splitmix64(sample.row, sample.seed), kind="stable")
    chosen = chosen[stable_order(feature[chosen])]
    chosen = chosen[first_contexts(feature[chosen], sample.context[chosen], len(chosen))]
    chosen = chosen[stable_order(feature[chosen] * STRATA + tenth[chosen])]
    of_tenth = feature[chosen] * STRATA + tenth[chosen]
    chosen = chosen[within_group(of_tenth) < per_stratum]
    # Bits of positive float32 numbers rise with the numbers; inverted, the strongest is first.
    falling = ~sample.value[chosen].astype(np.float32).view(np.uint32)
    ranked = (feature[chosen].astype(np.uint64) << np.uint64(32)) | falling
    chosen = chosen[ordered_by(ranked, splitmix64(sample.row[chosen], sample.seed))]
    rank = within_group(feature[chosen]) + 1
    entries = (sample.row[chosen], sample.value[chosen], sample.context[chosen])
    return _columns(feature[chosen], rank, *entries)


def silent_examples(sample: BottomRows, codes: Csr, k: int) -> Columns:
    """For each feature the first ``k`` rows of a sample of all rows on which it is silent.

    ``codes`` are those of ``sample.row``, in that order. A feature that fires nearly everywhere
    has fewer.
    """
    pieces = []
    for start in range(0, max(codes.n_features, 1), PIECE_FEATURES):
        many = min(PIECE_FEATURES, codes.n_features - start)
        silent = np.ones((many, codes.rows), np.bool_)
        here = (codes.indices >= start) & (codes.indices < start + many)
        silent[codes.indices[here].astype(np.int64) - start, codes.row_of_value()[here]] = False
        place = np.cumsum(silent, axis=1, dtype=np.int32)
        feature, at = np.nonzero(silent & (place <= k))
        pieces.append((feature + start, place[feature, at].astype(np.int64), at))
    feature, rank, at = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return _columns(feature, rank, sample.row[at], np.zeros(len(at)), sample.context[at])


def hard_negatives(top: Columns, sample: BottomRows, codes: Csr, rows: Ints, k: int) -> Columns:
    """Rows on which a feature is silent although the token is one that it fires on.

    top
        feature and token_id, the best token of each feature first.
    sample
        Rows of each token; ``codes`` are those of ``rows``, ascending, which hold them all.

    At most ``k`` of a feature, first those of its first token. Of a feature that never misses its
    tokens there are none.
    """
    # Ascending, as rows and the features in them are; no pair has the last one's number.
    fires = np.append(codes.row_of_value() * codes.n_features + codes.indices, -1)
    token = within_group(top["feature"])
    found = np.zeros(codes.n_features, np.int64)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for number in range(int(token.max(initial=-1)) + 1):  # most need no row of a second token
        mine = (token == number) & (found[top["feature"]] < k)
        feature, at = _rows_of(top["feature"][mine], top["token_id"][mine], sample)
        pairs = np.searchsorted(rows, sample.row[at]) * codes.n_features + feature
        silent = fires[np.searchsorted(fires[:-1], pairs)] != pairs
        parts.append((feature[silent], at[silent]))
        found += np.bincount(feature[silent], minlength=codes.n_features)
    feature, at = (np.concatenate(one) for one in zip(*parts, strict=True))
    order = stable_order(feature)
    feature, at = feature[order], at[order]
    rank = within_group(feature) + 1
    kept = rank <= k
    at = at[kept]
    none = np.zeros(len(at))
    return _columns(feature[kept], rank[kept], sample.row[at], none, sample.context[at])


def _rows_of(feature: Ints, token: Ints, sample: BottomRows) -> tuple[Ints, Ints]:
    """Each feature with the entries of its token in ``sample``; shapes (entries,)."""
    start = np.searchsorted(sample.group, token)
    length = np.searchsorted(sample.group, token, side="right") - start
    at = np.arange(length.sum()) + np.repeat(start - (np.cumsum(length) - length), length)
    return np.repeat(feature, length), at


def _columns(
    feature: Ints, rank: Ints, row: Ints, value: NDArray[np.float64], context: Ints
) -> Columns:
    return {"feature": feature, "rank": rank, "row": row, "value": value, "context": context}
