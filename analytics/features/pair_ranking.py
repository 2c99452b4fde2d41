"""The best partners of each feature among all pairs that were counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.cofirings import CoFirings, DenseCoFirings, Margins
from actlake.analytics.features.grouping import within_group

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
WAITING = 1_000_000
"""Candidates that are held before all but the best are let go; 40 bytes each."""


@dataclass(frozen=True, slots=True)
class Partners:
    """Directed pairs: each feature's best partners, by feature and rank."""

    feature: Counts
    partner: Counts
    joint: Counts
    product: Floats
    score: Floats
    """joint × ln(lift), > 0: how many nats the pair would save that codes both together."""

    @property
    def rank(self) -> Counts:
        """From 1."""
        return within_group(self.feature) + 1


class PairRanking:
    """Takes the co-firings of consecutive ranges and keeps the ``top`` partners of each feature.

    A pair competes if both features fire on ``min_fires`` units, together on ``min_joint`` and
    more often than chance. The score, joint × ln(lift), is large where a pair is both strong and
    seen often: by lift alone rare coincidences win (``analytics.D8``). Ties go to the smaller
    feature. Memory: what ``WAITING`` says, and the best.
    """

    def __init__(self, margins: Margins, *, top: int, min_fires: int, min_joint: int) -> None:
        self._margins = margins
        self._top, self._min_joint = top, min_joint
        self._eligible = margins.fires >= min_fires
        self._least = np.zeros(len(margins.fires))
        none, zeros = np.zeros(0, np.int64), np.zeros(0)
        self._waiting = [Partners(none, none, none, zeros, zeros)]
        self._count = 0

    @property
    def n_tests(self) -> int:
        """Pairs of two features that fire often enough, together or not."""
        able = int(self._eligible.sum())
        return able * (able - 1) // 2

    def add(self, counted: CoFirings | DenseCoFirings) -> None:
        """Let the pairs of a range compete."""
        for pairs in counted.strong(self._min_joint):
            self._compete(*pairs)

    def _compete(self, first: Counts, second: Counts, joint: Counts, product: Floats) -> None:
        fires = self._margins.fires
        expected = fires[first] * (fires[second] / max(self._margins.n, 1))
        score = joint.astype(np.float64) * np.log(joint / expected)
        able = (score > 0) & self._eligible[first] & self._eligible[second]
        for feature, partner in ((first, second), (second, first)):
            kept = able & (score >= self._least[feature])
            self._waiting.append(
                Partners(feature[kept], partner[kept], joint[kept], product[kept], score[kept])
            )
            self._count += int(kept.sum())
        if self._count > WAITING:
            self._settle()

    def finish(self) -> Partners:
        """Up to ``top`` partners of each feature; none for one without any."""
        return self._settle()

    def _settle(self) -> Partners:
        names = ("feature", "partner", "joint", "product", "score")
        columns = [np.concatenate([getattr(one, name) for one in self._waiting]) for name in names]
        feature, partner, score = columns[0], columns[1], columns[4]
        order = np.lexsort((partner, -score, feature))
        place = within_group(feature[order])
        last = order[place == self._top - 1]
        self._least[feature[last]] = score[last]
        best = Partners(*(column[order[place < self._top]] for column in columns))
        self._waiting, self._count = [best], len(best.feature)
        return best
