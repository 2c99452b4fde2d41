"""What a design with few groups can find, before anything is tested."""

from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, t

from actlake.analytics.hypotheses.pooling import Matrix
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]


def power(
    effect: float,
    *,
    groups: int,
    documents_per_group: float,
    correlation_within: float,
    n_tests: int = 1,
    alpha: float = 0.05,
    share: float = 0.5,
) -> float:
    """The chance in [0, 1] to find a feature whose mean differs by ``effect`` between two classes.

    The class is a label of whole groups, ``share`` of which have it; ``effect`` is in standard
    deviations of the feature over documents of a class. Documents of a group correlate by
    ``correlation_within`` = ρ, so n = G·m of them are worth n / (1 + (m - 1) ρ) independent ones.
    Two-sided t test with G - 2 degrees of freedom at ``alpha`` / ``n_tests``, exact for groups of
    m normal documents, approximate otherwise. 0 where ``smallest_p_of_classes`` is larger than
    that level: then no permutation test reaches it. Raises InputError without 3 groups.

    Source: Donner & Klar (2000), "Design and analysis of cluster randomization trials".
    """
    if groups < 3:
        raise InputError(
            f"{groups} groups leave nothing to estimate an error from; give at least 3"
        )
    worth = groups * documents_per_group / (1 + (documents_per_group - 1) * correlation_within)
    shift, freedom = effect * np.sqrt(worth * share * (1 - share)), groups - 2
    if smallest_p_of_classes(groups, share) > alpha / n_tests:
        return 0.0
    critical = t.isf(alpha / n_tests / 2, freedom)
    # SciPy says NaN where the wrong tail is too small for it.
    wrong_sign = np.nan_to_num(nct.cdf(-critical, freedom, abs(shift)))
    return float(nct.sf(critical, freedom, abs(shift)) + wrong_sign)


def smallest_p_of_classes(groups: int, share: float = 0.5) -> float:
    """The smallest p of an exact permutation test over the ways to give ``share`` of the groups a
    class: 1 / C(G, k), or 2 / C(G, G/2), where swapping the classes correlates as strongly."""
    having = round(groups * share)
    return min(1.0, (1 + (2 * having == groups)) / comb(groups, having))


def detectable_effect(
    *,
    groups: int,
    documents_per_group: float,
    correlation_within: float,
    n_tests: int = 1,
    alpha: float = 0.05,
    share: float = 0.5,
    wanted: float = 0.8,
) -> float:
    """The effect, in standard deviations, that ``power`` finds with the chance ``wanted``.

    ``wanted`` lies between ``alpha`` / ``n_tests`` and 1. Infinite where ``power`` is 0 whatever
    the effect.
    """

    def lack(effect: float) -> float:
        return wanted - power(
            effect,
            groups=groups,
            documents_per_group=documents_per_group,
            correlation_within=correlation_within,
            n_tests=n_tests,
            alpha=alpha,
            share=share,
        )

    if lack(0) == wanted:
        return np.inf
    high = 1.0
    while lack(high) > 0:
        high *= 2
    return float(brentq(lack, 0, high))


def correlation_within(features: Matrix, group: NDArray[np.int64]) -> Floats:
    """Intra-class correlation of each feature by analysis of variance, shape (features,).

    ``group``, shape (documents,), numbers the groups from 0 without gaps. At most 1; near 0, also
    below, where documents of a group are no more alike than others. A feature that follows the
    target differs between groups for that reason too, so take the median over features. NaN for a
    constant feature, one group, or as many groups as documents.

    Source: Donner (1986), International Statistical Review 54, for groups of unequal size.
    """
    sizes = np.bincount(group).astype(np.float64)
    n, n_groups = sizes.sum(), len(sizes)
    if not 1 < n_groups < n:
        return np.full(features.shape[1], np.nan)
    total = np.asarray(features.sum(axis=0), np.float64)
    squares = np.asarray(features.power(2).sum(axis=0), np.float64)
    sums = np.zeros((n_groups, features.shape[1]))
    entries = features.tocoo()
    np.add.at(sums, (group[entries.row], entries.col), entries.data)
    of_groups = (np.square(sums) / sizes[:, None]).sum(axis=0)
    between = (of_groups - np.square(total) / n) / (n_groups - 1)
    inside = (squares - of_groups) / (n - n_groups)
    typical = (n - np.square(sizes).sum() / n) / (n_groups - 1)
    spread = between + (typical - 1) * inside
    alike: Floats = (between - inside) / np.where(spread > 1e-12 * squares, spread, np.nan)
    return alike
