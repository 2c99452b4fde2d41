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
    """The stratum of each document, numbered from 0 without gaps: units change places only inside
    their stratum. All 0 if anywhere."""


def largest_units(y: Floats, group: NDArray[Any], finer: NDArray[Any] | None = None) -> Units:
    """The largest unit on which ``y`` is constant: the group, else ``finer``, else the document.

    All of shape (documents,). Groups change places with groups. Smaller units change places only
    within their group: documents of a group resemble each other, so exchange between groups would
    count what groups differ in as evidence.
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

    Raises InputError if ``y`` varies within a unit.
    """
    of_unit, stratum = _by_unit(y, units)
    rng = np.random.default_rng(seed)
    places = np.argsort(stratum, kind="stable")
    for start in range(0, draws, BLOCK):
        size = (min(BLOCK, draws - start), len(of_unit))
        # Sorting by stratum and then by chance orders each stratum at random.
        taken = np.argsort(stratum + rng.random(size), axis=1)
        shuffled = np.empty(size)
        shuffled[:, places] = of_unit[taken]
        yield shuffled[:, units.unit].T


def smallest_p(y: Floats, units: Units) -> float:
    """The smallest p that an exact permutation test of |correlation| could give.

    One over the number of distinct assignments of the target to units, or two over it if the
    assignments contain their mirror images, which correlate as strongly: with 3 groups of each of
    two classes 2 / 20, however strong the effect.
    """
    of_unit, stratum = _by_unit(y, units)
    logarithm, mirrored, ends = 0.0, True, set()
    for one in range(stratum.max(initial=-1) + 1):
        values = np.sort(of_unit[stratum == one])
        repeats = np.unique(values, return_counts=True)[1]
        logarithm += float(gammaln(len(values) + 1) - gammaln(repeats + 1).sum())
        mirror = values + values[::-1]
        mirrored &= bool((mirror == mirror[0]).all())
        ends.add(mirror[0])
    return min(1.0, float(np.exp(np.log(2.0) * (mirrored and len(ends) == 1) - logarithm)))


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

    Under the null hypothesis units (of one stratum) are exchangeable. The target is shuffled and
    residualised anew, so its relation to the controls is not kept: with controls the test is
    approximate, and good as the statistic does not depend on scale. Time: ``draws`` × values.

    Source: Westfall & Young (1993), "Resampling-based multiple testing", for the maximum; Phipson
    & Smyth (2010) for 1 + b; Anderson & Legendre (1999) for shuffling with controls.
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
