"""How each feature goes with each class of a label: counts, sums, AUROC, AUPRC and best F1."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.special import ndtr

from actlake.analytics.features.grouping import consecutive, stable_order, within_group
from actlake.analytics.features.information import information
from actlake.storage.errors import InputError
from actlake.storage.threads import default_threads

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Matrix = scipy.sparse.csr_array
TOP_SHARE = 0.005
"""Of units: what a concept is laid over (``analytics.C15``)."""
TOGETHER = 250_000
"""Values, or those of one feature, that are ranked together, beside others in other threads."""
LEAST = 10_000
"""Of which several threads are worth while."""


def scores_of_layers(
    values: Matrix, layers: Sequence[NDArray[Any]], there: Sequence[NDArray[np.int64]]
) -> tuple[dict[str, NDArray[Any]], Counts]:
    """``RankedFeatures.scores`` of the classes ``there`` in each layer, one layer after the other,
    shape (features, classes) each, and ``RankedFeatures.levels``, shape (features, 3).

    ``values`` has shape (units, features), one feature at least. A layer, shape (units,), has one
    class of each unit, -1 for none; of all layers one class at least is there. InputError for a
    class of no unit or of all.
    """
    threads = default_threads()
    by_feature = values.tocsc()
    fires = np.diff(by_feature.indptr).astype(np.int64)
    pieces = consecutive(fires, max(LEAST, min(TOGETHER, -(-values.nnz // threads))))
    numbers = []
    for layer, classes in zip(layers, there, strict=True):
        if len(classes):
            place = np.full(max(int(layer.max()), int(classes.max())) + 2, -1)  # -1 is the last
            place[classes] = np.arange(len(classes))
            numbers.append((place[layer], len(classes)))

    def of(piece: tuple[int, int]) -> tuple[dict[str, NDArray[Any]], Counts]:
        ranked = RankedFeatures(by_feature[:, slice(*piece)])
        parts = [ranked.scores(*number) for number in numbers]
        joined = {name: np.concatenate([one[name] for one in parts], axis=1) for name in parts[0]}
        return joined, ranked.levels()

    with ThreadPoolExecutor(threads) as pool:
        scores, levels = zip(*pool.map(of, pieces), strict=True)
    columns = {name: np.concatenate([one[name] for one in scores]) for name in scores[0]}
    return columns, np.concatenate(levels)


class RankedFeatures:
    """The values of each feature in rank order, silent units as zeros below all that fire.

    Made once for some units; each set of classes is then a sparse product. Takes 60 bytes a value.
    ``values``, shape (units, features), holds no zeros and nothing below.
    """

    def __init__(self, values: Matrix | scipy.sparse.csc_array) -> None:
        self.n, self.n_features = values.shape
        by_feature = values.tocsc()
        self._starts = by_feature.indptr.astype(np.int64)
        self.fires = np.diff(self._starts)
        feature = np.repeat(np.arange(self.n_features, dtype=np.int32), self.fires)
        order = _strongest_first(feature, by_feature.data)
        self._unit = by_feature.indices[order]
        self._value = by_feature.data[order]
        changed = np.ones(len(order), np.bool_)
        changed[1:] = (np.diff(self._value) != 0) | (np.diff(feature) != 0)
        self._first = np.flatnonzero(changed)  # of each run of equal values
        self._of_run = feature[self._first]
        self._length = np.diff(self._first, append=len(order))

    def scores(self, number: NDArray[np.integer[Any]], classes: int) -> dict[str, NDArray[Any]]:
        """Columns of feature_labels of each feature and class, shape (features, classes) each.

        ``number``, shape (units,), says which of ``classes`` values each unit has; -1 for none of
        them. AUROC counts silent units, as zeros, and ties by a half; average precision and the
        best threshold are of distinct values, all silent units coming last; information is of the
        ``levels`` and the class, in nats. p of Mann-Whitney: normal with the variance of the ties,
        no continuity correction, 1 for a feature that is constant. InputError for a class of no
        unit or of all.
        """
        positive = np.bincount(number[number >= 0], minlength=classes)
        if not ((positive > 0) & (positive < self.n)).all():
            raise InputError(
                "a class that no unit has, or all, cannot be told from others; leave it out"
            )
        # Of each value the feature and its unit's class in one number; the last column is of none.
        of_unit = np.where(number >= 0, number, classes)[self._unit]
        feature = np.repeat(np.arange(self.n_features), self.fires)
        self._cell = feature * (classes + 1) + of_unit
        self._classes = classes
        place = within_group(feature)
        fires = self._sums(None)
        silent = self.fires[:, None] == fires
        columns: dict[str, NDArray[Any]] = self._both("fires", np.ones(len(of_unit)), fires, silent)
        columns |= self._both("sum", self._value, self._sums(self._value), silent)
        squares = self._value**2
        columns |= self._both("square", squares, self._sums(squares), silent)
        top = self._top().astype(np.float64)
        columns["top_positive"] = np.rint(self._sums(top)).astype(np.int64)
        columns["top_n"] = np.broadcast_to(self._per_feature(top)[:, None], fires.shape)
        columns["information"] = self._information(positive, fires)
        columns |= self._auroc(positive, fires, place)
        columns |= self._curves(of_unit, positive)
        shape = fires.shape
        columns["n_positive"] = np.broadcast_to(positive, shape)
        columns["n_negative"] = np.broadcast_to(self.n - positive, shape)
        for name in ("fires_positive", "fires_negative", "top_n"):
            columns[name] = np.rint(columns[name]).astype(np.int64)
        return columns

    def _sums(self, data: Floats | None) -> Floats:
        """``data`` of the values, or how many they are, by feature and class of their unit."""
        cells = self.n_features * (self._classes + 1)
        found = np.bincount(self._cell, data, cells).reshape(self.n_features, -1)[:, :-1]
        return found.astype(np.float64)

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

    def _information(self, positive: Counts, fires: Floats) -> Floats:
        """In nats, of silent, weak and strong and each class."""
        strong = self._sums(self._strong())
        levels = np.stack((positive - fires, fires - strong, strong), axis=2)
        return information(levels, self.levels()[:, None, :])

    def _auroc(self, positive: Counts, fires: Floats, place: Counts) -> dict[str, Floats]:
        silent = self.n - self.fires
        # Mean ranks from the bottom: 1 to n, equal values sharing theirs.
        first_place = np.repeat(place[self._first], self._length)
        length = np.repeat(self._length, self._length)
        rank = self.n - first_place - (length - 1) / 2
        ranks = self._sums(rank) + (positive - fires) * ((silent + 1) / 2)[:, None]
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

    def _curves(self, of_unit: Counts, positive: Counts) -> dict[str, Floats]:
        """AUPRC and the threshold of the largest F1, class by class.

        Both change only where a unit of the class comes in, so its own values are all that is seen.
        """
        names = ("auprc", "threshold", "precision", "recall", "f1")
        found = {name: np.empty((self.n_features, len(positive))) for name in names}
        by_class = _order(of_unit, len(positive) + 1)  # and by value within a class
        ends = np.cumsum(np.bincount(of_unit, minlength=len(positive) + 1))
        of_value = np.repeat(np.arange(len(self._first)), self._length)
        last = self._first + self._length
        for column, n_positive in enumerate(positive.tolist()):
            hits = by_class[ends[column - 1] if column else 0 : ends[column]]
            of_hit = of_value[hits]  # ascending, as values lie
            edges = np.flatnonzero(np.diff(of_hit, prepend=-1, append=len(self._first)))
            run, new = of_hit[edges[:-1]], np.diff(edges)
            feature = self._of_run[run]
            begin = np.searchsorted(hits, self._starts)  # hits before each feature
            true = np.cumsum(new) - begin[feature]
            above = last[run] - self._starts[feature]  # units at or above each distinct value
            precision = true / above
            gained = np.bincount(feature, new * precision, self.n_features)
            all_share = n_positive / self.n  # precision where every unit is taken
            missed = n_positive - np.diff(begin)
            found["auprc"][:, column] = (gained + missed * all_share) / n_positive
            f1 = 2 * true / (n_positive + above)
            everything = 2 * n_positive / (n_positive + self.n)
            # The largest of each feature, of equal ones that of the largest value, the first.
            begins = np.flatnonzero(np.diff(feature, prepend=-1))
            largest = np.zeros(self.n_features)
            if len(begins):
                largest[feature[begins]] = np.maximum.reduceat(f1, begins)
            best = np.flatnonzero((f1 == largest[feature]) & (f1 >= everything))
            best = best[np.diff(feature[best], prepend=-1) != 0]
            fired = feature[best]
            values = {
                "f1": (f1[best], everything),
                "threshold": (self._value[self._first[run[best]]], 0.0),
                "precision": (precision[best], all_share),
                "recall": (true[best] / n_positive, 1.0),
            }
            for name, (one, other) in values.items():
                found[name][:, column] = other
                found[name][fired, column] = one
        return found


def _strongest_first(feature: NDArray[np.int32], value: Floats) -> Counts:
    """The order of values > 0 by feature, then from the largest; equal ones as they stand."""
    with np.errstate(over="ignore"):
        narrow = value.astype(np.float32)
    if (narrow == value).all():  # whose bits rise with the numbers
        return stable_order((feature.astype(np.int64) << 32) | ~narrow.view(np.uint32))
    order = np.argsort(-value, kind="stable")
    return order[stable_order(feature[order].astype(np.int64))]


def _order(keys: NDArray[np.integer[Any]], below: int) -> Counts:
    """A stable order of ``keys``, which are in [0, ``below``): fast, as they are made short."""
    narrow = np.uint16 if below <= 1 << 16 else np.int32
    return np.argsort(keys.astype(narrow), kind="stable")
