"""Whether a direction raises or lowers a whole set of tokens: their places among all tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov

Floats = NDArray[np.float64]


def enrichment(effects: NDArray[np.float32], members: NDArray[np.bool_]) -> Floats:
    """How far above or below all others each set of tokens stands; shape (rows, sets), in [-1, 1].

    effects
        Of each direction on each token, shape (rows, tokens), finite.
    members
        Which tokens each set holds, shape (sets, tokens): one at least, and not all.

    Going down from the token raised most, a sum rises by 1/|S| at a token of the set and falls by
    1/(tokens - |S|) at another; the score is where it is farthest from 0. 1: all of the set is
    above all others, -1: below; near 0: it lies among them like a random set. Tokens of equal
    effect count together, so that their order means nothing. NaN for a direction without effects.

    Source: Subramanian et al. (2005), "Gene set enrichment analysis", with weight 0, which is the
    two-sample Kolmogorov-Smirnov statistic with its sign; for tokens: Bloom & Lin (2024),
    "Understanding SAE features with the logit lens".
    """
    tokens = members.shape[1]
    sets = [_Set.of(member) for member in members]
    found = np.empty((len(effects), len(members)))
    for row, score in zip(effects, found, strict=True):
        ranked = _Ranked.of(row)
        if ranked.runs == 1:  # all are equal
            score[:] = np.nan
            continue
        for number, one in enumerate(sets):
            score[number] = _farthest(one, ranked, tokens)
    return found


@dataclass(frozen=True, slots=True)
class _Set:
    """A set, or the rest of the tokens where that is smaller: its score is the other's negative."""

    sign: int
    member: NDArray[np.bool_]
    token: NDArray[np.int64]
    risen: Floats
    """What the sum has risen by at each of its tokens, and beyond all falls so far."""
    fall: float

    @classmethod
    def of(cls, member: NDArray[np.bool_]) -> "_Set":
        tokens, size = len(member), int(member.sum())
        sign = -1 if 2 * size > tokens else 1
        mine = member if sign > 0 else ~member
        token = np.flatnonzero(mine)
        fall = 1 / (tokens - len(token))
        risen = np.arange(len(token) + 1, dtype=np.float64) * (1 / len(token) + fall)
        return cls(sign, mine, token, risen, fall)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Tokens from the largest effect down."""

    order: NDArray[np.int32]
    place: NDArray[np.int32]
    """Of each token in ``order``."""
    first: NDArray[np.int32]
    """Where the run of equal effects begins that each place lies in."""
    behind: NDArray[np.int32]
    """Where it ends: the place after."""
    runs: int

    @classmethod
    def of(cls, row: NDArray[np.float32]) -> "_Ranked":
        # One sort of plain integers, several times as fast as argsort: the bits of a float, made to
        # rise with it, and the token behind them. Taken from 0, -0 and 0 are one number.
        bits = (np.float32(0) - row).view(np.int32)
        keys = (bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))).astype(np.int64)
        keys <<= 32
        keys |= np.arange(len(row))
        keys.sort()
        number = (keys >> 32).astype(np.int32)
        order = (keys & 0xFFFFFFFF).astype(np.int32)
        place = np.empty(len(row), np.int32)
        place[order] = np.arange(len(row), dtype=np.int32)
        first = np.arange(len(row), dtype=np.int32)
        behind = first + np.int32(1)
        same = np.flatnonzero(number[1:] == number[:-1])
        if len(same):
            # Runs of equal ones begin where the place before is of none.
            begin = same[np.diff(same, prepend=-2) > 1]
            end = same[np.diff(same, append=len(row) + 1) > 1] + 2
            length = end - begin
            inside = np.repeat(begin - (np.cumsum(length) - length), length)
            inside += np.arange(len(inside))
            first[inside] = np.repeat(begin, length)
            behind[inside] = np.repeat(end, length)
        return cls(order, place, first, behind, len(row) - len(same))


def _farthest(one: _Set, ranked: _Ranked, tokens: int) -> float:
    """The running sum farthest from 0."""
    if len(one.token) * 16 > tokens:
        at = np.flatnonzero(one.member[ranked.order])
    else:
        at = np.sort(ranked.place[one.token])
    # It is largest behind a run with a member, and smallest before one. Members of one run all
    # look beyond it, or before it: none but the last, or the first, is then farthest.
    high = float((one.risen[1:] - ranked.behind[at] * one.fall).max())
    low = float((one.risen[:-1] - ranked.first[at] * one.fall).min())
    return one.sign * (min(high, 1.0) if high >= -low else max(low, -1.0))


def enrichment_p(score: Floats, size: NDArray[Any], tokens: int) -> Floats:
    """Chance that a random set of the same size stands as far from the others, or farther.

    ``score``, shape (rows, sets), and ``size`` of each set, shape (sets,). Kolmogorov's limit with
    Stephens's correction for small sets; 1 where the score is NaN. It takes tokens for independent.

    Source: Stephens (1970), "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics
    without extensive tables".
    """
    root = np.sqrt(size * (tokens - size) / tokens)
    p = kolmogorov((root + 0.12 + 0.11 / root) * np.abs(score))
    floor = np.finfo(np.float64).tiny  # as of other tests: a chance is small, never 0
    return np.where(np.isnan(score), 1.0, np.maximum(p, floor))
