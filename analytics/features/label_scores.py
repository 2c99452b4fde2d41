"""How each feature goes with each class of a label: counts, sums, AUROC, AUPRC and best F1."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.special import ndtr

from actlake.analytics.features.grouping import within_group
from actlake.analytics.features.information import information
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Matrix = scipy.sparse.csr_array
TOP_SHARE = 0.005
"""Of units: what a concept is laid over (``analytics.C15``)."""


class RankedFeatures:
    """The values of each feature in rank order, silent units as zeros below all that fire.

    Made once for some units; each set of classes is then a sparse product. Takes 60 bytes a value.
    ``values``, shape (units, features), holds no zeros and nothing below.
    """

    def __init__(self, values: Matrix) -> None:
        self.n, self.n_features = values.shape
        by_feature = values.tocsc()
        self._starts = by_feature.indptr.astype(np.int64)
        self.fires = np.diff(self._starts)
        feature = np.repeat(np.arange(self.n_features, dtype=np.int32), self.fires)
        # Descending values, then a stable sort by feature, which is fast where keys are short.
        order = np.argsort(-by_feature.data, kind="stable")
        narrow = np.uint16 if self.n_features <= 1 << 16 else np.int32
        order = order[np.argsort(feature[order].astype(narrow), kind="stable")]
        self._unit = by_feature.indices[order]
        self._value = by_feature.data[order]
        changed = np.ones(len(order), np.bool_)
        changed[1:] = (np.diff(self._value) != 0) | (np.diff(feature) != 0)
        self._first = np.flatnonzero(changed)  # of each run of equal values
        self._of_run = feature[self._first]
        self._length = np.diff(self._first, append=len(order))
        self._run_starts = np.searchsorted(self._of_run, np.arange(self.n_features + 1))

    def _matrix(self, data: NDArray[Any]) -> scipy.sparse.csr_array:
        """``data`` at the places of the values, shape (features, units)."""
        return scipy.sparse.csr_array(
            (data, self._unit, self._starts), shape=(self.n_features, self.n)
        )

    def scores(self, classes: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Columns of feature_labels of each feature and class, shape (features, classes) each.

        ``classes``, shape (units, classes), says which units have each value; a unit may have one
        value, several or none. AUROC counts silent units, as zeros, and ties by a half; average
        precision and the best threshold are of distinct values, all silent units coming last;
        information is of the ``levels`` and the class, in nats. p of
        Mann-Whitney: normal with the variance of the ties, no continuity correction, 1 for a
        feature that is constant. InputError for a class of no unit or of all.
        """
        positive = classes.sum(axis=0)
        if not ((positive > 0) & (positive < self.n)).all():
            raise InputError("a class that no unit has, or all, cannot be told from others")
        y = classes.astype(np.float64)
        ones = np.ones(len(self._value))
        fires = self._matrix(ones) @ y
        place = within_group(np.repeat(np.arange(self.n_features), self.fires))
        silent = self.fires[:, None] == fires
        columns: dict[str, NDArray[Any]] = self._both("fires", ones, fires, silent)
        columns |= self._both("sum", self._value, self._matrix(self._value) @ y, silent)
        squares = self._value**2
        columns |= self._both("square", squares, self._matrix(squares) @ y, silent)
        top = self._top().astype(np.float64)
        columns["top_positive"] = np.rint(self._matrix(top) @ y).astype(np.int64)
        columns["top_n"] = np.broadcast_to(self._per_feature(top)[:, None], fires.shape)
        columns["information"] = self._information(positive, fires, y)
        columns |= self._auroc(positive, fires, place, y)
        columns |= self._curves(classes, positive)
        shape = fires.shape
        columns["n_positive"] = np.broadcast_to(positive, shape)
        columns["n_negative"] = np.broadcast_to(self.n - positive, shape)
        for name in ("fires_positive", "fires_negative", "top_n"):
            columns[name] = np.rint(columns[name]).astype(np.int64)
        return columns

    def _per_feature(self, data: Floats) -> Floats:
        # Not differences of a running sum, whose rounding would be that of all features together.
        sums = np.zeros(self.n_features)
        some = self.fires > 0
        if some.any():
            sums[some] = np.add.reduceat(data, self._starts[:-1][some])
        return sums

    def _both(
        self, name: str, data: Floats, positive: Floats, silent: NDArray[np.bool_]
    ) -> dict[str, Floats]:
        """Sums over units of each class, and over all others."""
        others = np.maximum(self._per_feature(data)[:, None] - positive, 0)
        others[silent] = 0  # where a difference would leave rounding
        return {f"{name}_positive": positive, f"{name}_negative": others}

    def _top(self) -> NDArray[np.bool_]:
        """Values above the threshold that ``TOP_SHARE`` of all units reach; ties stay out."""
        return self._above(np.full(self.n_features, int(TOP_SHARE * self.n)))

    def _above(self, most: Counts) -> NDArray[np.bool_]:
        """The ``most`` largest values of each feature, without those that tie with another."""
        ends = self._first + self._length - self._starts[self._of_run]
        return np.repeat(ends <= most[self._of_run], self._length)

    def _strong(self) -> Floats:
        """1 for values above the median of their feature, 0 for others, and for ties with it."""
        return self._above(self.fires // 2).astype(np.float64)

    def levels(self) -> Counts:
        """Units on which each feature is silent, weak and strong, shape (features, 3).

        Strong is above the median of its firing values, so both levels are as frequent but for
        ties, which are weak.
        """
        strong = np.rint(self._per_feature(self._strong())).astype(np.int64)
        return np.stack((self.n - self.fires, self.fires - strong, strong), axis=1)

    def _information(self, positive: Counts, fires: Floats, y: Floats) -> Floats:
        """In nats, of silent, weak and strong and each class."""
        strong = self._matrix(self._strong()) @ y
        levels = np.stack((positive - fires, fires - strong, strong), axis=2)
        return information(levels, self.levels()[:, None, :])

    def _auroc(
        self, positive: Counts, fires: Floats, place: Counts, y: Floats
    ) -> dict[str, Floats]:
        silent = self.n - self.fires
        # Mean ranks from the bottom: 1 to n, equal values sharing theirs.
        first_place = np.repeat(place[self._first], self._length)
        length = np.repeat(self._length, self._length)
        rank = self.n - first_place - (length - 1) / 2
        ranks = self._matrix(rank) @ y + (positive - fires) * ((silent + 1) / 2)[:, None]
        negative = self.n - positive
        auroc = (ranks - positive * (positive + 1) / 2) / (positive * negative)
        tied = np.bincount(
            self._of_run, self._length.astype(np.float64) ** 3 - self._length, self.n_features
        ) + (silent.astype(np.float64) ** 3 - silent)
        n = float(self.n)
        spread = np.sqrt(np.clip(n + 1 - tied / (n * (n - 1)), 0, None))[:, None]
        deviation = spread / np.sqrt(12.0 * positive * negative)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.abs(auroc - 0.5) / deviation
        p = np.where(deviation > 0, 2 * ndtr(-z), 1.0)
        return {"auroc": auroc, "p": np.maximum(p, np.finfo(np.float64).tiny)}

    def _curves(self, classes: NDArray[np.bool_], positive: Counts) -> dict[str, Floats]:
        """AUPRC and the threshold of the largest F1, class by class."""
        names = ("auprc", "threshold", "precision", "recall", "f1")
        found = {name: np.empty((self.n_features, len(positive))) for name in names}
        last = self._first + self._length
        base = self._starts[self._of_run]
        above = last - base  # units at or above each distinct value
        some = self.fires > 0
        of_class = np.ascontiguousarray(classes.T)
        for column, n_positive in enumerate(positive.tolist()):
            hits = np.concatenate(([0], np.cumsum(of_class[column][self._unit], dtype=np.int32)))
            true = hits[last] - hits[base]
            new = hits[last] - hits[self._first]
            precision = true / above
            gained = np.zeros(self.n_features)
            if some.any():
                gained[some] = np.add.reduceat(new * precision, self._run_starts[:-1][some])
            all_share = n_positive / self.n  # precision where every unit is taken
            missed = n_positive - (hits[self._starts[1:]] - hits[self._starts[:-1]])
            found["auprc"][:, column] = (gained + missed * all_share) / n_positive
            f1 = 2 * true / (n_positive + above)
            everything = 2 * n_positive / (n_positive + self.n)
            best = np.full(self.n_features, everything)
            where = np.full(self.n_features, -1)
            if len(f1):
                largest = np.maximum.reduceat(f1, self._run_starts[:-1][some])
                at = np.flatnonzero(f1 == np.repeat(largest, np.diff(self._run_starts)[some]))
                feature, first = np.unique(self._of_run[at], return_index=True)
                better = largest >= everything
                best[feature[better]] = largest[better]
                where[feature[better]] = at[first[better]]
            fired = where >= 0
            run = where[fired]
            values = {
                "f1": best,
                "threshold": _filled(fired, self._value[self._first][run], 0.0),
                "precision": _filled(fired, precision[run], all_share),
                "recall": _filled(fired, true[run] / n_positive, 1.0),
            }
            for name, one in values.items():
                found[name][:, column] = one
        return found


def _filled(where: NDArray[np.bool_], values: Floats, other: float) -> Floats:
    result = np.full(len(where), other)
    result[where] = values
    return result
