"""Whether pairs of rows that are close in one space are close in another."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

PIECE_PAIRS = 4096


def cosine_rsa(x: NDArray[Any], y: NDArray[Any], *, pairs: int = 1_000_000, seed: int = 0) -> float:
    """Spearman correlation, over pairs of rows, of their cosines in x and in y; in [-1, 1].

    x, y
        Matched rows, shapes (rows, width_x) and (rows, width_y). Rows of norm 0 on either side are
        left out.
    pairs
        All pairs of rows are used, or a seeded sample of so many if there are more.
    returns
        1 for a rotated and rescaled copy. Not blind to shifts. Pairs share rows, so chance is
        wider than 1/√pairs: permute rows for a null. NaN for fewer than 3 rows or equal cosines.

    Cosines, not correlations over coordinates, which a rotation changes.

    Source: Kriegeskorte, Mur & Bandettini (2008), "Representational similarity analysis".
    """
    unit_x, unit_y = _unit(x), _unit(y)
    directed = np.isfinite(unit_x[:, 0]) & np.isfinite(unit_y[:, 0])
    unit_x, unit_y = unit_x[directed], unit_y[directed]
    n = len(unit_x)
    if n < 3:
        return np.nan
    if n * (n - 1) // 2 <= pairs:
        first, second = np.triu_indices(n, 1)
    else:
        rng = np.random.default_rng(seed)
        first = rng.integers(0, n, pairs)
        second = (first + rng.integers(1, n, pairs)) % n
    cosines_x, cosines_y = (_cosines(unit, first, second) for unit in (unit_x, unit_y))
    if np.ptp(cosines_x) == 0 or np.ptp(cosines_y) == 0:
        return np.nan
    return float(spearmanr(cosines_x, cosines_y).statistic)


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    values = rows.astype(np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, np.nan)


def _cosines(
    unit: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    starts = range(0, len(first), PIECE_PAIRS)
    pieces = (slice(start, start + PIECE_PAIRS) for start in starts)
    return np.concatenate(
        [np.einsum("ij,ij->i", unit[first[piece]], unit[second[piece]]) for piece in pieces]
    )
