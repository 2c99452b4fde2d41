"""Each row's and each column's best partner in a similarity matrix that is seen in tiles."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Best:
    """The largest similarity of each item and with whom; all arrays shape (items,)."""

    partner: NDArray[np.int64]
    """The first of equally good ones; -1 if no similarity is defined."""
    score: Floats
    """-inf if no similarity is defined."""
    second: Floats
    """The next largest similarity, equal to ``score`` in a tie; -inf if there is none."""

    @classmethod
    def empty(cls, items: int) -> Self:
        nothing = np.full(items, -np.inf)
        return cls(np.full(items, -1, np.int64), nothing, nothing)

    @classmethod
    def of(cls, similarity: Floats, *, first_partner: int = 0) -> Self:
        """Best column of each row, columns counted from ``first_partner``; NaN is undefined."""
        items = np.arange(len(similarity))
        if similarity.size == 0:
            return cls.empty(len(similarity))
        known = np.where(np.isnan(similarity), -np.inf, similarity)
        place = known.argmax(axis=1)
        score = known[items, place]
        known[items, place] = -np.inf
        partner = np.where(score > -np.inf, place + first_partner, -1)
        return cls(partner, score, known.max(axis=1))

    def followed_by(self, other: Self) -> Self:
        """The best of two ranges of partners, those of ``other`` behind: a tie stays with these."""
        return type(self)(
            np.where(other.score > self.score, other.partner, self.partner),
            np.maximum(self.score, other.score),
            np.maximum(np.minimum(self.score, other.score), np.maximum(self.second, other.second)),
        )


def best_partners(tiles: Iterable[Floats], columns: int) -> tuple[Best, Best]:
    """Best column of each row and best row of each column, from consecutive tiles of rows.

    A tile has shape (some rows, columns), NaN where a similarity is undefined. Two tiles' bytes
    beside the caller's are held, and a few vectors.
    """
    rows, column, start = [Best.empty(0)], Best.empty(columns), 0
    for tile in tiles:
        rows.append(Best.of(tile))
        column = column.followed_by(Best.of(tile.T, first_partner=start))
        start += len(tile)
    row = Best(
        np.concatenate([best.partner for best in rows]),
        np.concatenate([best.score for best in rows]),
        np.concatenate([best.second for best in rows]),
    )
    return row, column


@dataclass(frozen=True, slots=True)
class Matches:
    """Best partners in both directions: a row for each tested feature, those of A first."""

    of_a: NDArray[np.bool_]
    """Whether ``feature`` is A's and ``partner`` is B's, or the other way round."""
    feature: NDArray[np.int64]
    """Ascending within each direction."""
    partner: NDArray[np.int64]
    """The most similar feature of the other side; -1 if no similarity is defined."""
    score: Floats
    """Their similarity; NaN without a partner."""
    margin: Floats
    """``score`` less that of the second best, >= 0; NaN if there is no second."""
    is_mutual: NDArray[np.bool_]
    """Whether the partner's best partner is this feature."""
    p: Floats
    """Probability of so good a best partner under the null, in (0, 1]; NaN without a partner."""
    q: Floats
    """False discovery rate at which the match is found, over all rows with a p."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def matches(
    features: tuple[NDArray[np.int64], NDArray[np.int64]],
    best: tuple[Best, Best],
    p: tuple[Floats, Floats],
) -> Matches:
    """The table of ``best`` partners of the tested ``features``; of each pair, A comes first.

    Partners in ``best`` count the tested features of the other side. ``p`` is NaN where there is
    no partner.

    Source of q: Benjamini & Hochberg (1995), "Controlling the false discovery rate".
    """
    a, b = best
    items_a, items_b = np.arange(len(a.partner)), np.arange(len(b.partner))
    mutual_a = _points_back(b.partner, a.partner, items_a)
    mutual_b = _points_back(a.partner, b.partner, items_b)
    score, second = (np.concatenate((getattr(a, n), getattr(b, n))) for n in ("score", "second"))
    score[score == -np.inf], second[second == -np.inf] = np.nan, np.nan
    p_all = np.concatenate(p)
    q, tested = np.full(len(p_all), np.nan), np.isfinite(p_all)
    if tested.any():
        q[tested] = false_discovery_control(p_all[tested], method="bh")
    return Matches(
        of_a=np.repeat((True, False), (len(items_a), len(items_b))),
        feature=np.concatenate(features),
        partner=np.concatenate(
            (_numbered(features[1], a.partner), _numbered(features[0], b.partner))
        ),
        score=score,
        margin=score - second,
        is_mutual=np.concatenate((mutual_a, mutual_b)),
        p=p_all,
        q=q,
    )


def _points_back(
    back: NDArray[np.int64], partner: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.bool_]:
    mutual: NDArray[np.bool_] = (partner >= 0) & (np.append(back, -1)[partner] == items)
    return mutual


def _numbered(features: NDArray[np.int64], partner: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.append(features, -1)[partner]
