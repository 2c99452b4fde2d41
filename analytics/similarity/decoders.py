"""Which atoms of two dictionaries of one space point the same way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from actlake.analytics.similarity.partners import Best, Floats, Matches, best_partners, matches
from actlake.analytics.similarity.random_maximum import (
    expected_maximum,
    maximum_quantile,
    maximum_tail,
)
from actlake.storage.errors import InputError

TILE_BYTES = 16 << 20
ASSIGNMENT_ATOMS = 4096
"""An assignment takes time cubic in the atoms; so many take about a minute."""


@dataclass(frozen=True, slots=True)
class DecoderMatches:
    """Best partners by cosine, and their mean beside that of random atoms."""

    matches: Matches
    mmcs_a: float
    """Mean over A's atoms of the largest cosine with one of B's; NaN without atoms."""
    mmcs_b: float
    null_a: float
    """What ``mmcs_a`` is on average where B's atoms are random directions."""
    null_b: float
    high_a: float
    """What 5 % of the largest cosines with random atoms, as many as B's, are above."""
    high_b: float


def match_decoders(
    a: NDArray[Any], b: NDArray[Any], *, tile_bytes: int = TILE_BYTES
) -> DecoderMatches:
    """The best partner of each atom among the other dictionary's, both ways, by cosine.

    a, b
        Atoms of one space, shapes (F_A, width) and (F_B, width), of any norm. An atom of norm 0
        has no partner. Signs count.
    returns
        p is exact for one atom among random ones: the tail of the largest of as many cosines as
        the other side has atoms. It says "better than random directions", no more: atoms of one
        space share its anisotropy, so compare with the dictionary of a shuffled model too.

    Holds three times ``tile_bytes`` beside float64 copies of the atoms. Raises InputError if the
    widths differ or are below 2.

    Source: Sharkey, Braun & Millidge (2022), "Taking features out of superposition with sparse
    autoencoders", for the mean of the maxima (MMCS).
    """
    unit_a, unit_b = _unit_pair(a, b)
    width = unit_a.shape[1]
    best_a, best_b = best_partners(_cosine_tiles(unit_a, unit_b, tile_bytes), len(unit_b))
    candidates = [int(np.isfinite(unit[:, 0]).sum()) for unit in (unit_b, unit_a)]
    p_a, mmcs_a, null_a = _against_random(best_a, candidates[0], width)
    p_b, mmcs_b, null_b = _against_random(best_b, candidates[1], width)
    features = (np.arange(len(unit_a)), np.arange(len(unit_b)))
    found = matches(features, (best_a, best_b), (p_a, p_b))
    high_a, high_b = (
        maximum_quantile(0.05, many, width) if many else np.nan for many in candidates
    )
    return DecoderMatches(found, mmcs_a, mmcs_b, null_a, null_b, high_a, high_b)


def assign_decoders(
    a: NDArray[Any], b: NDArray[Any], *, level: float = 0.05
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pairs of the one-to-one assignment with the largest sum of cosines: atoms of A, of B, cosine.

    An assignment gives orphans a partner too, so pairs whose cosine the best of random atoms
    reaches with probability ``level`` are left out. Ordered by A's atom. Raises InputError as
    ``match_decoders`` does, and for more than 4,096 atoms a side.

    Source: Kuhn (1955), "The Hungarian method for the assignment problem".
    """
    unit_a, unit_b = _unit_pair(a, b)
    most = max(len(unit_a), len(unit_b))
    if most > ASSIGNMENT_ATOMS:
        raise InputError(
            f"an assignment of {most:,} atoms takes too long, the limit is {ASSIGNMENT_ATOMS:,}; "
            "take the mutual pairs of match_decoders instead"
        )
    cosines = np.nan_to_num(unit_a @ unit_b.T)
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    cosine = cosines[rows, columns]
    beyond_chance = cosine > maximum_quantile(level, most, unit_a.shape[1])
    return rows[beyond_chance], columns[beyond_chance], cosine[beyond_chance]


def _against_random(best: Best, many: int, width: int) -> tuple[Floats, float, float]:
    """p of each best cosine among ``many``, their mean, and the mean of random ones."""
    p, paired = np.full(len(best.partner), np.nan), best.partner >= 0
    if not paired.any():
        return p, np.nan, np.nan
    p[paired] = maximum_tail(best.score[paired], many, width)
    return p, float(best.score[paired].mean()), expected_maximum(many, width)


def _cosine_tiles(a: Floats, b: Floats, tile_bytes: int) -> Iterator[Floats]:
    tile = max(tile_bytes // (8 * max(len(b), 1)), 1)
    for start in range(0, len(a), tile):
        yield np.clip(a[start : start + tile] @ b.T, -1, 1)


def _unit_pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[Floats, Floats]:
    if a.shape[1] != b.shape[1] or a.shape[1] < 2:
        raise InputError(
            f"atoms of widths {a.shape[1]} and {b.shape[1]} have no cosines to compare; match "
            "dictionaries of the same tensor, or match by correlation"
        )
    return _unit(a), _unit(b)


def _unit(atoms: NDArray[Any]) -> Floats:
    values = atoms.astype(np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    unit: Floats = values / np.where(norms > 0, norms, np.nan)
    return unit
