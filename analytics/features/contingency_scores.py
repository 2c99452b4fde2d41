"""What contingency tables tell: chi-square, lift, intersection over union, mutual information."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from actlake.analytics.features.contingency import WIDEST, ContingencyTables
from actlake.analytics.features.fisher import fisher_exact
from actlake.analytics.features.information import (
    chance_information,
    chance_label_information,
    information,
)
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def label_information(tables: ContingencyTables) -> dict[str, NDArray[Any]]:
    """How the levels of each feature go with the whole label; one entry a stratum and feature.

    ``stratum``, ascending, ``feature``, ascending within it; ``n`` units of the stratum; ``chi2``
    of Pearson, without continuity correction, its ``freedom`` (0 where all units have one level or
    one value) and ``p`` (1 there); ``information`` of level and value in nats, the plug-in
    estimate, and ``information_by_chance``, its mean over all ways to deal the values out within
    the stratum, to be taken off. p and chance want units that are exchangeable, which rows of one
    document are not. A feature that fires on no unit of a stratum tells nothing there and has no
    entry. ``tables.over_all()`` gives the same over all units. Takes 100 bytes a cell.
    """
    rows = _Rows.of(tables)
    n, levels = rows.n, rows.levels
    size, of_cell = rows.size, rows.row
    in_level = levels[of_cell, tables.level]
    chi2, told = np.zeros(len(n)), np.zeros(len(n))

    def add(row: Counts, count: Counts, in_level: Counts, size: Counts) -> None:
        """What cells of ``count`` units add, of a level of ``in_level`` and a value of ``size``."""
        expected = in_level * (size / n[row])
        with np.errstate(invalid="ignore", divide="ignore"):
            apart = np.where(expected > 0, np.square(count - expected) / expected, 0)
            ratio = np.where(count > 0, count / expected, 1)
        chi2[:] += np.bincount(row, apart, len(n))
        told[:] += np.bincount(row, count / n[row] * np.log(ratio), len(n))

    add(of_cell, tables.count, in_level, size)
    # A level that is above 0 and has no unit of a value: what was expected is what is amiss.
    place = of_cell * levels.shape[1] + tables.level
    held = np.bincount(place, size, levels.size).reshape(levels.shape)
    chi2 += (levels * (1 - held / n[:, None]))[:, 1:].sum(axis=1)
    # Silent units of each value on which the feature fires somewhere, then of all other values.
    pair, first, of_pair = np.unique(
        of_cell * WIDEST + tables.label, return_index=True, return_inverse=True
    )
    row, silent = pair // WIDEST, levels[:, 0]
    fires = np.bincount(of_pair, tables.count, len(pair)).astype(np.int64)
    add(row, size[first] - fires, silent[row], size[first])
    rest = 1 - np.bincount(row, size[first], len(n)) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        chi2 += np.where(silent > 0, np.square(n - silent) / silent * rest, 0)
        told += np.where(silent > 0, rest * np.log(n / silent), 0)
    by_chance = np.zeros(len(n))
    for part, sizes in rows.strata():
        by_chance[part] = chance_label_information(levels[part], sizes)
    freedom = (np.count_nonzero(levels, axis=1) - 1) * (rows.values - 1)
    return {
        "stratum": rows.stratum,
        "feature": rows.feature,
        "n": n,
        **_tested(np.where(freedom > 0, np.maximum(chi2, 0), 0), freedom),
        "information": np.maximum(told, 0),
        "information_by_chance": by_chance,
    }


def information_given_stratum(tables: ContingencyTables) -> dict[str, NDArray[Any]]:
    """How levels and label go together where the stratum is known; one entry a feature that fires.

    ``feature``, ascending; ``chi2``, ``freedom`` and ``p`` of the sum over strata; ``information``,
    I(level; value | stratum), and ``information_by_chance``: means over units of all strata of
    what ``label_information`` says of each. Exclusive or of a feature and the stratum has none
    over all and ln 2 here.
    """
    found = label_information(tables)
    features, place = np.unique(found["feature"], return_inverse=True)
    share = found["n"] / max(int(tables.seen_rows.sum()), 1)

    def total(of: NDArray[Any]) -> Floats:
        return np.bincount(place, of, len(features)).astype(np.float64)

    freedom = total(found["freedom"]).astype(np.int64)
    return {
        "feature": features,
        **_tested(total(found["chi2"]), freedom),
        "information": total(found["information"] * share),
        "information_by_chance": total(found["information_by_chance"] * share),
    }


def value_scores(tables: ContingencyTables, *, level: int = 1) -> dict[str, NDArray[Any]]:
    """How each feature goes with each value of the label against all others.

    One entry a stratum, feature and value, ascending in this order, on some unit of which the
    feature reaches ``level``: what has none has ``lift`` and ``iou`` 0 and is left out.
    ``n`` units of the stratum, ``n_positive`` of them with the value, ``fires`` at that level or
    above, ``fires_positive`` both; ``lift``, P(value | fires) / P(value); ``iou``, both over
    either; ``chi2`` of reaching the level or not, 0 where all units do or all have the value;
    ``p_fisher`` of the same (``fisher_exact``); ``information`` of all levels and the value in
    nats, and ``information_by_chance`` (``chance_information``). The last three want units that
    are exchangeable. Takes 220 bytes a cell. Raises InputError for a level that is not there.

    Source: lift and intersection over union as in network dissection (Bau et al. 2017,
    arXiv 1704.05796), with the threshold as the last of the edges.
    """
    if not 1 <= level < tables.levels:
        raise InputError(
            f"no level {level} of a feature fires; give one from 1 to {tables.levels - 1}"
        )
    rows = _Rows.of(tables)
    pair, first, of_cell = np.unique(
        rows.row * WIDEST + tables.label, return_index=True, return_inverse=True
    )
    row, label = np.divmod(pair, WIDEST)
    positive = _spread(of_cell, tables, len(pair))
    n_positive = rows.size[first]
    positive[:, 0] = n_positive - positive.sum(axis=1)
    both = positive[:, level:].sum(axis=1)
    kept = np.flatnonzero(both)
    row, label, positive, n_positive, both = (
        one[kept] for one in (row, label, positive, n_positive, both)
    )
    n, levels = rows.n[row], rows.levels[row]
    fires = levels[:, level:].sum(axis=1)
    sides = fires * (n - fires) * (n_positive / n) * (n - n_positive)
    with np.errstate(invalid="ignore", divide="ignore"):
        chi2 = np.where(sides > 0, np.square(both - fires * (n_positive / n)) * n**2 / sides, 0)
    p_fisher, by_chance = np.empty(len(row)), np.empty(len(row))
    # One call for a stratum and a value, whose units are one number; strata rise as it is.
    order = np.argsort(label, kind="stable")
    group = rows.stratum[row[order]] * WIDEST + label[order]
    for some in np.split(order, np.flatnonzero(np.diff(group)) + 1):
        if len(some):
            counts = both[some], fires[some], n_positive[some]
            p_fisher[some] = fisher_exact(*counts, int(n[some[0]]))
            by_chance[some] = chance_information(levels[some], n_positive[some[:1]])[:, 0]
    return {
        "stratum": rows.stratum[row],
        "feature": rows.feature[row],
        "label": label,
        "n": n,
        "n_positive": n_positive,
        "fires": fires,
        "fires_positive": both,
        "lift": both / fires * (n / n_positive),
        "iou": both / (fires + n_positive - both),
        "chi2": chi2,
        "p_fisher": p_fisher,
        "information": information(positive, levels),
        "information_by_chance": by_chance,
    }


@dataclass(frozen=True, slots=True)
class _Rows:
    """Pairs of a stratum and a feature that fires in it, stratum by stratum."""

    stratum: Counts
    feature: Counts
    n: Counts
    """Units of the stratum."""
    values: Counts
    """Values that they have."""
    levels: Counts
    """Units of each level, shape (rows, levels)."""
    row: Counts
    """Of each cell of the tables."""
    size: Counts
    """Units of the stratum with the value of each cell."""
    tables: ContingencyTables

    @classmethod
    def of(cls, tables: ContingencyTables) -> Self:
        strata, of_seen = np.unique(tables.seen_stratum, return_inverse=True)
        units = np.bincount(of_seen, tables.seen_rows, len(strata)).astype(np.int64)
        at = np.searchsorted(strata, tables.stratum)
        found, row = np.unique(at * tables.n_features + tables.feature, return_inverse=True)
        at, feature = np.divmod(found, max(tables.n_features, 1))
        n = units[at]
        levels = _spread(row, tables, len(found))
        levels[:, 0] = n - levels.sum(axis=1)
        seen = tables.seen_stratum * WIDEST + tables.seen_label
        place = np.searchsorted(seen, tables.stratum * WIDEST + tables.label)
        values = np.bincount(of_seen, minlength=len(strata))[at]
        return cls(strata[at], feature, n, values, levels, row, tables.seen_rows[place], tables)

    def strata(self) -> Iterator[tuple[slice, Counts]]:
        """The rows of each stratum, and the units of each value there."""
        tables = self.tables
        for one in np.unique(self.stratum):
            rows, seen = (
                slice(*np.searchsorted(of, [one, one + 1]))
                for of in (self.stratum, tables.seen_stratum)
            )
            yield rows, tables.seen_rows[seen]


def _spread(place: Counts, tables: ContingencyTables, places: int) -> Counts:
    """The counts of all cells of each place by level, shape (places, levels), silent ones as 0."""
    at = place * tables.levels + tables.level
    found = np.bincount(at, tables.count, places * tables.levels)
    return found.astype(np.int64).reshape(places, tables.levels)


def _tested(chi2: Floats, freedom: Counts) -> dict[str, NDArray[Any]]:
    p = np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), chi2), 1.0)
    return {"chi2": chi2, "freedom": freedom, "p": p}
