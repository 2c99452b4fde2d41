"""What each part of a split holds, and what could be found in it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.evaluation.split import SPLITS
from actlake.analytics.hypotheses.labels import is_constant_within, numbered
from actlake.analytics.hypotheses.permutation import largest_units, smallest_p
from actlake.analytics.hypotheses.pooling import Pooled
from actlake.analytics.hypotheses.power import correlation_within, detectable_effect

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Design:
    """Of one part of a split."""

    split: str
    permuted: str
    """``group``, ``unit`` or ``document``: the largest on which the target is constant."""
    documents: int
    n_groups: int
    n_units: int
    """Of what is permuted."""
    smallest_p: float
    smallest_effect: float | None
    """That ``detectable_effect`` finds at 0.05 / tests; None if none is, and for every target but
    0/1 ones of whole groups, for which alone the formula holds."""
    intraclass: float | None
    """Correlation of two documents of one group, median over features; None if not estimable."""


def designs(
    pooled: Pooled,
    y: Floats,
    group: NDArray[Any],
    split: NDArray[np.int8],
    *,
    features: Numbers,
    n_tests: int,
    unit: NDArray[Any] | None = None,
) -> list[Design]:
    """One design a part; arguments as of ``findings.find``, ``features`` those selected."""
    groups = numbered(group)[0]
    finer = np.arange(len(y)) if unit is None else numbered(unit)[0]
    used = np.isfinite(y) & (pooled.rows > 0) & (groups >= 0) & (finer >= 0)
    found = []
    for part, name in enumerate(SPLITS):
        here = np.flatnonzero(used & (split == part))
        target, of_group = y[here], np.unique(groups[here], return_inverse=True)[1]
        units = largest_units(target, of_group, finer[here])
        permuted = _permuted(target, of_group, None if unit is None else finer[here])
        alike = correlation_within(pooled.values[here][:, features].tocsr(), of_group)
        alike = alike[np.isfinite(alike)]
        within = float(np.median(alike)) if len(alike) else None
        smallest = None
        if permuted == "group" and set(np.unique(target)) == {0.0, 1.0}:
            smallest = _detectable(target, of_group, within, max(n_tests, 1))
        found.append(
            Design(
                split=name,
                permuted=permuted,
                documents=len(here),
                n_groups=int(of_group.max(initial=-1)) + 1,
                n_units=int(units.unit.max(initial=-1)) + 1,
                smallest_p=smallest_p(target, units),
                smallest_effect=smallest,
                intraclass=within,
            )
        )
    return found


def _permuted(y: Floats, group: Numbers, unit: Numbers | None) -> str:
    if is_constant_within(group, y):
        return "group"
    return "unit" if unit is not None and is_constant_in_groups(unit, group, y) else "document"


def is_constant_in_groups(unit: Numbers, group: Numbers, y: Floats) -> bool:
    """Whether ``y`` is constant on each unit, numbered from 0; of several groups it is several."""
    pair = group * (unit.max(initial=-1) + 1) + unit
    return is_constant_within(np.unique(pair, return_inverse=True)[1], y)


def _detectable(y: Floats, group: Numbers, within: float | None, n_tests: int) -> float | None:
    sizes = np.bincount(group)
    alike = 0.0 if (sizes == 1).all() else within  # single documents are like themselves only
    if alike is None or len(sizes) < 3:
        return None
    effect = detectable_effect(
        groups=len(sizes),
        documents_per_group=float(sizes.mean()),
        correlation_within=max(alike, 0.0),
        n_tests=n_tests,
        share=float(y[np.unique(group, return_index=True)[1]].mean()),
    )
    return effect if np.isfinite(effect) else None
