"""Sparse rows are the dense ones."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from actlake.storage.csr import Csr, csr_from_dense, fault_of, index_dtype

DENSE = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=8),
    elements=st.sampled_from([0.0, -1.0, 0.5, 2.0, 1e-9]),
)


@given(DENSE)
def test_csr_from_dense__keeps_what_is_positive(block: NDArray[np.float32]) -> None:
    csr = csr_from_dense(block)
    assert fault_of(csr) is None
    assert (csr.rows, csr.n_features) == block.shape
    assert csr.nnz == (block > 0).sum()
    np.testing.assert_array_equal(csr.dense(), np.maximum(block, 0))


@given(DENSE, st.data())
def test_keep__is_row_selection(block: NDArray[np.float32], data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(block), max_size=len(block))))
    kept = csr_from_dense(block).keep(mask)
    assert fault_of(kept) is None
    np.testing.assert_array_equal(kept.dense(), np.maximum(block[mask], 0))


def test_csr_from_dense__counts_zero_after_the_cast_as_silent() -> None:
    block = np.array([[1e-9, 1.0]], np.float32)
    assert csr_from_dense(block, dtype="float32").nnz == 2
    assert csr_from_dense(block, dtype="float16").indices.tolist() == [1]


def test_index_dtype__is_the_narrowest() -> None:
    assert [index_dtype(n) for n in (1, 65536, 65537)] == [np.uint16, np.uint16, np.uint32]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"indptr": [0, 1, 2]}, "row starts"),
        ({"indptr": [1, 2, 3]}, "row starts"),
        ({"indptr": [0, 4, 3]}, "row starts"),
        ({"indices": [0, 2]}, "2 features and 3 values"),
        ({"indices": [0, 2, 4]}, "outside 0 to 3"),
        ({"indices": [-1, 2, 1]}, "outside 0 to 3"),
        ({"indices": [65536, 2, 1]}, "outside 0 to 3"),  # would wrap around to 0 as uint16
        ({"indices": [2, 0, 1]}, "do not ascend"),
        ({"indices": [2, 2, 1]}, "do not ascend"),
    ],
)
def test_fault_of__finds_each(change: dict[str, list[int]], fault: str) -> None:
    parts: dict[str, NDArray[Any]] = {
        "indptr": np.array([0, 2, 3]),
        "indices": np.array([0, 2, 1]),
        "values": np.ones(3, np.float32),
    }
    assert fault_of(Csr(**parts, n_features=4)) is None
    found = fault_of(Csr(**(parts | {k: np.array(v) for k, v in change.items()}), n_features=4))
    assert found is not None
    assert fault in found
