"""Joint firings of all pairs, counted over blocks of codes, one range of features at a time."""

from collections.abc import Callable, Iterable, Iterator
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.cofirings import CoFirings, DenseCoFirings, Margins, Sides
from actlake.analytics.features.grouping import consecutive
from actlake.analytics.features.pair_ranking import PairRanking
from actlake.analytics.statistic import merge_in_order
from actlake.flows.progress import progress
from actlake.storage.csr import Csr

__all__ = ["Blocks", "count_pairs", "is_one", "of_features"]

PAIRS = 8_000_000
"""Of features that fire together, in one range of features: each is held at 50 bytes, at most."""
DENSE_PAIRS = 4 * PAIRS
"""The same where there are several blocks, whose pairs are held at 12 bytes, fire they or not."""
Blocks = Callable[[], Iterator[Csr]]
"""What gives the blocks of some units anew each time; one block is held."""


def count_pairs(again: Blocks, often: NDArray[np.bool_], ranking: PairRanking, what: str) -> None:
    """Every range of the features that are ``often``, shape (features,), counted, then ranked.

    ``what`` is counted, for the display.
    """
    margins = merge_in_order(Margins.of(of_features(one, often)) for one in again())
    held = Sides(of_features(next(again()), often)) if is_one(again) else None
    with progress(f"count pairs of {what}", len(often), "features") as advance:
        for start, stop in _ranges(margins.work, PAIRS if held else DENSE_PAIRS):
            if held:
                ranking.add(CoFirings.of(held, start=start, stop=stop))
            else:
                later = often & (np.arange(len(often)) >= start)  # what a range is counted with
                some = (of_features(one, later) for one in again())
                few = margins.work[start:stop].sum() <= PAIRS
                counted = _sparse if few else _dense
                ranking.add(counted(some, start, stop, margins))
            advance(stop - start)


def is_one(again: Blocks) -> bool:
    """Whether there is one block, which may be held."""
    found = again()
    next(found)
    return next(found, None) is None


def of_features(codes: Csr, often: NDArray[np.bool_]) -> Csr:
    """The values of those features, the others silent; ``often`` has shape (features,)."""
    kept = often[codes.indices]
    indptr = np.concatenate(([0], np.cumsum(kept)))[codes.indptr]
    return Csr(indptr, codes.indices[kept], codes.values[kept], codes.n_features)


def _ranges(work: NDArray[np.int64], dense: int) -> list[tuple[int, int]]:
    """Consecutive ranges of features, each of as many as may be.

    Either they have ``PAIRS`` joint firings at most, ``work``, and so no more pairs that fire; or
    ``dense`` pairs at most with those from the range's start on, fire they or not, so that the
    number of ranges is bounded by that of features, whatever the rows; or they are one feature.
    """
    sums = np.concatenate(([0], np.cumsum(work)))
    ranges, start = [], 0
    while start < len(work):
        stop = int(np.searchsorted(sums, sums[start] + PAIRS, "right")) - 1
        stop = max(stop, start + dense // (len(work) - start))
        stop = min(max(stop, start + 1), len(work))
        ranges.append((start, stop))
        start = stop
    return ranges


def _sparse(some: Iterable[Csr], start: int, stop: int, _margins: Margins) -> CoFirings:
    """One after the other: what is held is as large for a few blocks as for all."""
    return reduce(
        CoFirings.merge, (CoFirings.of(Sides(one), start=start, stop=stop) for one in some)
    )


def _dense(some: Iterable[Csr], start: int, stop: int, margins: Margins) -> DenseCoFirings:
    """Of each block no more than ``PAIRS`` at once."""
    counted = DenseCoFirings(start, stop, len(margins.fires), units=margins.n)
    for one in some:
        sides = Sides(one)
        for first, last in consecutive(Margins.of(one).work[start:stop], PAIRS):
            counted.add(CoFirings.of(sides, start=start + first, stop=start + last))
    return counted
