"""What a result gives back, how often, and for how long."""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from types import SimpleNamespace
from typing import cast

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from actlake.storage import results
from actlake.storage.duck import connect
from actlake.storage.errors import QueryError
from actlake.storage.guard import run_select
from actlake.storage.results import Result, TimeLimit

ENDLESS = "SELECT count(*) FROM range(1_000_000) a, range(1_000_000) b"


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = connect(memory_limit="1GB", threads=2)
    yield con
    con.close()


def result(con: duckdb.DuckDBPyConnection, sql: str, seconds: float = 30.0) -> Result:
    return run_select(con.cursor(), sql, seconds=seconds)


def test_result__is_the_same_in_every_form(con: duckdb.DuckDBPyConnection) -> None:
    found = result(con, "SELECT i, 'r' || i AS name FROM range(3) t(i) ORDER BY i")
    assert found.columns == ("i", "name")
    rows = [(0, "r0"), (1, "r1"), (2, "r2")]
    assert found.rows() == rows
    assert found.arrow() is found.arrow()
    assert found.pl().equals(pl.DataFrame(rows, schema=["i", "name"], orient="row"))
    assert [tuple(row) for row in found.df().itertuples(index=False)] == rows
    assert pa.Table.from_batches(found.batches(2)).equals(found.arrow())


def test_result__without_rows_keeps_its_columns(con: duckdb.DuckDBPyConnection) -> None:
    found = result(con, "SELECT 1::UTINYINT AS a, 'x' AS b WHERE false")
    assert found.rows() == []
    assert found.arrow().schema == pa.schema([("a", pa.uint8()), ("b", pa.string())])
    assert found.pl().schema == {"a": pl.UInt8, "b": pl.String}


def test_batches__stream_every_row_once(con: duckdb.DuckDBPyConnection) -> None:
    found = result(con, "SELECT i FROM range(100_000) t(i)")
    batches = list(found.batches(10_000))
    assert max(batch.num_rows for batch in batches) <= 10_000
    assert pa.Table.from_batches(batches)["i"].to_pylist() == list(range(100_000))
    with pytest.raises(QueryError, match="streamed already"):
        found.arrow()
    with pytest.raises(QueryError, match="streamed already"):
        found.batches()
    with pytest.raises(QueryError, match="0 rows; ask for 1 or more"):
        found.batches(0)


def test_batches__come_before_the_query_has_ended(con: duckdb.DuckDBPyConnection) -> None:
    stream = result(con, "SELECT i FROM range(1_000_000_000_000) t(i)").batches(2_048)
    assert next(stream)["i"][0].as_py() == 0
    del stream
    gc.collect()


def test_sums__are_int64_and_say_so_when_they_are_not(con: duckdb.DuckDBPyConnection) -> None:
    found = result(con, "SELECT sum(i) AS s, 1.5::DECIMAL(38, 0) AS d FROM range(10) t(i)")
    assert found.arrow().schema == pa.schema([("s", pa.int64()), ("d", pa.decimal128(38, 0))])
    assert found.rows() == [(45, Decimal(2))]
    batch = next(result(con, "SELECT sum(i) AS s FROM range(10) t(i)").batches())
    assert batch.schema == pa.schema([("s", pa.int64())])
    large = "SELECT sum(9e18::BIGINT) AS s FROM range(3)"
    with pytest.raises(QueryError, match="column s holds integers beyond 64 bits"):
        result(con, large).arrow()
    with pytest.raises(QueryError, match="column s holds integers beyond 64 bits"):
        list(result(con, large).batches())


def test_repeated_columns__get_names_of_their_own(con: duckdb.DuckDBPyConnection) -> None:
    found = result(con, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert found.columns == ("a", "a_2", "a_1", "a_3")
    assert found.pl().rows() == found.rows() == [(1, 2, 3, 4)]


def test_time_with_zone__is_utc_and_needs_no_pytz(con: duckdb.DuckDBPyConnection) -> None:
    (row,) = result(con, "SELECT '2020-01-01 12:00:00+02'::TIMESTAMPTZ AS t").rows()
    assert str(row[0]) == "2020-01-01 10:00:00+00:00"


@pytest.mark.parametrize(
    "sql",
    [
        ENDLESS,
        "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a) SELECT max(i) FROM a",
        "SELECT sum(x) FROM (SELECT row_number() OVER (ORDER BY hash(i)) AS x "
        "FROM range(200_000_000) t(i))",
    ],
)
def test_limit__stops_what_takes_too_long(sql: str, con: duckdb.DuckDBPyConnection) -> None:
    started = time.monotonic()
    with pytest.raises(QueryError, match=r"stopped at its limit of 0\.3 s"):
        result(con, sql, seconds=0.3).arrow()
    assert time.monotonic() - started < 2
    assert result(con, "SELECT 1").rows() == [(1,)]


def test_limit__stops_even_what_begins_after_it(con: duckdb.DuckDBPyConnection) -> None:
    cursor = con.cursor()
    started = time.monotonic()

    def begin_late() -> None:
        with TimeLimit(cursor, 0.05).step():
            time.sleep(0.2)
            cursor.execute(ENDLESS).fetchall()

    with pytest.raises(QueryError, match="stopped at its limit"):
        begin_late()
    with pytest.raises(QueryError, match="stopped at its limit"):
        result(con, "SELECT 1", seconds=0)
    assert time.monotonic() - started < 2


def test_limit__holds_in_a_forked_child(con: duckdb.DuckDBPyConnection) -> None:
    """Which has none of the threads of its parent, and its locks as one of them held them."""
    with TimeLimit(con, 60).step(), results._watch._lock:
        child = os.fork()
        if child == 0:  # nothing of DuckDB is used here: a forked DuckDB has lost its own threads
            signal.alarm(20)
            stopped = threading.Event()
            fake = cast(duckdb.DuckDBPyConnection, SimpleNamespace(interrupt=stopped.set))
            with suppress(BaseException), TimeLimit(fake, 0.05).step():
                os._exit(0 if stopped.wait(10) else 1)
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_limit__of_a_closed_connection_stops_no_other(con: duckdb.DuckDBPyConnection) -> None:
    closed, other = con.cursor(), con.cursor()
    closed.close()
    stopped = pytest.raises(QueryError, match="was stopped at its limit")
    with TimeLimit(closed, 0.01).step(), stopped, TimeLimit(other, 0.05).step():
        other.execute(ENDLESS).fetchall()


def test_limit__covers_the_stream_but_not_its_reader(con: duckdb.DuckDBPyConnection) -> None:
    slow = "SELECT i, md5(i::VARCHAR) AS h FROM range(1_000_000_000) t(i)"
    started = time.monotonic()
    with pytest.raises(QueryError, match="stopped at its limit"):
        for _ in result(con, slow, seconds=0.3).batches(100_000):
            pass
    assert time.monotonic() - started < 2

    rows = 0
    for batch in result(con, "SELECT i FROM range(20_000) t(i)", seconds=0.3).batches(5_000):
        time.sleep(0.15)  # four of these are twice the limit
        rows += batch.num_rows
    assert rows == 20_000


def test_late_errors__are_query_errors() -> None:
    # One thread: of two DuckDB sometimes tells that the other was interrupted, 1 in 100 times.
    con = connect(threads=1)
    sql = "SELECT (CASE WHEN i < 500_000 THEN '1' ELSE 'x' END)::INT AS n FROM range(900_000) t(i)"
    with pytest.raises(QueryError, match="could not convert string 'x'"):
        result(con, sql).arrow()
    with pytest.raises(QueryError, match="could not convert string 'x'"):
        list(result(con, sql).batches())


def test_interrupt__that_nobody_asked_for_is_no_reason(con: duckdb.DuckDBPyConnection) -> None:
    error = duckdb.InterruptException("INTERRUPT Error: Interrupted!")
    limit = TimeLimit(con, 30)
    with pytest.raises(QueryError, match="a thread of the query failed"), limit.step():
        raise error
    limit.interrupt()
    with pytest.raises(QueryError, match="interrupted"), limit.step():
        raise error


def test_memory__that_runs_out_is_a_query_error(con: duckdb.DuckDBPyConnection) -> None:
    small = connect(memory_limit="20MB", threads=1)
    with pytest.raises(QueryError, match="memory"):
        result(small, "SELECT list(i) FROM range(50_000_000) t(i)").arrow()
    small.close()


def test_threads__share_one_connection(con: duckdb.DuckDBPyConnection) -> None:
    found: list[object] = []

    def ask(start: int) -> None:
        for i in range(start, start + 20):
            found.append(result(con, f"SELECT sum(j) FROM range({i}) t(j)").rows()[0][0])

    threads = [threading.Thread(target=ask, args=(start,)) for start in (1, 101, 201)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    starts = (1, 101, 201)
    assert sorted(map(int, map(str, found))) == sorted(
        i * (i - 1) // 2 for start in starts for i in range(start, start + 20)
    )
