"""How far two tensors are from being rotations of each other."""

import numpy as np

from actlake.analytics.similarity.cross_gram import CrossGram


def disparity(state: CrossGram) -> float:
    """What the best rotation and rescaling leaves of matched rows, as a share; in [0, 1].

    0 for a rotated, rescaled and shifted copy. Widths may differ. Of unrelated sides it is less
    than 1, by more the fewer rows there are. NaN if either side is constant.

    Source: Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem", on
    centred rows of unit Frobenius norm.
    """
    if not state.varies():
        return np.nan
    scale = float(np.trace(state.xx) * np.trace(state.yy))
    aligned = float(np.linalg.svd(state.xy, compute_uv=False).sum())
    return 1 - min(aligned**2 / scale, 1.0)
