"""Infinite feature selection: features ranked by all paths through the graph of all of them."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from actlake.analytics.activations.gram import Gram
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]
ROUNDING = 1e-12
"""Of a mean, relatively: deviations below it are no spread."""


def infinite_selection(gram: Gram, *, alpha: float = 0.5, reach: float = 0.9) -> Floats:
    """A score of each column of ``gram``, shape (width,), >= 0: larger where a column varies much
    and goes with few others. No label is asked, and no unit comes with the scores: they rank.

    An edge of columns i and j weighs ``alpha`` · s + (1 - ``alpha``) · (1 - ``|r|``), where s is
    the larger of both standard deviations, scaled to [0, 1] over all pairs (0 where all are the
    same), and r Pearson's correlation; the score is ``path_energy``. A column that is constant, or
    has NaN, has no second term, so that none scores lower. Columns of other units want scaling
    first, or ``alpha`` = 0. Takes 50 bytes a pair of columns and time with their number cubed: for
    thousands. Raises InputError for ``alpha`` outside [0, 1].

    It rewards independent noise: nothing goes less with others, so a column of noise beats any
    that shares what it says. Leave out what fires rarely, or has no effect, before ranking.

    Source: Roffo et al. (2020), "Infinite feature selection: a graph-based feature filtering
    approach", IEEE TPAMI, unsupervised, with Pearson's correlation in place of Spearman's, which is
    no moment. Their code takes a constant column for one that goes with no other, and scales
    weights twice.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha {alpha} is outside [0, 1]; give the share of the deviations in it")
    variance = np.diagonal(gram.scatter) / max(gram.count, 1)
    varies = variance > np.square(ROUNDING * gram.mean)
    deviation = np.sqrt(np.where(varies, variance, 0))
    scale = np.where(varies, deviation * np.sqrt(max(gram.count, 1)), np.inf)
    apart = 1 - np.abs(np.clip(gram.scatter / scale / scale[:, None], -1, 1))
    apart[~varies] = apart[:, ~varies] = 0
    np.fill_diagonal(apart, 0)
    larger = np.maximum(deviation, deviation[:, None])
    least, most = larger.min(initial=np.inf), larger.max(initial=0)
    spread = (larger - least) / (most - least) if most > least else np.zeros_like(larger)
    return path_energy(alpha * spread + (1 - alpha) * apart, reach=reach)


def path_energy(weights: Floats, *, reach: float = 0.9) -> Floats:
    """Summed weight of all paths that begin at each node, shape (nodes,), >= 0.

    ``weights``, shape (nodes, nodes), symmetric and >= 0, of the edges; a path weighs the product
    of its edges, times r for each of them, with r = ``reach`` / the largest eigenvalue. So paths
    of any length count, the longer ones less: (I - rA)⁻¹ - I = Σ (rA)^l, summed over rows. 0 where
    there are no edges. Raises InputError for a ``reach`` outside (0, 1), which has no sum.
    """
    if not 0 < reach < 1:
        raise InputError(f"reach {reach} is outside (0, 1); only there do the paths have a sum")
    nodes = len(weights)
    largest = scipy.linalg.eigvalsh(weights, subset_by_index=[nodes - 1] * 2) if nodes else [0.0]
    if largest[0] <= 0:
        return np.zeros(nodes)
    shrunk = weights * (reach / largest[0])
    # Solved for the sum without its first term, which would hide short paths behind a 1.
    steps = shrunk.sum(axis=1)
    energy: Floats = scipy.linalg.solve(np.eye(nodes) - shrunk, steps, assume_a="pos")
    return energy
