"""How alike two tensors are on matched rows, beside what unrelated documents give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.similarity.cca import svcca
from actlake.analytics.similarity.cka import debiased_cka
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.analytics.similarity.permutation import least_p, permuted_rows
from actlake.storage.errors import InputError

Method = Literal["cka", "svcca"]
METHODS: dict[Method, Callable[[CrossGram], float]] = {
    "cka": debiased_cka,
    "svcca": lambda state: svcca(state).mean(),
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A similarity and its null."""

    value: float
    """Debiased CKA or mean canonical correlation; NaN if a side is constant."""
    null_mean: float
    """Mean over permutations of documents; NaN if none has enough rows."""
    cut_mean: float
    """Mean over the matched rows that a permutation keeps: what ``null_mean`` compares with."""
    p: float
    """(1 + #{null >= similarity of the same rows}) / (1 + permutations), at least ``least_p`` of
    the documents; NaN if the value or every permutation is. A permutation whose rows are too few
    speaks for the null."""
    n: int
    """Matched rows."""
    n_documents: int
    null_share: float
    """Rows that a permutation keeps, of all."""


def compare_rows(
    x: NDArray[Any],
    y: NDArray[Any],
    document: NDArray[np.integer[Any]],
    *,
    permutations: int = 99,
    seed: int = 0,
    advance: Callable[[int], object] = int,
) -> dict[Method, Comparison]:
    """Similarity of matched rows by each method, with the null of documents that trade places.

    x, y
        Shapes (rows, width_x) and (rows, width_y), one row a unit or token.
    document
        Of each row, shape (rows,), never falling.
    advance
        Called with 1 after each of 1 + ``permutations`` comparisons.

    The null is that of ``permuted_rows``: two sides that only share what every document has, such
    as its first rows being odd, lie within it; but not what depends on the place from the end. A
    permutation cuts rows, on which similarities depend, so each is compared with the similarity of
    matched rows cut alike. Time is that of 2·permutations + 1 products of (width_x + width_y)² by
    rows. Raises InputError for sides of different length, fewer than 2 documents, or no
    permutation.
    """
    if not len(x) == len(y) == len(document) or (np.diff(document) < 0).any():
        raise InputError(
            f"{len(x)} rows, {len(y)} rows and {len(document)} documents do not match; give both "
            "sides' rows of the same units, ordered by document"
        )
    if permutations < 1:
        raise InputError(f"permutations is {permutations}; a null needs at least 1")
    documents = len(np.unique(document))
    value = _similarities(x, y)
    advance(1)
    null, cut, kept = [], [], 0
    for permutation in range(permutations):
        rows_x, rows_y = permuted_rows(document, seed=seed, permutation=permutation)
        null.append(_similarities(x[rows_x], y[rows_y]))
        cut.append(_similarities(x[rows_x], y[rows_x]))
        kept += len(rows_x)
        advance(1)
    found = {}
    for method in METHODS:
        by_chance = np.array([one[method] for one in null])
        matched = np.array([one[method] for one in cut])
        known = np.isfinite(by_chance) & np.isfinite(matched)
        below = int((by_chance[known] < matched[known]).sum())
        p = max((1 + permutations - below) / (1 + permutations), least_p(documents))
        found[method] = Comparison(
            value=value[method],
            null_mean=float(by_chance[known].mean()) if known.any() else np.nan,
            cut_mean=float(matched[known].mean()) if known.any() else np.nan,
            p=p if np.isfinite(value[method]) and known.any() else np.nan,
            n=len(x),
            n_documents=documents,
            null_share=kept / permutations / len(x),
        )
    return found


def _similarities(x: NDArray[Any], y: NDArray[Any]) -> dict[Method, float]:
    state = CrossGram.of(x, y)
    return {method: similarity(state) for method, similarity in METHODS.items()}
