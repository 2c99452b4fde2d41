"""Handles on a lake's connection: each result has its own, and leaves it to a later one."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from actlake.storage import Lake
from actlake.storage.errors import QueryError
from tests.storage.conftest import Planted


@pytest.fixture
def lake(planted: Planted) -> Iterator[Lake]:
    with closing(Lake.open(planted.root)) as lake:
        yield lake


def free(lake: Lake) -> int:
    return len(lake._reader._free)


def test_handle__is_lent_again_when_its_rows_are_fetched(lake: Lake) -> None:
    first = lake.sql("SELECT 1 AS a")
    second = lake.sql("SELECT 2 AS a")  # while rows of the first are to be had
    assert free(lake) == 0
    assert (second.rows(), first.rows()) == ([(2,)], [(1,)])
    assert free(lake) == 2
    third = lake.sql("SELECT count(*) FROM tensors")
    assert free(lake) == 1
    assert first.rows() == [(1,)]
    assert third.pl().height == 1


def test_handle__of_a_stream_is_lent_again_at_its_end(lake: Lake) -> None:
    batches = lake.sql("SELECT i FROM range(10_000) AS t(i)").batches(1_000)
    rows = next(batches).num_rows
    assert (free(lake), lake.sql("SELECT 1").rows()) == (0, [(1,)])
    rows += sum(batch.num_rows for batch in batches)
    assert (free(lake), rows) == (2, 10_000)
    counted = [lake.sql("SELECT count(*) FROM range(1_000_000)") for _ in range(3)]
    assert free(lake) == 0
    assert [one.rows() for one in counted] == [[(1_000_000,)]] * 3


def test_handle__of_a_query_that_failed_is_not_lent_again(lake: Lake) -> None:
    with pytest.raises(QueryError):
        lake.sql("SELECT error('no') FROM range(3)").rows()
    assert free(lake) == 0
    assert lake.sql("SELECT 1").rows() == [(1,)]


def test_handle__sees_what_was_committed_since_it_was_lent_first(tmp_path: Path) -> None:
    with closing(Lake.create(tmp_path / "lake")) as other:
        masks = "SELECT count(*) FROM masks"
        [(before,)] = other.sql(masks).rows()
        assert isinstance(before, int)
        other.create_mask("late", "position > 1")
        assert other.sql(masks).rows() == [(before + 1,)]
