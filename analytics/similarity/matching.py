"""Which features of two codes fire on the same text, against a null of the best of many."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.similarity.correlation import TILE_BYTES, correlation_tiles, sparse
from actlake.analytics.similarity.partners import Best, Matches, best_partners, matches
from actlake.analytics.similarity.permutation import least_p, permuted_rows
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]
STRATA = 8
STRATUM_FEATURES = 100
"""At least so many features share a null, so that small p exist."""


@dataclass(frozen=True, slots=True)
class FeatureMatches:
    """Best partners by correlation, with what they rest on."""

    matches: Matches
    n_fires: NDArray[np.int64]
    """Units on which the feature of each match fires."""
    n_joint: NDArray[np.int64]
    """Units on which it and its partner both fire; 0 without a partner."""
    null_mean: Floats
    """Mean best score under the null of features that fire about as often; NaN if there is none."""
    null_high: Floats
    """What 5 % of these scores are above."""
    n_units: int
    n_documents: int
    permutations: int
    null_share: float
    """Units that a permutation keeps, of all; the rest is cut where lengths differ."""


def match_features(
    a: Csr,
    b: Csr,
    document: NDArray[np.integer[Any]],
    *,
    min_fires: int = 20,
    permutations: int = 20,
    seed: int = 0,
    tile_bytes: int = TILE_BYTES,
    advance: Callable[[int], object] = int,
) -> FeatureMatches:
    """The best partner of every feature that fires on at least ``min_fires`` units, both ways.

    a, b
        Codes pooled over the same units, shapes (units, F_A) and (units, F_B).
    document
        Of each unit, shape (units,), never falling.
    advance
        Called with 1 after each search, of which there are 1 + ``permutations``.
    returns
        A row for each tested feature and direction; only tested features can be partners. Scores
        are Pearson correlations over all units, zeros counted. A feature that is constant has no
        partner, and p and q are NaN.

    p is that of the best of many. B's documents trade places (``permuted_rows``), the whole search
    is repeated, and the best scores are pooled over permutations and over features of similar
    firing count, in up to 8 strata, since rare features find better partners by chance:
    p = (1 + #{null >= score}) / (1 + #null), at least about 1/(permutations·F/8), and at least
    ``least_p`` of the documents. Where lengths
    differ much, permutations have fewer rows and so larger scores, and p errs to the safe side:
    see ``null_share``. q is by Benjamini and Hochberg over both directions.

    Holds about 60 bytes a stored value of either side and five times ``tile_bytes``. Raises
    InputError for fewer than 2 documents, 1 permutation, or sides of different length.

    Source: the search is that of "Sparse Autoencoders Reveal Universal Feature Spaces Across LLMs",
    arXiv 2410.06981; its null, which pairs features at random, is not one of the best of many.
    """
    if not a.rows == b.rows == len(document) or (np.diff(document) < 0).any():
        raise InputError(
            f"sides of {a.rows} and {b.rows} rows and {len(document)} documents do not match; give "
            "codes pooled over the same units, ordered by document"
        )
    if permutations < 1:
        raise InputError(f"permutations is {permutations}; a null needs at least 1")
    features_a, side_a = _frequent(a, min_fires)
    features_b, side_b = _frequent(b, min_fires)
    n_fires = [side.count_nonzero(axis=0).astype(np.int64) for side in (side_a, side_b)]

    best = _search(side_a, side_b, tile_bytes)
    advance(1)
    null: tuple[list[Floats], list[Floats]] = ([], [])
    kept = 0
    for permutation in range(permutations):
        rows_a, rows_b = permuted_rows(document, seed=seed, permutation=permutation)
        found = _search(side_a[rows_a], side_b[rows_b], tile_bytes)
        for scores, side in zip(null, found, strict=True):
            scores.append(side.score)
        kept += len(rows_a)
        advance(1)
    chances = [
        best_of_many(side.score, np.array(scores), fires)
        for side, scores, fires in zip(best, null, n_fires, strict=True)
    ]
    documents = len(np.unique(document))
    least = least_p(documents)
    return FeatureMatches(
        matches(
            (features_a, features_b),
            best,
            (np.maximum(chances[0].p, least), np.maximum(chances[1].p, least)),
        ),
        np.concatenate(n_fires),
        np.concatenate(
            (_joint(side_a, side_b, best[0].partner), _joint(side_b, side_a, best[1].partner))
        ),
        null_mean=np.concatenate([chance.mean for chance in chances]),
        null_high=np.concatenate([chance.high for chance in chances]),
        n_units=a.rows,
        n_documents=documents,
        permutations=permutations,
        null_share=kept / permutations / a.rows,
    )


@dataclass(frozen=True, slots=True)
class Chance:
    """What best scores are by chance, for each feature; NaN where there is no score to pool."""

    p: Floats
    mean: Floats
    high: Floats
    """The 95 % quantile."""


def best_of_many(score: Floats, null: Floats, n_fires: NDArray[np.int64]) -> Chance:
    """p of each best score, shape (features,), against pooled best scores of permutations.

    ``null`` has shape (permutations, features); -inf stands for no score, which has p NaN and no
    part in the null. Features are pooled with those of similar ``n_fires``: in strata of equal
    size, at most 8, each of at least 100 features if there are so many.
    """
    features = len(score)
    strata = min(max(features // STRATUM_FEATURES, 1), STRATA)
    p, mean, high = np.full((3, features), np.nan)
    for stratum in np.array_split(np.argsort(n_fires, kind="stable"), strata):
        pool = np.sort(null[:, stratum], axis=None)
        pool = pool[np.searchsorted(pool, -np.inf, side="right") :]
        at_least = len(pool) - np.searchsorted(pool, score[stratum], side="left")
        p[stratum] = (1 + at_least) / (1 + len(pool))
        if len(pool):
            mean[stratum], high[stratum] = pool.mean(), np.quantile(pool, 0.95)
    p[score == -np.inf] = np.nan
    return Chance(p, mean, high)


def _frequent(codes: Csr, min_fires: int) -> tuple[NDArray[np.int64], csr_array]:
    """The features that fire on at least ``min_fires`` rows, and their columns alone."""
    fires = np.bincount(codes.indices, minlength=codes.n_features)
    features = np.flatnonzero(fires >= min_fires)
    return features, sparse(codes)[:, features]


def _search(a: csr_array, b: csr_array, tile_bytes: int) -> tuple[Best, Best]:
    return best_partners(correlation_tiles(a, b, tile_bytes=tile_bytes), b.shape[1])


def _joint(a: csr_array, b: csr_array, partner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows on which each feature of ``a`` and its partner in ``b`` both fire."""
    joint = np.zeros(len(partner), np.int64)
    paired = np.flatnonzero(partner >= 0)
    if len(paired):
        fires_a, fires_b = (matrix.T.tocsr().astype(np.bool_) for matrix in (a, b))
        both = fires_a[paired].multiply(fires_b[partner[paired]])
        joint[paired] = both.astype(np.int64).sum(axis=1)
    return joint
