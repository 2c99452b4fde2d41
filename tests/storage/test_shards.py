"""One grid for all that shares rows; a shard exists once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.storage import Lake
from actlake.storage.arrays import Chunk
from actlake.storage.durable import Digest
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.shards import (
    Grid,
    Receipt,
    by_shard,
    choose_shard_rows,
    committed_shards,
    receipts_table,
    refuse_committed,
    shards_told,
)
from tests.storage.conftest import fresh_name

GRIDS = st.builds(Grid, st.integers(1, 200), st.sampled_from([1, 2, 4, 16, 64, 512]))


@given(GRIDS)
def test_grid__covers_every_row_once(grid: Grid) -> None:
    spans = [grid.span(shard) for shard in range(len(grid))]
    assert [row for start, stop in spans for row in range(start, stop)] == [*range(grid.rows)]


@given(GRIDS, st.integers(0, 210), st.integers(0, 210))
def test_pieces__are_the_rows_asked_for(grid: Grid, a: int, b: int) -> None:
    start, stop = grid.slice_of(a, b)
    found: list[int] = []
    for shard, first, after in grid.pieces(start, stop):
        low, high = grid.span(shard)
        assert 0 <= first < after <= high - low
        found += range(low + first, low + after)
    assert found == [*range(grid.rows)[a:b]]


@given(st.lists(st.integers(-9, 1 << 40), max_size=30), st.sampled_from([1, 4, 1 << 32]))
def test_by_shard__gives_each_row_once_in_rising_shards(rows: list[int], shard_rows: int) -> None:
    index = np.array(rows, np.int64)
    groups = [*by_shard(index, shard_rows)]
    shards = [shard for shard, _, _ in groups]
    assert shards == sorted({row // shard_rows for row in rows})
    assert sorted(int(at) for _, here, _ in groups for at in here) == [*range(len(rows))]
    for shard, here, offsets in groups:
        assert (np.diff(here) > 0).all()
        np.testing.assert_array_equal(shard * shard_rows + offsets, index[here])
        assert ((offsets >= 0) & (offsets < shard_rows)).all()


@given(GRIDS, st.none() | st.integers(-250, 250), st.none() | st.integers(-250, 250))
def test_slice_of__means_what_python_means(grid: Grid, a: int | None, b: int | None) -> None:
    start, stop = grid.slice_of(a, b)
    assert [*range(start, stop)] == [*range(grid.rows)[a:b]]
    assert start <= stop


@given(st.integers(1, 10**9), st.integers(1, 10**5))
def test_choose_shard_rows__is_the_largest_that_fits(rows: int, width: int) -> None:
    def fits(size: int) -> bool:
        return size * width * 2 <= 64 << 20 and -(-rows // size) >= 8

    chosen = choose_shard_rows(rows, width)
    assert chosen == 1 << (chosen.bit_length() - 1)
    assert fits(chosen) or chosen == 1
    assert not fits(chosen * 2)


def test_choose_shard_rows__on_known_cases() -> None:
    assert choose_shard_rows(10**9, 4096) == 8192
    assert choose_shard_rows(64, 4096) == 8
    assert choose_shard_rows(63, 4096) == 8
    assert choose_shard_rows(7, 4096) == 1
    with pytest.raises(InputError, match="width_hint is 0"):
        choose_shard_rows(10, 0)


def receipt(owner: str, shard: int, array: str = "rows") -> Receipt:
    span = (shard * 4, shard * 4 + 4)
    return Receipt.of_chunk(owner, array, shard, span, Chunk(Digest(7, "h"), 2**32 - 1), "r")


def test_receipts_table__has_the_columns_of_shards() -> None:
    table = receipts_table([receipt("o", 0), receipt("o", 1)])
    assert table.schema == arrow_schema("shards")
    assert table["row_start"].to_pylist() == [0, 4]
    assert table["payload_crc32c"].to_pylist() == [2**32 - 1] * 2
    assert receipts_table([]).num_rows == 0


def test_refuse_committed__knows_what_is_there(bench: Lake) -> None:
    owner = fresh_name()
    with bench.run("verb", {"owner": owner}, {}) as run:
        run.append(
            {"shards": receipts_table([receipt(owner, 1), receipt(owner, 2, "values")])}, "x"
        )

        def refuse(*receipts: Receipt) -> None:
            run.examine(lambda now: refuse_committed(now, receipts))

        refuse()
        refuse(receipt(owner, 0), receipt(owner, 2), receipt(owner, 1, "values"), receipt("p", 1))
        with pytest.raises(InputError, match=r"shard 1 of rows .* already committed"):
            refuse(receipt(owner, 0), receipt(owner, 1))
        with pytest.raises(InputError, match=r"shard 0 of rows .* came twice"):
            refuse(receipt(owner, 0), receipt(owner, 0))
        run.commit(lambda now: now.execute("DELETE FROM shards WHERE owner = $o", o=owner), "undo")
    assert committed_shards(bench._connection(), owner) == set()


def test_committed_shards__are_those_of_the_owner(bench: Lake) -> None:
    id_ = bench.tensor("t:float16").id
    assert committed_shards(bench._connection(), id_) == {
        *range(len(bench.tensor("t:float16").grid))
    }


def test_shards__are_told_as_a_range_if_they_are_one() -> None:
    told = [shards_told(one) for one in ([3], range(3, 8), [0, 5, 9])]
    assert told == ["shard 3", "shards 3 to 7", "3 shards, 0 to 9"]
