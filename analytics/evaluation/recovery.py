"""Whether a dictionary's atoms are those of another: planted ones, or those of another seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True, slots=True)
class Recovery:
    """Agreement of ``found`` atoms with ``true`` ones, each in [-1, 1], 1 if they are the same."""

    recall: float
    """MMCS: mean over true atoms of the largest cosine with a found one; rises with more atoms."""
    precision: float
    """Mean over found atoms of the largest cosine with a true one; falls with superfluous atoms."""
    matched: float
    """Mean cosine under the best one-to-one assignment of the smaller set."""
    recovered: float
    """Share of true atoms that have a found one at cosine > 0.9."""


def recovery(true: NDArray[Any], found: NDArray[Any]) -> Recovery:
    """Agreement of atoms, shapes (n, width) and (m, width), whatever their order and norms.

    Signs count: a negated atom is another atom. An atom of norm 0 has cosine 0 with everything.
    The assignment takes time cubic in the number of atoms; 4,000 take about a minute.

    Source: Sharkey, Braun & Millidge (2022), "Taking features out of superposition with sparse
    autoencoders", for MMCS; Kuhn (1955) for the assignment.
    """
    cosines = _unit(true) @ _unit(found).T
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    best = cosines.max(axis=1)
    return Recovery(
        recall=float(best.mean()),
        precision=float(cosines.max(axis=0).mean()),
        matched=float(cosines[rows, columns].mean()),
        recovered=float(np.mean(best > 0.9)),
    )


def _unit(atoms: NDArray[Any]) -> NDArray[np.float64]:
    values = atoms.astype(np.float64)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(norms > 0, norms, 1)
