"""Codes are read as the rows that were written, in any slice."""

from contextlib import closing

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.storage import Csr, Lake
from actlake.storage.codes_writer import commit_codes, plan_codes, publish_codes
from actlake.storage.csr import csr_from_dense, fault_of
from actlake.storage.errors import CorruptError, IncompleteError, InputError, NotFoundError
from tests.storage.conftest import (
    FEATURES,
    Planted,
    codes_plan,
    fresh_name,
    make_rowset,
    write_codes,
)

BOUND = st.none() | st.integers(-50, 50)


@given(a=BOUND, b=BOUND)
def test_slice__is_that_of_the_dense_rows(planted: Planted, a: int | None, b: int | None) -> None:
    block = planted.lake.codes("d@c")[a:b]
    assert fault_of(block) is None
    np.testing.assert_array_equal(block.dense(), planted.codes[slice(a, b)])


@given(index=st.lists(st.integers(0, 39), max_size=60))
def test_rows__are_those_of_the_dense_rows_in_any_order(planted: Planted, index: list[int]) -> None:
    rows = np.array(index, np.int64) * (len(planted.codes) - 1) // 39  # of every shard

    block = planted.lake.codes("d@c").rows(rows)

    assert fault_of(block) is None
    np.testing.assert_array_equal(block.dense(), planted.codes[rows])


def test_codes__know_what_they_are(planted: Planted) -> None:
    codes = planted.lake.codes("d@c")
    assert codes.shape == planted.codes.shape
    assert len(codes) == len(planted.codes)
    assert (codes.dictionary, codes.tensor, codes.rowset.name) == ("d", "t:float32", "c@w")
    assert codes.sealed
    assert codes.missing() == []
    assert sum(codes.values_of_shard.values()) == (planted.codes > 0).sum()
    with pytest.raises(InputError, match="steps of 1"):
        codes[::2]
    with pytest.raises(NotFoundError, match="no codes 'x'"):
        planted.lake.codes("x")


@pytest.mark.parametrize("feature", [0, 5, 17, FEATURES - 1])
def test_postings__are_the_rows_of_a_feature(planted: Planted, feature: int) -> None:
    found = planted.lake.codes("d@c").postings(feature)
    rows = np.flatnonzero(planted.codes[:, feature])
    assert found.columns == ["row", "value"]
    assert found["row"].to_list() == rows.tolist()
    assert found["value"].to_list() == planted.codes[rows, feature].tolist()


@pytest.mark.parametrize("feature", [-1, FEATURES])
def test_postings__of_a_feature_that_is_not(planted: Planted, feature: int) -> None:
    with pytest.raises(NotFoundError, match=f"no feature {feature}; choose 0 to {FEATURES - 1}"):
        planted.lake.codes("d@c").postings(feature)


def test_codes__in_the_making_say_what_is_missing(bench: Lake) -> None:
    name, rowset = fresh_name(), bench.rowset("c@w")
    plan = codes_plan(name, rowset)
    with bench.run("verb", {"n": name}, {}) as run:
        codes_id = plan_codes(run, plan)
        start, stop = rowset.grid.span(3)
        block = csr_from_dense(np.eye(stop - start, FEATURES, dtype=np.float32))
        commit_codes(run, [publish_codes(run, plan, codes_id, 3, block)], "x")
    codes = bench.codes(name)
    assert not codes.sealed
    assert codes.missing() == [shard for shard in range(len(rowset.grid)) if shard != 3]
    assert codes[start:stop].nnz == stop - start
    with pytest.raises(IncompleteError, match="rows 0 to"):
        codes[:]
    assert codes.rows(np.array([start])).nnz == 1
    with pytest.raises(IncompleteError, match="rows 0 to"):
        codes.rows(np.array([start, 0]))
    assert codes.scan().collect().height == stop - start


def test_truncated_shard__is_refused_in_one_line(bench: Lake) -> None:
    name = fresh_name()
    with bench.run("verb", {"n": name}, {}) as run:
        block = csr_from_dense(np.ones((bench.rowset("c@w").rows, FEATURES)), dtype="float16")
        write_codes(run, codes_plan(name, bench.rowset("c@w")), block)
    codes = bench.codes(name)
    chunk = codes.folder / "1" / "indices" / "c.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-3])
    with pytest.raises(CorruptError, match=r"c\.0 .* has .* bytes instead of") as caught:
        codes[:]
    assert len(str(caught.value).splitlines()) == 1
    chunk.write_bytes(whole)


def test_starts__that_no_rows_have_are_refused_also_unverified(bench: Lake) -> None:
    name = fresh_name()
    with bench.run("verb", {"n": name}, {}) as run:
        block = csr_from_dense(np.ones((bench.rowset("c@w").rows, FEATURES)), dtype="float16")
        write_codes(run, codes_plan(name, bench.rowset("c@w")), block)
    with closing(Lake.open(bench.root, verify="never")) as lake:
        codes = lake.codes(name)
        chunk = codes.folder / "1" / "indptr" / "c.0"
        for at in (3, 7):  # beyond all values, and below the one before
            content = bytearray(chunk.read_bytes())
            content[at] ^= 64
            chunk.write_bytes(content)
            with pytest.raises(CorruptError, match="does not rise from 0"):
                codes[:]
            with pytest.raises(CorruptError, match="does not rise from 0"):
                codes.rows(np.arange(len(codes)))
            with pytest.raises(CorruptError, match="does not rise from 0"):
                codes.scan().filter(pl.col("feature") == 1).collect()


def test_codes__take_4_2_bytes_a_value_and_postings_4(bench: Lake) -> None:
    """32,768 rows of 32 values over 16,384 features whose use follows Zipf's law."""
    rows, k, features = 1 << 15, 32, 16_384
    rng = np.random.default_rng(1)
    weights = 1 / np.arange(1, features + 1)
    draws = rng.choice(features, size=(rows, k * 3), p=weights / weights.sum())
    dense = pl.DataFrame({"row": np.repeat(np.arange(rows), k * 3), "feature": draws.ravel()})
    kept = dense.unique(maintain_order=True).group_by("row", maintain_order=True).head(k)
    kept = kept.sort("row", "feature")
    counts = kept.group_by("row", maintain_order=True).len()["len"].to_numpy()
    values = rng.gamma(2.0, 1.5, kept.height).astype(np.float16) + np.float16(0.01)
    block = Csr(
        np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        kept["feature"].to_numpy().astype(np.uint16),
        values,
        features,
    )
    assert block.nnz > 1_000_000
    rowset, name = make_rowset(bench, rows), fresh_name()
    with bench.run("verb", {"n": name}, {}) as run:
        write_codes(run, codes_plan(name, rowset, features=features), block)
    stored = bench.sql(
        'SELECT "array", sum(bytes)::BIGINT FROM shards WHERE owner = $o GROUP BY ALL',
        o=bench.codes(name).id,
    ).rows()
    sizes = {str(array): int(str(size)) for array, size in stored}
    postings = sizes.pop("postings") / block.nnz
    codes = sum(sizes.values()) / block.nnz
    assert codes <= 4.2  # 4.125: four for a value and its feature, four a row for where it starts
    assert postings <= 4.0  # 3.25 measured
    feature = int(block.indices[len(block.indices) // 2])
    found = bench.codes(name).postings(feature)
    here = block.indices == feature
    assert found["row"].to_list() == block.row_of_value()[here].tolist()
    assert found["value"].to_list() == block.values[here].astype(np.float32).tolist()
