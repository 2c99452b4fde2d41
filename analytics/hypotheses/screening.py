"""Which features go with a target: correlation, and separation of firing from silent documents."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from actlake.analytics.features.grouping import within_group
from actlake.analytics.hypotheses.pooling import Matrix
from actlake.analytics.splitmix import splitmix64
from actlake.storage.errors import InputError

Floats = NDArray[np.float64]


def correlations(features: Matrix, y: Floats, controls: Floats | None = None) -> Floats:
    """Pearson correlation of each feature, silent documents as zeros, with each target.

    ``y`` has shape (documents,) or (documents, targets), the result (features,) or (features,
    targets). With ``controls``, shape (documents, k), the partial correlation: of what is left of
    feature and target after regressing both on a constant and the controls. NaN where nothing is
    left of either. Features stay sparse.
    """
    basis = _basis(len(y), controls)
    residual = y - basis @ (basis.T @ y)
    squares: Floats = np.asarray(features.power(2).sum(axis=0))
    explained = np.square(np.asarray(features.T @ basis)).sum(axis=1)
    x_norm = _norm_left(squares, squares - explained)
    y_norm = _norm_left(np.square(y).sum(axis=0), np.square(residual).sum(axis=0))
    product: Floats = np.asarray(features.T @ residual)
    return np.clip(product / (x_norm if y.ndim == 1 else x_norm[:, None]) / y_norm, -1, 1)


def _basis(documents: int, controls: Floats | None) -> Floats:
    """Orthonormal columns that span a constant and the controls."""
    spanning = np.ones((documents, 1))
    if controls is not None:
        centred = controls - controls.mean(axis=0)
        spread = centred.std(axis=0)
        spanning = np.column_stack((spanning, centred / np.where(spread > 0, spread, 1)))
    basis: Floats = scipy.linalg.orth(spanning, rcond=1e-10)
    return basis


def _norm_left(before: Floats, left: Floats) -> Floats:
    """√left, NaN where it is rounding error of ``before``: nothing varies."""
    return np.sqrt(np.where(left > 1e-12 * before, left, np.nan))


def separation(features: Matrix, y: Floats, *, strongest: int = 100) -> Floats:
    """Mean target of each feature's strongest firing documents less that of its silent ones.

    In units of ``y``; shape (features,). At most ``strongest`` documents count, and only those
    where the feature fires: with fewer firings the top is smaller, never padded with documents
    where it is silent. Ties are cut by a fixed hash of the document. NaN for a feature that fires
    nowhere or everywhere.

    Source: Movva et al. (2025), arXiv 2502.04382, whose code pads the top with silent documents.
    """
    columns = features.tocsc()
    n_fires = np.diff(columns.indptr)
    feature = np.repeat(np.arange(features.shape[1]), n_fires)
    document = columns.indices.astype(np.int64)
    order = np.lexsort((splitmix64(document), -columns.data, feature))
    target, feature = y[document[order]], feature[order]
    top = within_group(feature) < strongest

    def total(of: NDArray[np.bool_]) -> Floats:
        return np.bincount(feature[of], target[of], minlength=features.shape[1]).astype(np.float64)

    n_silent = features.shape[0] - n_fires
    firing = total(top) / np.where(n_fires > 0, np.minimum(n_fires, strongest), np.nan)
    silent = (y.sum() - total(np.ones_like(top))) / np.where(n_silent > 0, n_silent, np.nan)
    difference: Floats = firing - silent
    return difference


@dataclass(frozen=True, slots=True)
class Screen:
    """How each feature goes with one target; all of shape (features,)."""

    n_fires: NDArray[np.int64]
    """Documents in which the feature fires."""
    correlation: Floats
    """In [-1, 1]; NaN, as is ``separation``, for a feature that fires too rarely or is constant."""
    separation: Floats
    """In units of the target."""

    def strongest(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """The ``n`` features with the largest absolute correlation, and those by separation.

        Ascending and without repeats, each with ``correlation``, ``separation`` or ``both``.
        """
        by_correlation = _largest(self.correlation, n)
        by_separation = _largest(self.separation, n)
        feature = np.union1d(by_correlation, by_separation)
        in_one, in_other = np.isin(feature, by_correlation), np.isin(feature, by_separation)
        why = np.where(in_one & in_other, "both", np.where(in_one, "correlation", "separation"))
        return feature, why


def _largest(scores: Floats, n: int) -> NDArray[np.int64]:
    order = np.argsort(-np.abs(scores), kind="stable")[:n]  # NaN comes last
    return order[~np.isnan(scores[order])]


def screen(features: Matrix, y: Floats, *, min_documents: int = 10, strongest: int = 100) -> Screen:
    """Both scores of each feature that fires in at least ``min_documents`` documents.

    ``y``, shape (documents,), is real, or 0 and 1; a class of several is one target a class
    (``one_versus_rest``). Raises InputError if it is constant, or no feature fires so often.
    """
    if len(y) == 0 or (y == y[0]).all():
        raise InputError(
            f"the target is the same in all {len(y):,} documents of the screen; "
            "choose one that varies, or another split"
        )
    n_fires = np.bincount(features.indices, minlength=features.shape[1])
    often = n_fires >= min_documents
    if not often.any():
        raise InputError(
            f"no feature fires in {min_documents} of {len(y):,} documents, the most frequent in "
            f"{n_fires.max(initial=0)}; lower min_documents or add documents"
        )
    return Screen(
        n_fires,
        np.where(often, correlations(features, y), np.nan),
        np.where(often, separation(features, y, strongest=strongest), np.nan),
    )
