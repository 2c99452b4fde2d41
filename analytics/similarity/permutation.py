"""Pairings that break the link between two sides and keep what documents do by themselves."""

from math import exp, lgamma
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import InputError

GROUP = 8
"""Documents of neighbouring lengths that trade places: the more, the more permutations there are,
and the more is cut from the longer of two."""


def least_p(documents: int) -> float:
    """The smallest p that permutations of so many documents can give, in (0, 0.5]; NaN below 2.

    Two documents can trade places in one way, so half of all labelings look like the truth; from
    some ten documents on, the number of permutations drawn is the limit.
    """
    if documents < 2:
        return float("nan")
    groups = max(documents // GROUP, 1)
    sizes = [GROUP] * (groups - 1) + [documents - GROUP * (groups - 1)]
    log_ways = sum(lgamma(size) for size in sizes)  # (size - 1)! circles in each group
    return 1 / (1 + exp(min(log_ways, 700)))


def permuted_rows(
    document: NDArray[np.integer[Any]], *, seed: int, permutation: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of A and rows of B that meet when B's documents are permuted.

    document
        Of each matched row, shape (rows,), never falling.
    returns
        Two index arrays of the same length. Every document of A meets another one of B, of nearly
        the same number of rows, from the beginning to the end of the shorter: what depends on the
        document, on the place from its beginning, or on neighbouring rows is as before, on each
        side.
        A function of (seed, permutation) alone, so permutations can be spread over workers.

    Documents are sorted by length, ties in random order, and cut into groups of 8 to 15, fewer
    only if there are fewer; within a group each meets the next one of a random circle.
    Raises InputError if there are fewer than two documents.
    """
    first = np.flatnonzero(np.diff(document, prepend=-1))
    length = np.diff(first, append=len(document))
    documents = len(first)
    if documents < 2:
        raise InputError(
            f"the matched rows are of {documents} document(s), and a null needs documents to trade "
            "places; compare over a corpus with at least 2 documents in common"
        )
    rng = np.random.default_rng([seed, permutation])
    rank = np.empty(documents, np.int64)
    rank[np.lexsort((rng.random(documents), length))] = np.arange(documents)
    group = np.minimum(rank // GROUP, max(documents // GROUP, 1) - 1)
    circle = np.lexsort((rng.random(documents), group))
    partner = np.empty(documents, np.int64)
    opens = np.flatnonzero(np.diff(group[circle], prepend=-1))
    following = np.arange(1, documents + 1)
    following[np.append(opens[1:], documents) - 1] = opens
    partner[circle] = circle[following]

    met = np.minimum(length, length[partner])
    within = np.arange(met.sum()) - np.repeat(np.cumsum(met) - met, met)
    return np.repeat(first, met) + within, np.repeat(first[partner], met) + within
