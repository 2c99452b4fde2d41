"""Whether a concept adds to its parent what the parent does not have."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def offset_cosine(child: NDArray[Any], parent: NDArray[Any]) -> NDArray[np.float64]:
    """cos(child - parent, parent) of each row, shape (rows,), in [-1, 1].

    child, parent
        Directions of concepts and of their parents, both (rows, width), in a space where angles
        mean something, such as centred and whitened activations.
    returns
        0 where the child is its parent and something orthogonal to it, as a hierarchy of concepts
        predicts. NaN where the parent or the offset is 0.

    Always beside a baseline: of unrelated directions of equal norm it is -1/√2, not 0, and a random
    parent must give about that. Parents estimated from the children's own words are orthogonal in
    part by construction, so estimate them from other words.

    Source: Park, Choe, Jiang & Veitch (2024), "The Geometry of Categorical and Hierarchical
    Concepts in Large Language Models", arXiv 2406.01506.
    """
    onto = parent.astype(np.float64)
    offset = child.astype(np.float64) - onto
    norms = np.linalg.norm(offset, axis=1) * np.linalg.norm(onto, axis=1)
    cosine: NDArray[np.float64] = np.einsum("ij,ij->i", offset, onto) / np.where(
        norms > 0, norms, np.nan
    )
    return np.clip(cosine, -1, 1)
