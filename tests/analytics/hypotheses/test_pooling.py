from itertools import pairwise

import numpy as np
import pytest

from actlake.analytics.hypotheses.pooling import POOLINGS, DocumentPool, pool_documents
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import Csr, csr_from_dense
from actlake.storage.errors import InputError


def rows_of_documents() -> tuple[Csr, np.ndarray, np.ndarray]:
    """400 rows over 6 features; document 3 has no rows, all rows of document 5 are masked."""
    rng = np.random.default_rng(0)
    values = rng.exponential(1, (400, 6)) * (rng.random((400, 6)) < 0.2)
    document = np.sort(rng.choice([0, 1, 2, 4, 5, 6, 7], 400))
    keep = (rng.random(400) < 0.8) & (document != 5)
    return csr_from_dense(values.astype(np.float32), dtype="float16"), document, keep


@pytest.mark.parametrize("how", POOLINGS)
def test_pool_documents__equals_numpy_on_dense_rows(how: str) -> None:
    codes, document, keep = rows_of_documents()
    pooled = pool_documents(codes, document, keep, documents=9, how=how)
    dense = codes.dense().astype(np.float64)
    found = pooled.values.toarray()
    assert pooled.values.shape == (9, 6)
    assert (pooled.values.data > 0).all()
    for one in range(9):
        rows = dense[keep & (document == one)]
        assert pooled.rows[one] == len(rows)
        if not len(rows):
            assert not found[one].any()
            continue
        expected = {
            "max": rows.max(axis=0),
            "mean": rows.mean(axis=0),  # silent rows count as zeros
            "sum": rows.sum(axis=0),
            "any": (rows > 0).any(axis=0),
        }[how]
        np.testing.assert_allclose(found[one], expected, rtol=1e-12)


def test_document_pool__of_blocks_that_end_inside_documents_equals_one_pass() -> None:
    codes, document, keep = rows_of_documents()
    whole = DocumentPool.of(codes, document, keep, documents=9)
    for cuts in ([], [1, 2, 399], [0, 57, 57, 200, 400]):
        places = [0, *cuts, 400]
        parts = [DocumentPool.empty(9, 6)]
        for start, stop in pairwise(places):
            part = np.zeros(400, np.bool_)
            part[start:stop] = True
            block = codes.keep(part)
            parts.append(DocumentPool.of(block, document[part], keep[part], documents=9))
        for order in (parts, parts[::-1]):
            merged = DocumentPool.from_arrays(merge_in_order(order).arrays())
            for name, array in whole.arrays().items():
                np.testing.assert_allclose(merged.arrays()[name], array, rtol=1e-12, err_msg=name)


def test_document_pool__sums_half_precision_in_float64() -> None:
    # In float16 the sum would stop growing at 2048, in float32 2^24 would swallow the ones.
    column = np.ones((5000, 1), np.float32)
    column[0] = 60_000
    codes = csr_from_dense(column, dtype="float16")
    exact = 4999 + float(codes.values[0])
    everywhere = np.ones(5000, np.bool_)
    pooled = pool_documents(codes, np.zeros(5000, np.int64), everywhere, documents=1, how="sum")
    assert pooled.values[0, 0] == exact


def test_document_pool__without_any_firing_is_empty() -> None:
    codes = csr_from_dense(np.zeros((4, 3), np.float32))
    pooled = pool_documents(
        codes, np.array([0, 0, 1, 1]), np.ones(4, np.bool_), documents=3, how="mean"
    )
    assert pooled.values.nnz == 0
    assert pooled.rows.tolist() == [2, 2, 0]


def test_pool_documents__refuses_an_unknown_pooling() -> None:
    codes, document, keep = rows_of_documents()
    with pytest.raises(InputError, match="no pooling 'median'; choose one of max, mean"):
        pool_documents(codes, document, keep, documents=9, how="median")


def test_document_pool__refuses_states_of_other_sizes() -> None:
    with pytest.raises(InputError, match="documents 3 and 4"):
        DocumentPool.empty(3, 5).merge(DocumentPool.empty(4, 5))
