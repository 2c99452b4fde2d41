"""What shuffled targets would give: p-values that assume nothing but exchangeable units."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from actlake.analytics.hypotheses.labels import is_constant_within
from actlake.analytics.hypotheses.pooling import Matrix
from actlake.analytics.hypotheses.screening import correlations
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

BLOCK = 256
"""Shuffled targets held at a time: 2 KiB a document."""
ROUNDING = 1e-9
"""A shuffle that gives the observed target again counts, though its sums may round otherwise."""


@dataclass(frozen=True, slots=True)
class Units:
    """What is exchanged when a target is shuffled."""

    unit: Numbers
    """Of each document, numbered from 0 without gaps; the target is constant within it."""
    within: Numbers
    """The stratum of each document, numbered from 0 without gaps: the group where units are
    smaller than groups, else all 0."""


def largest_units(y: Floats, group: NDArray[Any], finer: NDArray[Any] | None = None) -> Units:
    """The largest unit on which ``y`` is constant: the group, else ``finer``, else the document.

    All of shape (documents,). Groups change places with groups. Smaller units change places only
    within their group, as documents of a group resemble each other; what the target differs in
    between groups changes places with that of other groups (``shuffles``).
    """
    groups = _number(group)
    if is_constant_within(groups, y):
        return Units(groups, np.zeros_like(groups))
    if finer is not None:
        units = _number(groups * len(y) + _number(finer))
        if is_constant_within(units, y):
            return Units(units, groups)
    return Units(np.arange(len(y)), groups)


def _number(labels: NDArray[Any]) -> Numbers:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def shuffles(y: Floats, units: Units, draws: int, *, seed: int = 0) -> Iterator[Floats]:
    """``draws`` shuffled targets in blocks of shape (documents, up to 256).

    In one stratum, units change places at random. With several, a target is its stratum's mean
    over units plus a rest. The rests change places inside each stratum, and the means change
    places among strata, in standard deviations (``_Parts``): both parts move that a correlation
    over all documents measures, and no unit is exchanged for one of another stratum.

    Raises InputError if ``y`` varies within a unit.
    """
    parts = _parts(y, units)
    rng = np.random.default_rng(seed)
    places = np.argsort(parts.stratum, kind="stable")
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        # Sorting by stratum and then by chance orders each stratum at random.
        taken = np.argsort(parts.stratum + rng.random((size, len(places))), axis=1)
        shuffled = np.empty((size, len(places)))
        shuffled[:, places] = parts.rest[taken]
        if len(parts.mean) > 1:
            moved = np.argsort(rng.random((size, len(parts.mean))), axis=1)
            means = parts.centre + parts.spread * parts.mean[moved]
            shuffled += means[:, parts.stratum]
        yield shuffled[:, units.unit].T


@dataclass(frozen=True, slots=True)
class _Parts:
    """A target taken apart: centre + spread · mean of the stratum + rest of the unit."""

    stratum: Numbers
    """Of each unit."""
    rest: Floats
    """Of each unit; with one stratum the target itself."""
    mean: Floats
    """Of each stratum, from the centre, in standard deviations: means of few units vary more, so
    only so measured are they alike enough to change places."""
    spread: Floats
    """That standard deviation, √(τ² + σ²/n) for n units: σ² is the variance of units within
    strata and τ² that of strata beyond it, by analysis of variance."""
    centre: float
    """The mean of the means, each weighted by 1 / spread²."""


def _parts(y: Floats, units: Units) -> _Parts:
    of_unit, stratum = _by_unit(y, units)
    n = np.bincount(stratum).astype(np.float64)
    if len(n) == 1:
        return _Parts(stratum, of_unit, np.zeros(1), np.ones(1), 0.0)
    means = np.bincount(stratum, of_unit) / n
    rest = of_unit - means[stratum]
    inside = float(np.square(rest).sum()) / max(n.sum() - len(n), 1.0)
    between = float((n * np.square(means - of_unit.mean())).sum()) / (len(n) - 1)
    typical = (n.sum() - np.square(n).sum() / n.sum()) / (len(n) - 1)
    variance = max((between - inside) / typical, 0.0) + inside / n
    spread = np.sqrt(np.where(variance > 0, variance, 1.0))
    centre = float(np.average(means, weights=spread**-2))
    return _Parts(stratum, rest, (means - centre) / spread, spread, centre)


def smallest_p(y: Floats, units: Units) -> float:
    """The smallest p that an exact permutation test of |correlation| could give.

    One over the number of distinct shuffles of the target, or two over it if they contain their
    mirror images, which correlate as strongly: with 3 groups of each of two classes 2 / 20,
    however strong the effect.
    """
    of_unit, stratum = _by_unit(y, units)
    parts = _parts(y, units)
    means = np.round(parts.mean, 9)
    logarithm, mirrored = _log_orders(means), _is_mirrored(means) and abs(means.sum()) < ROUNDING
    for one in range(len(means)):
        values = of_unit[stratum == one]
        logarithm += _log_orders(values)
        mirrored &= _is_mirrored(values)
    return min(1.0, float(np.exp(np.log(2.0) * mirrored - logarithm)))


def _log_orders(values: Floats) -> float:
    """The logarithm of the number of orders of ``values`` that differ."""
    repeats = np.unique(values, return_counts=True)[1]
    return float(gammaln(len(values) + 1) - gammaln(repeats + 1).sum())


def _is_mirrored(values: Floats) -> bool:
    ordered = np.sort(values)
    return bool(np.ptp(ordered + ordered[::-1]) <= ROUNDING * np.ptp(ordered))


def _by_unit(y: Floats, units: Units) -> tuple[Floats, Numbers]:
    """The target and the stratum of each unit."""
    if not is_constant_within(units.unit, y):
        raise InputError(
            "the target varies within a unit of the permutation; "
            "give a finer unit, such as the document"
        )
    first = np.unique(units.unit, return_index=True)[1]
    return y[first], units.within[first]


@dataclass(frozen=True, slots=True)
class PermutationTest:
    """p-values of each feature, shape (features,); NaN where the correlation is undefined."""

    p: Floats
    """(1 + b) / (1 + draws), b the shuffles whose |correlation| reaches the feature's own."""
    p_family: Floats
    """The same with b counting shuffles whose largest |correlation| of any feature reaches it:
    adjusted for all features, under any dependence among them."""
    draws: int
    smallest_p: float
    """No ``p`` can be expected below this, whatever the effect: of ``smallest_p`` and
    1 / (1 + draws) the larger."""


def permutation_test(
    features: Matrix,
    y: Floats,
    units: Units,
    controls: Floats | None = None,
    *,
    draws: int = 9999,
    seed: int = 0,
) -> PermutationTest:
    """Test of each feature's |correlation| with ``y``, partial given ``controls``.

    Under the null hypothesis units of one stratum are exchangeable, and strata are but for their
    size: with strata of unequal size the test is approximate. It takes groups as independent; a
    target and features that both drift, as with time, can correlate by that alone. The target is
    shuffled and residualised anew, so its relation to the controls is not kept: with controls the
    test is approximate, and good as the statistic does not depend on scale. Time: ``draws`` ×
    values.

    Source: Westfall & Young (1993), "Resampling-based multiple testing", for the maximum; Phipson
    & Smyth (2010) for 1 + b; Anderson & Legendre (1999) for shuffling with controls; Anderson & ter
    Braak (2003) for exchange of groups and, inside them, of units.
    """
    observed = np.abs(correlations(features, y, controls))
    bar = observed * (1 - ROUNDING)
    reached, family = np.zeros(len(observed)), np.zeros(len(observed))
    for block in shuffles(y, units, draws, seed=seed):
        null = np.abs(correlations(features, block, controls))
        reached += (null >= bar[:, None]).sum(axis=1)
        highest = np.max(null, axis=0, initial=0, where=~np.isnan(null))
        family += (highest >= bar[:, None]).sum(axis=1)
    undefined = np.where(np.isnan(observed), np.nan, 1)
    return PermutationTest(
        undefined * (1 + reached) / (1 + draws),
        undefined * (1 + family) / (1 + draws),
        draws,
        max(smallest_p(y, units), 1 / (1 + draws)),
    )
