"""Postings are the stored values, feature by feature, in few bytes."""

import io

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from actlake.storage.csr import csr_from_dense
from actlake.storage.fields import arrow_schema
from actlake.storage.postings import encode_postings, postings_of

DENSE = hnp.arrays(
    np.float16,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
    elements=st.sampled_from([0.0, 0.5, 2.0, 65504.0, 6e-8]),
)


@given(block=DENSE, start=st.integers(0, 2**40), dtype=st.sampled_from(["float16", "float32"]))
def test_postings__round_trip(block: NDArray[np.float16], start: int, dtype: str) -> None:
    csr = csr_from_dense(block, dtype=dtype)
    table = pq.read_table(io.BytesIO(encode_postings(postings_of("c'x", csr, start))))
    assert table.schema.equals(arrow_schema("postings"))
    found = pl.DataFrame(table)
    features, rows = np.nonzero(block.T)
    assert found["feature"].to_list() == features.tolist()
    assert found["row"].to_list() == (rows + start).tolist()
    assert found["value"].to_list() == block.T[features, rows].astype(np.float32).tolist()
    assert set(found["codes"]) <= {"c'x"}


@pytest.mark.parametrize("rows", [0, 3])
def test_postings__of_silence_are_none(rows: int) -> None:
    csr = csr_from_dense(np.zeros((rows, 4), np.float32))
    assert postings_of("c", csr, 0).num_rows == 0


def test_row_groups__are_small_enough_to_skip() -> None:
    block = csr_from_dense(np.ones((3000, 100), np.float32), dtype="float16")
    file = pq.ParquetFile(io.BytesIO(encode_postings(postings_of("c", block, 0))))
    assert file.metadata.num_row_groups == 3
    bounds = [file.metadata.row_group(i).column(1).statistics for i in range(3)]
    assert [(one.min, one.max) for one in bounds] == [(0, 43), (43, 87), (87, 99)]
