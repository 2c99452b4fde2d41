"""The tokens on which each feature fires."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.entropy import divergence, entropy
from actlake.analytics.features.grouping import may_be_first, sum_by_key, within_group
from actlake.analytics.features.postings import Postings
from actlake.analytics.statistic import Arrays, pack, require_same, unpack
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

Kind = Literal["count", "lift", "mean"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOKENS = 1 << 31
"""More than any vocabulary, so that feature and token fit one 64-bit key."""


@dataclass(frozen=True, slots=True)
class FeatureTokens:
    """Firings and summed values by (feature, token), beside how often each token was seen.

    Exposure is what turns a count into a lift: a frequent token tops every count.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("feature", "token_id", "count", "value_sum")

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
        if (token_id[mask] < 0).any():
            raise InputError("rows without a token have no token profile; mask them out")
        return cls.of_postings(Postings.of(codes, mask), token_id=token_id)

    @classmethod
    def of_postings(cls, postings: Postings, *, token_id: NDArray[Any]) -> Self:
        """As ``of``; rows whose ``token_id`` is negative are as if not under the mask."""
        found = postings.by(token_id)
        pairs = (found.feature, found.group, found.count, found.value_sum)
        n_rows = int(found.seen_rows.sum())
        return cls(n_rows, postings.n_features, *pairs, found.seen, found.seen_rows)

    def merge(self, other: Self) -> Self:
        return self.merge_all((self, other))

    @classmethod
    def merge_all(cls, states: Sequence[Self]) -> Self:
        n_features = states[0].n_features
        for other in states[1:]:
            require_same("n_features", n_features, other.n_features)
        keys, (count, value_sum) = sum_by_key(
            np.concatenate([one._keys() for one in states]),
            np.concatenate([one.count for one in states]),
            np.concatenate([one.value_sum for one in states]),
        )
        seen_token, (seen_count,) = sum_by_key(
            np.concatenate([one.seen_token for one in states]),
            np.concatenate([one.seen_count for one in states]),
        )
        pairs = (keys // TOKENS, keys % TOKENS, count, value_sum)
        n_rows = sum(one.n_rows for one in states)
        return cls(n_rows, n_features, *pairs, seen_token, seen_count)

    def _keys(self) -> NDArray[np.int64]:
        return self.feature * TOKENS + self.token_id

    def lift(self) -> NDArray[np.float64]:
        """P(token | feature fires) / P(token) of each pair, > 0; 1 where they are unrelated."""
        return self._lift_of(slice(None))

    def _lift_of(self, pairs: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        share = self.count[pairs] / self._n_fires()[self.feature[pairs]]
        return share / (self._exposure()[self.token_id[pairs]] / max(self.n_rows, 1))

    def _n_fires(self) -> NDArray[np.float64]:
        """Of each feature, shape (n_features,); whole numbers."""
        fires = np.bincount(self.feature, weights=self.count, minlength=self.n_features)
        return fires.astype(np.float64)

    def _exposure(self) -> NDArray[np.int64]:
        """Rows of each token under the mask, by the token's number: a search for each is slower."""
        rows = np.zeros(int(self.seen_token[-1]) + 1 if len(self.seen_token) else 0, np.int64)
        rows[self.seen_token] = self.seen_count
        return rows

    def top(self, kind: Kind, k: int, *, min_count: int = 5) -> dict[str, NDArray[Any]]:
        """Columns of feature_tokens: the ``k`` tokens of each feature by count, lift or mean.

        feature, rank (1 = first), token_id, count, mean (of the values on that token, over the
        rows where it fires), lift. By lift and by mean only pairs with at least ``min_count``
        firings compete: one coincidence on a rare token has a huge lift, and one strong row the
        largest mean. By count there is no such floor. Ties go to the larger count, then to the
        smaller token.
        """
        if kind == "count":
            first = self.count.astype(np.float64)
        else:
            first = self.lift() if kind == "lift" else self.value_sum / self.count
        enough = np.flatnonzero(self.count >= (1 if kind == "count" else min_count))
        falling = ~first[enough].astype(np.float32).view(np.uint32)  # rounding keeps the order
        near = enough[may_be_first(self.feature[enough], falling, k)]
        keys = (self.token_id[near], -self.count[near], -first[near], self.feature[near])
        order = near[np.lexsort(keys)]
        order = order[within_group(self.feature[order]) < k]
        feature, count = self.feature[order], self.count[order]
        return {
            "feature": feature,
            "rank": within_group(feature) + 1,
            "token_id": self.token_id[order],
            "count": count,
            "mean": self.value_sum[order] / count,
            "lift": self._lift_of(order),
        }

    def finish(self, k: int, *, min_count: int = 5) -> dict[str, NDArray[Any]]:
        """Columns of feature_tokens with ``kind``: the rankings of ``top`` by each of ``KINDS``."""
        rankings = {kind: self.top(kind, k, min_count=min_count) for kind in KINDS}
        lengths = [len(ranking["rank"]) for ranking in rankings.values()]
        columns = {
            name: np.concatenate([ranking[name] for ranking in rankings.values()])
            for name in ("feature", "rank", "token_id", "count", "mean", "lift")
        }
        return {"kind": np.repeat(np.array(KINDS, object), lengths), **columns}

    def profile(self) -> dict[str, NDArray[Any]]:
        """Columns of feature_profiles, each of shape (n_features,); NaN if a feature never fires.

        ``n_tokens`` different tokens it fires on; ``token_entropy`` of their shares, in bits,
        corrected for few firings; ``token_bits``, their divergence from the tokens of all rows;
        ``top_token_share``, of firings, in (0, 1]: a feature above 0.9 is one token in disguise.
        """
        expected = self._exposure()[self.token_id] / max(self.n_rows, 1)
        distinct = np.bincount(self.feature, minlength=self.n_features)
        largest, n_fires = np.zeros(self.n_features), self._n_fires()
        if len(self.feature):
            starts = np.flatnonzero(np.diff(self.feature, prepend=-1))
            largest[self.feature[starts]] = np.maximum.reduceat(self.count, starts)
        alive = np.where(n_fires > 0, n_fires, np.nan)
        return {
            "n_tokens": np.where(n_fires > 0, distinct, np.nan),
            "token_entropy": entropy(self.feature, self.count, self.n_features),
            "token_bits": divergence(self.feature, self.count, expected, self.n_features),
            "top_token_share": largest / alive,
        }

    def shares(self, belongs: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Share of each feature's firings on tokens of each kind; NaN if it never fires.

        ``belongs``, shape (vocabulary, kinds), says of which kinds a token is, in any number; the
        result has shape (n_features, kinds). A token beyond the vocabulary is of none.
        """
        n_fires = self._n_fires()
        known = self.token_id < len(belongs)
        feature, count, token = self.feature[known], self.count[known], self.token_id[known]
        sums = [
            np.bincount(feature, weights=count * kind[token], minlength=self.n_features)
            for kind in belongs.T
        ]
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = np.array(sums, np.float64).reshape(-1, self.n_features).T
            return found / n_fires[:, None]

    def arrays(self) -> dict[str, NDArray[Any]]:
        return pack(self)

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        return unpack(cls, arrays)
