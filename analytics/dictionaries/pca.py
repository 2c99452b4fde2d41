"""Principal components as a dictionary, and the error of the first k as a baseline."""

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.activations.gram import Gram
from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar
from actlake.storage.errors import InputError


def pca(gram: Gram, components: int, k: int) -> Dictionary:
    """The first ``components`` principal axes; each row keeps its ``k`` largest |coefficient|.

    Signed coefficients are two features an atom: feature 2a is axis a, feature 2a + 1 its
    negative, so n_features = 2·components. At equal k this is comparable with a TopK dictionary:
    k numbers a row, chosen for the row. For the first k axes of every row see ``pca_fvu``.

    Raises InputError if ``components`` is not in [1, width] or k not in [1, components].
    """
    width = len(gram.mean)
    if not 1 <= components <= width:
        raise InputError(f"{components} components of width {width}; give 1 to {width}")
    if k > components:
        raise InputError(f"k is {k} and there are {components} components; lower k")
    axes, variances = principal_axes(gram)
    axes = axes[:components]
    signed = np.stack((axes, -axes), axis=1).reshape(2 * components, width).astype(np.float32)
    config: dict[str, Scalar] = {
        "method": "pca",
        "n_features": 2 * components,
        "width": width,
        "k": k,
        "selection": "topk",
        "components": components,
        "sample_rows": gram.count,
        "variance_share": float(variances[:components].sum() / (variances.sum() or 1.0)),
    }
    arrays = {
        "W_enc": np.ascontiguousarray(signed.T),
        "b_enc": np.zeros(2 * components, np.float32),
        "W_dec": signed,
        "b_dec": gram.mean.astype(np.float32),
    }
    return Dictionary("pca", config, arrays)


def pca_fvu(gram: Gram, k: int, held_out: Gram | None = None) -> float:
    """Fraction of variance unexplained by the first ``k`` axes of ``gram``, k numbers a row.

    Measured on the rows of ``held_out``, or on those of ``gram`` without it; the canonical FVU,
    Σ‖e‖² over Σ‖x - mean‖² with the mean of the rows measured. In [0, 1] without ``held_out``, NaN
    for constant rows. Exact: no row is read again. Raises InputError if k is not in [1, width].
    """
    width = len(gram.mean)
    if not 1 <= k <= width:
        raise InputError(f"k is {k} for PCA of width {width}; give 1 to {width}")
    measured = gram if held_out is None else held_out
    axes = principal_axes(gram)[0][:k]
    gap = measured.mean - gram.mean
    second = measured.scatter + measured.count * np.outer(gap, gap)
    error = np.trace(second) - np.einsum("ai,ij,aj->", axes, second, axes, optimize=True)
    return float(error / (np.trace(measured.scatter) or np.nan))


def principal_axes(gram: Gram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit axes, shape (width, width), one a row, and their variances, both falling.

    Each axis points to where its largest |entry| is positive, so that signs are reproducible.
    Raises InputError if no rows were seen.
    """
    if gram.count == 0:
        raise InputError("principal axes need at least 1 row; summarize the tensor first")
    variances, columns = np.linalg.eigh(gram.covariance())
    axes = columns.T[::-1]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.sign(largest), np.maximum(variances[::-1], 0)
