"""A lazy frame over codes gives what the plain frame gives, and opens no more than it must."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.storage.csr import csr_from_dense
from actlake.storage.scan import Array, scan_codes
from actlake.storage.shards import Grid

ROWS, FEATURES = 40, 12
GRID = Grid(ROWS, 8)
DENSE = np.random.default_rng(5).integers(-6, 4, (ROWS, FEATURES)).clip(0).astype(np.float16)
DENSE[16:24] = 0
WHOLE = pl.DataFrame(
    {
        "row": np.nonzero(DENSE)[0],
        "feature": np.nonzero(DENSE)[1].astype(np.int32),
        "value": DENSE[np.nonzero(DENSE)].astype(np.float32),
    }
)

Column = Callable[[], pl.Expr]
row, feature, value = pl.col("row"), pl.col("feature"), pl.col("value")

NUMBER = st.integers(-2, ROWS + 2)
LEAF = st.one_of(
    st.builds(lambda column, n: column > n, st.sampled_from([row, feature, value]), NUMBER),
    st.builds(lambda column, n: column <= n, st.sampled_from([row, feature, value]), NUMBER),
    st.builds(lambda column, n: column == n, st.sampled_from([row, feature]), NUMBER),
    st.builds(
        lambda column, ns: column.is_in(ns),
        st.sampled_from([row, feature]),
        st.lists(NUMBER, max_size=4),
    ),
    st.builds(lambda n: row.is_between(n, n + 9), NUMBER),
    st.builds(lambda n: row % 3 == n % 3, NUMBER),
    st.builds(lambda n: row > feature + n, NUMBER),
    st.builds(lambda n: n < feature, NUMBER),
    st.sampled_from([pl.lit(True), pl.lit(False), feature.is_null(), value.is_not_nan()]),
)
PREDICATE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
        st.builds(lambda a, b: a.and_(b), inner, inner),
    ),
    max_leaves=5,
)


def scan(opened: list[int] | None = None) -> pl.LazyFrame:
    def read(shard: int, name: Array) -> NDArray[Any]:
        if opened is not None and shard not in opened:
            opened.append(shard)
        start, stop = GRID.span(shard)
        found: NDArray[Any] = getattr(csr_from_dense(DENSE[start:stop], dtype="float16"), name)
        return found

    return scan_codes(GRID, read, [*range(len(GRID))], FEATURES)


@given(
    predicates=st.lists(PREDICATE, max_size=3),
    columns=st.none() | st.permutations(["row", "feature", "value"]).map(lambda p: p[:2]),
    head=st.none() | st.integers(0, 30),
    streaming=st.booleans(),
)
def test_scan__is_the_plain_frame(
    predicates: list[pl.Expr], columns: list[str] | None, head: int | None, streaming: bool
) -> None:
    lazy, plain = scan(), WHOLE.lazy()
    for predicate in predicates:
        lazy, plain = lazy.filter(predicate), plain.filter(predicate)
    if columns is not None:
        lazy, plain = lazy.select(columns), plain.select(columns)
    if head is not None:
        lazy, plain = lazy.head(head), plain.head(head)
    found = lazy.collect(engine="streaming" if streaming else "auto")
    assert found.equals(plain.collect())
    assert found.schema == plain.collect_schema()


@pytest.mark.parametrize(
    ("query", "shards"),
    [
        (lambda lazy: lazy, [0, 1, 2, 3, 4]),
        (lambda lazy: lazy.filter(row < 8), [0]),
        (lambda lazy: lazy.filter(row < 9), [0, 1]),
        (lambda lazy: lazy.filter((feature == 3) & row.is_between(24, 31)), [3]),
        (lambda lazy: lazy.filter(feature == 3).filter(row >= 32), [4]),
        (lambda lazy: lazy.filter(row.is_in([0, 39])), [0, 4]),
        (lambda lazy: lazy.filter(row > 100), []),
        (lambda lazy: lazy.filter(feature >= FEATURES), []),
        (lambda lazy: lazy.head(1), [0]),
        (lambda lazy: lazy.head(0), []),
    ],
)
def test_scan__opens_only_shards_that_it_needs(
    query: Callable[[pl.LazyFrame], pl.LazyFrame], shards: list[int]
) -> None:
    opened: list[int] = []
    found = query(scan(opened)).collect()
    assert opened == shards
    assert found.equals(query(WHOLE.lazy()).collect())


@pytest.mark.parametrize(
    "expression",
    [
        row == row.max(),
        row.rank() < 5,
        feature.cum_count() <= 3,
        value > value.mean(),
        feature.is_first_distinct(),
        row.shift(1).fill_null(0) == row,
    ],
)
def test_scan__answers_what_looks_at_other_rows(expression: pl.Expr) -> None:
    """Such conditions must not be applied shard by shard."""
    assert scan().filter(expression).collect().equals(WHOLE.filter(expression))


def test_scan__groups_and_joins() -> None:
    counted = scan().group_by("feature").agg(pl.len(), value.sum().alias("sum")).sort("feature")
    assert counted.collect().equals(
        WHOLE.group_by("feature").agg(pl.len(), value.sum().alias("sum")).sort("feature")
    )
    names = pl.LazyFrame({"feature": pl.Series([1, 3], dtype=pl.Int32), "name": ["a", "b"]})
    joined = scan().join(names, on="feature").sort("row", "feature").collect()
    assert joined.equals(WHOLE.lazy().join(names, on="feature").sort("row", "feature").collect())
