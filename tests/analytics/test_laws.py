"""The laws that hold every mergeable state of ``law_cases.CASES``."""

from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.statistic import Statistic, merge_in_order
from actlake.storage.csr import Csr
from tests.analytics.law_cases import CASES, Case, Rows, some_rows

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def assert_same(found: Statistic, right: Statistic, *, exact: bool = True) -> None:
    assert type(found) is type(right)
    a, b = found.arrays(), right.arrays()
    assert a.keys() == b.keys()
    for name, array in b.items():
        assert a[name].dtype == array.dtype, name
        assert a[name].shape == array.shape, name
        if exact or array.dtype.kind == "i":
            np.testing.assert_array_equal(a[name], array, err_msg=name)
        else:
            finite = np.abs(array[np.isfinite(array)])
            # Odd power sums cancel, so the largest entry sets the scale of rounding.
            scale = 1e-9 * max(1.0, finite.max(initial=0))
            np.testing.assert_allclose(a[name], array, rtol=1e-9, atol=scale, err_msg=name)


@every_case
@given(rows=some_rows())
def test_empty__is_the_identity_to_the_last_bit(case: Case, rows: Rows) -> None:
    state = case.of(rows)
    assert_same(case.empty().merge(state), state)
    assert_same(state.merge(case.empty()), state)
    assert_same(case.empty().merge(case.empty()), case.empty())
    assert_same(case.of(rows.cut(0, 0)), case.empty())


@every_case
@given(rows=some_rows(), data=st.data())
def test_merge__any_chunks_in_any_order_are_one_pass(
    case: Case, rows: Rows, data: st.DataObject
) -> None:
    n = len(rows.mask)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    chunks = [rows.cut(a, b) for a, b in zip([0, *cuts], [*cuts, n], strict=True)]
    parts = data.draw(st.permutations([case.of(chunk) for chunk in chunks]))
    whole = case.of(rows)
    assert_same(reduce(lambda a, b: a.merge(b), parts), whole, exact=case.exact)
    assert_same(merge_in_order(parts), whole, exact=case.exact)


@every_case
@given(rows=some_rows(), data=st.data())
def test_merge__associates_and_commutes(case: Case, rows: Rows, data: st.DataObject) -> None:
    n = len(rows.mask)
    first, second = sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))
    a, b, c = (case.of(rows.cut(*span)) for span in ((0, first), (first, second), (second, n)))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)), exact=case.exact)
    assert_same(a.merge(b), b.merge(a), exact=case.exact)


ROWS_THEMSELVES = {
    *("TopRows", "FeatureDocuments", "FeatureGaps", "BottomRows.firing", "BottomRows.by_value")
}
"""States of which rows there are, so that a row seen twice is not two rows."""


@pytest.mark.parametrize("name", [name for name in CASES if name not in ROWS_THEMSELVES])
@given(rows=some_rows())
def test_merge__with_itself_is_the_data_twice(name: str, rows: Rows) -> None:
    case, codes = CASES[name], rows.codes
    twice = Rows(
        rows.start,
        Csr(
            np.concatenate((codes.indptr, codes.indptr[1:] + codes.nnz)),
            np.tile(codes.indices, 2),
            np.tile(codes.values, 2),
            codes.n_features,
        ),
        np.tile(rows.mask, 2),
        np.tile(rows.token_id, 2),
        np.tile(rows.dense, (2, 1)),
        np.tile(rows.rebuilt, (2, 1)),
        np.tile(rows.document, 2),
        np.tile(rows.size, 2),
    )
    assert_same(case.of(rows).merge(case.of(rows)), case.of(twice), exact=case.exact)


@pytest.mark.parametrize("name", ["TopRows", "BottomRows.firing", "BottomRows.by_value"])
@given(rows=some_rows())
def test_merge__of_rows_with_themselves_is_each_row_once(name: str, rows: Rows) -> None:
    state = CASES[name].of(rows)  # a context counts once, and so does a row
    assert_same(state.merge(state), state)


@every_case
@given(rows=some_rows())
def test_arrays__come_back_equal_to_the_last_bit(case: Case, rows: Rows) -> None:
    for state in (case.of(rows), case.empty()):
        arrays = state.arrays()
        for name, array in arrays.items():
            assert array.dtype in (np.int64, np.float64), name
            assert array.ndim >= 1, name
        assert_same(type(state).from_arrays(arrays), state)
        beside = case.empty() if case.disjoint else state
        assert_same(type(state).from_arrays(arrays).merge(beside), state.merge(beside))


@every_case
@given(rows=some_rows(), count=st.integers(1, 9))
def test_merge_in_order__gives_the_same_bits_from_a_list_and_from_a_stream(
    case: Case, rows: Rows, count: int
) -> None:
    edges = np.linspace(0, len(rows.mask), count + 1).astype(int).tolist()
    parts = [case.of(rows.cut(a, b)) for a, b in pairwise(edges)]
    loaded = (type(part).from_arrays(part.arrays()) for part in parts)
    assert_same(merge_in_order(loaded), merge_in_order(parts))
