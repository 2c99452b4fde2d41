"""The tokens on which each feature fires."""

from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.grouping import sum_by_key, within_group
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

Kind = Literal["count", "lift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOKENS = 1 << 31
"""More than any vocabulary, so that feature and token fit one 64-bit key."""


@dataclass(frozen=True, slots=True)
class FeatureTokens:
    """Firings and summed values by (feature, token), beside how often each token was seen.

    Exposure is what turns a count into a lift: a frequent token tops every count.
    """

    n_rows: int
    """Rows under the mask."""
    n_features: int
    feature: NDArray[np.int64]
    """Shape (pairs,), ascending; with ``token_id`` the key."""
    token_id: NDArray[np.int64]
    count: NDArray[np.int64]
    """Rows of this token on which the feature fires."""
    value_sum: NDArray[np.float64]
    seen_token: NDArray[np.int64]
    """Shape (tokens seen,), ascending."""
    seen_count: NDArray[np.int64]
    """Rows of each token under the mask."""

    @classmethod
    def empty(cls, n_features: int) -> Self:
        none = np.zeros(0, np.int64)
        return cls(0, n_features, none, none, none, np.zeros(0), none, none)

    @classmethod
    def of(cls, codes: Csr, mask: NDArray[np.bool_], *, token_id: NDArray[Any]) -> Self:
        """Tokens of the rows of ``codes`` where ``mask`` is true.

        ``token_id`` and ``mask`` have shape (rows,). Raises InputError for a token below 0.
        """
        kept, tokens = codes.keep(mask), token_id[mask].astype(np.int64)
        if len(tokens) and tokens.min() < 0:
            raise InputError("rows without a token have no token profile; mask them out")
        keys = kept.indices.astype(np.int64) * TOKENS + tokens[kept.row_of_value()]
        ones, values = np.ones(kept.nnz, np.int64), kept.values.astype(np.float64)
        keys, (count, value_sum) = sum_by_key(keys, ones, values)
        seen_token, seen_count = np.unique(tokens, return_counts=True)
        pairs = (keys // TOKENS, keys % TOKENS, count, value_sum)
        return cls(kept.rows, kept.n_features, *pairs, seen_token, seen_count)

    def merge(self, other: Self) -> Self:
        require_same("n_features", self.n_features, other.n_features)
        keys, (count, value_sum) = sum_by_key(
            np.concatenate((self._keys(), other._keys())),
            np.concatenate((self.count, other.count)),
            np.concatenate((self.value_sum, other.value_sum)),
        )
        seen_token, (seen_count,) = sum_by_key(
            np.concatenate((self.seen_token, other.seen_token)),
            np.concatenate((self.seen_count, other.seen_count)),
        )
        pairs = (keys // TOKENS, keys % TOKENS, count, value_sum)
        n_rows = self.n_rows + other.n_rows
        return type(self)(n_rows, self.n_features, *pairs, seen_token, seen_count)

    def _keys(self) -> NDArray[np.int64]:
        return self.feature * TOKENS + self.token_id

    def lift(self) -> NDArray[np.float64]:
        """P(token | feature fires) / P(token) of each pair, > 0; 1 where they are unrelated."""
        n_fires = np.zeros(self.n_features, np.int64)
        np.add.at(n_fires, self.feature, self.count)
        exposure = self.seen_count[np.searchsorted(self.seen_token, self.token_id)]
        return (self.count / n_fires[self.feature]) / (exposure / max(self.n_rows, 1))

    def top(self, kind: Kind, k: int, *, min_count: int = 5) -> dict[str, NDArray[Any]]:
        """Columns of feature_tokens: the ``k`` tokens of each feature by count or by lift.

        feature, rank (1 = first), token_id, count, mean (of the values on that token), lift.
        By lift only pairs with at least ``min_count`` firings compete: one coincidence on a rare
        token has a huge lift. By count there is no such floor. Ties go to the larger count, then
        to the smaller token.
        """
        lift = self.lift()
        first = self.count if kind == "count" else lift
        order = np.lexsort((self.token_id, -self.count, -first, self.feature))
        if kind == "lift":
            order = order[self.count[order] >= min_count]
        order = order[within_group(self.feature[order]) < k]
        feature, count = self.feature[order], self.count[order]
        return {
            "feature": feature,
            "rank": within_group(feature) + 1,
            "token_id": self.token_id[order],
            "count": count,
            "mean": self.value_sum[order] / count,
            "lift": lift[order],
        }

    def finish(self, k: int, *, min_count: int = 5) -> dict[str, NDArray[Any]]:
        """Columns of feature_tokens with ``kind``, 'count' or 'lift': both rankings of ``top``."""
        rankings = {kind: self.top(kind, k, min_count=min_count) for kind in KINDS}
        lengths = [len(ranking["rank"]) for ranking in rankings.values()]
        columns = {
            name: np.concatenate([ranking[name] for ranking in rankings.values()])
            for name in ("feature", "rank", "token_id", "count", "mean", "lift")
        }
        return {"kind": np.repeat(KINDS, lengths), **columns}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
