"""Whether a direction raises or lowers a whole set of tokens: their places among all tokens."""

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
    # Of a set and of its complement one score is the other's negative; the smaller costs less.
    sizes = members.sum(axis=1)
    tokens = members.shape[1]
    flipped = 2 * sizes > tokens
    smaller = [np.flatnonzero(one) for one in np.where(flipped[:, None], ~members, members)]
    found = np.empty((len(effects), len(members)))
    for row, score in zip(effects, found, strict=True):
        group, ends = _falling(row)
        if len(ends) == 1:  # all are equal
            score[:] = np.nan
            continue
        for number, member in enumerate(smaller):
            score[number] = _farthest(np.sort(group[member]), ends, tokens)
        score[flipped] *= -1
    return found


def _falling(row: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The run of equal effects that each token lies in, from the largest down, and its end."""
    # One sort of plain integers, several times as fast as argsort: the bits of a float, made to
    # rise with it, and the token behind them. Adding 0 makes -0 and 0 one number.
    bits = (np.float32(0) - row).view(np.int32)
    rising = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = rising.astype(np.int64)
    keys <<= 32
    keys |= np.arange(len(row))
    keys.sort()
    starts = np.flatnonzero(np.diff(keys >> 32)) + 1
    ends = np.append(starts, len(row))
    group = np.empty(len(row), np.int32)
    group[keys & 0xFFFFFFFF] = np.repeat(
        np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0)
    )
    return group, ends


def _farthest(group: NDArray[np.int32], ends: NDArray[np.int64], tokens: int) -> float:
    """The running sum farthest from 0, given the runs in which the members lie, in order."""
    size = len(group)
    hit, miss = 1 / size, 1 / (tokens - size)
    # It is largest behind the last member of a run, and smallest before the first one.
    changes = np.flatnonzero(np.diff(group)) + 1
    above, before = np.append(changes, size), np.append(0, changes)
    behind = ends[group[above - 1]]
    starts = np.where(group[before] > 0, ends[group[before] - 1], 0)
    high = float((above * (hit + miss) - behind * miss).max())
    low = float((before * (hit + miss) - starts * miss).min())
    return min(high, 1.0) if high >= -low else max(low, -1.0)


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
