"""Values of tokens, pooled over the units that two tokenizations share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.features.grouping import stable_order
from actlake.storage.csr import Csr, index_dtype
from actlake.storage.errors import InputError


def pool_max(codes: Csr, unit: NDArray[np.int64], units: int) -> Csr:
    """The largest value of each feature over the rows of each unit; (units, n_features), float32.

    ``unit``, shape (rows,), is in [-1, units); rows of unit -1 are left out. A unit none of whose
    rows has a value is an empty row. Sparse throughout, about 60 bytes a stored value.
    """
    unit_of_value = unit[codes.row_of_value()]
    pooled = unit_of_value >= 0
    key = unit_of_value[pooled] * codes.n_features + codes.indices[pooled]
    order = stable_order(key)
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    values = np.maximum.reduceat(codes.values[pooled][order], first).astype(np.float32)
    row, feature = np.divmod(key[first], codes.n_features)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(row, minlength=units))))
    indices = feature.astype(index_dtype(codes.n_features))
    return Csr(indptr.astype(np.int64), indices, values, codes.n_features)


def pool_mean(rows: NDArray[Any], unit: NDArray[np.int64], units: int) -> NDArray[np.float32]:
    """The mean of the rows of each unit, shape (units, width); NaN for a unit without rows.

    ``rows`` has shape (rows, width) and ``unit`` is as in ``pool_max``. Sums are float64.
    """
    pooled = np.flatnonzero(unit >= 0)
    count = np.bincount(unit[pooled], minlength=units)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = 1 / count
    entries = (weight[unit[pooled]], (unit[pooled], np.arange(len(pooled))))
    mean = csr_array(entries, shape=(units, len(pooled))) @ rows[pooled].astype(np.float64)
    mean[count == 0] = np.nan
    return np.asarray(mean, np.float32)


def stack(blocks: Sequence[Csr]) -> Csr:
    """The rows of all ``blocks``, in order, as one.

    Raises InputError if there are none or if they differ in features.
    """
    widths = {block.n_features for block in blocks}
    if len(widths) != 1:
        raise InputError(
            f"{len(blocks)} blocks with {sorted(widths)} features do not stack; give at least one "
            "block, all of the same codes"
        )
    lengths = np.concatenate([np.diff(block.indptr) for block in blocks])
    return Csr(
        np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        np.concatenate([block.indices for block in blocks]),
        np.concatenate([block.values for block in blocks]),
        widths.pop(),
    )
