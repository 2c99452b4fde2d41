"""Linear centred kernel alignment of two tensors, biased and debiased."""

import numpy as np

from actlake.analytics.similarity.cross_gram import CrossGram, Floats


def biased_cka(state: CrossGram) -> float:
    """Linear CKA of matched rows, in [0, 1]; NaN if either side is constant.

    1 if one side is a rotation, rescaling and shift of the other. Of unrelated sides it is about
    √(pq/((n+p+1)(n+q+1))) for widths p and q, not 0.

    Source: Kornblith, Norouzi, Lee & Hinton (2019), "Similarity of Neural Network Representations
    Revisited", arXiv 1905.00414.
    """
    if not state.varies():
        return np.nan
    scale = float(np.linalg.norm(state.xx) * np.linalg.norm(state.yy))
    return float(np.square(state.xy).sum()) / scale


def debiased_cka(state: CrossGram) -> float:
    """Linear CKA from unbiased HSIC: 1 for rotated copies, 0 on average for unrelated sides.

    At most 1 but for sampling error, and below 0 about as often as above for unrelated sides. A few
    rows of huge norm decide it, and directions of little variance are not seen. NaN for fewer than
    4 rows or if either side's own HSIC is not > 0.

    Source: Song, Smola, Gretton, Bedo & Borgwardt (2012), "Feature selection via dependence
    maximization", for the unbiased HSIC; Nguyen, Raghu & Kornblith (2021), "Do wide and deep
    networks learn the same things?", arXiv 2010.15327, for its use. Here it comes from sums over
    rows instead of kernel matrices, see ``_hsic``.
    """
    if state.count < 4 or not state.varies():
        return np.nan
    x = _hsic(state.count, state.xx, state.xx, state.xx, state.fourth_x)
    y = _hsic(state.count, state.yy, state.yy, state.yy, state.fourth_y)
    if x <= 0 or y <= 0:
        return np.nan
    return _hsic(state.count, state.xx, state.yy, state.xy, state.fourth_xy) / float(np.sqrt(x * y))


def _hsic(n: int, xx: Floats, yy: Floats, xy: Floats, fourth: float) -> float:
    """Unbiased HSIC of linear kernels K = XXᵀ and L = YYᵀ, exactly.

    It needs the kernels with zeroed diagonals, whose sums are those of the full kernels less the
    diagonals. It is blind to shifts, so rows may be centred, and then full kernels sum to 0:
    tr K̃L̃ = ‖XᵀY‖² - Σ‖x‖²‖y‖², 1ᵀK̃1 = -Σ‖x‖², 1ᵀK̃L̃1 = Σ‖x‖²‖y‖².
    """
    trace = float(np.square(xy).sum()) - fourth
    totals = float(np.trace(xx) * np.trace(yy)) / ((n - 1) * (n - 2))
    return (trace + totals - 2 / (n - 2) * fourth) / (n * (n - 3))
