"""What a query gives back: Arrow, polars, pandas, tuples, or batches that never meet in memory."""

import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow as pa

from actlake.storage.duck import one_line
from actlake.storage.errors import LakeError, QueryError
from actlake.storage.function_faults import function_fault
from actlake.storage.http_faults import http_fault

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result", "TimeLimit", "stop_queries"]

_AGAIN_SECONDS = 0.05


class _Watch:
    """The thread that stops queries at their limits: one for all, since to start one for each costs
    as much as a small query does."""

    def __init__(self) -> None:
        # Not a lock that its thread may take twice: Ctrl-C could come between it and its owner's
        # name, and nobody would have it again.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._due: dict[TimeLimit, float] = {}
        """When each query that is at work is to be interrupted next."""
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, limit: "TimeLimit", due: float) -> None:
        with self._lock:
            self._due[limit] = due
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="queries", daemon=True)
                self._thread.start()
            elif due < self._wakes:
                self._changed.notify()

    def end(self, limit: "TimeLimit") -> None:
        """No interrupt comes after this, which would end another query."""
        with self._lock:
            self._due.pop(limit, None)

    def stop(self) -> None:
        """Interrupt whatever is at work."""
        with self._lock:
            for one in [*self._due]:
                self._interrupt(one)

    def _run(self) -> None:
        with self._lock:
            while True:
                now = time.monotonic()
                self._interrupt_due(now)  # by itself, so that this keeps no connection alive
                self._wakes = min(self._due.values(), default=math.inf)
                self._changed.wait(min(self._wakes - now, threading.TIMEOUT_MAX))

    def _interrupt_due(self, now: float) -> None:
        for one in [one for one, due in self._due.items() if due <= now]:
            # Again and again: DuckDB forgets what comes before the query begins.
            self._due[one] = now + _AGAIN_SECONDS
            self._interrupt(one)

    def _interrupt(self, limit: "TimeLimit") -> None:
        try:
            limit.interrupt()
        except duckdb.Error:  # its lake was closed
            del self._due[limit]


_watch = _Watch()
# A forked child has no thread of its parent's, and perhaps a lock that one of them held.
os.register_at_fork(after_in_child=_watch.__init__)  # type: ignore[misc]


def stop_queries() -> None:
    """Interrupt every query at work in this process; each raises QueryError.

    From any thread, but from no handler of a signal.
    """
    _watch.stop()


class TimeLimit:
    """Seconds that DuckDB may work on one query, over all its steps.

    Only work counts: a consumer may take its time between two batches.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, seconds: float) -> None:
        """Raises QueryError unless ``seconds`` is a number that a clock can wait for."""
        if not 0 <= seconds <= threading.TIMEOUT_MAX:
            raise QueryError(f"a query cannot be limited to {seconds} s; give a finite number")
        self._con = con
        self._seconds = seconds
        self._left = seconds
        self._interrupted = False

    @contextmanager
    def step(self) -> Generator[None]:
        """Work done inside is timed and interrupted; DuckDB's errors come out as QueryError."""
        if self._left <= 0:
            raise self._spent()
        started = time.monotonic()
        try:
            _watch.begin(self, started + self._left)
            yield
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            # Arrow reports what DuckDB raises inside a stream as an OSError.
            if time.monotonic() - started >= self._left:
                raise self._spent() from error
            said = one_line(error)
            if ours := function_fault(said):
                raise ours from error
            if said.casefold().rstrip("!") == "interrupted" and not self._interrupted:
                # Of two threads DuckDB sometimes tells that one was stopped since the other failed.
                said = "a thread of the query failed, and DuckDB does not say why; run it again"
            elif "; " not in said:
                said += (
                    "; run `actlake verify`" if "parquet" in said.casefold() else "; mend the query"
                )
            raise http_fault(said) or QueryError(said) from error
        except BaseException:  # Ctrl-C ends the call, and DuckDB's own threads would work on
            self._con.interrupt()
            raise
        finally:
            _watch.end(self)
            self._left -= time.monotonic() - started

    def interrupt(self) -> None:
        """Stop what is at work in a step."""
        self._interrupted = True
        self._con.interrupt()

    def _spent(self) -> QueryError:
        return QueryError(
            f"the query was stopped at its limit of {self._seconds:g} s; "
            "narrow it, or allow it more time"
        )


class Result:
    """The rows of one query, fetched once: whole (and then kept), or as a stream of batches.

    Column names are unique (a repeated ``a`` becomes ``a_1``), and integers that DuckDB widened to
    128 bits, as ``sum`` does, come as int64. Results do not disturb each other; each holds its own
    connection until its rows are fetched. Every method raises QueryError where the query fails
    late, runs out of time, or has been streamed already.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        limit: TimeLimit,
        fetched: Callable[[duckdb.DuckDBPyConnection], None] = duckdb.DuckDBPyConnection.close,
    ) -> None:
        """``con`` is given to ``fetched`` when its last row is."""
        self._con = con
        self._fetched = fetched
        self._limit = limit
        described = con.description or []
        self._columns = _unique([str(column[0]) for column in described])
        self._wide = [str(column[1]) == "HUGEINT" for column in described]
        self._table: pa.Table | None = None
        self._streamed = False

    @property
    def columns(self) -> tuple[str, ...]:
        return self._columns

    def arrow(self) -> pa.Table:
        """Every row; the same table each time."""
        if self._table is None:
            self._take()
            with self._limit.step():
                table = self._con.to_arrow_table()
            self._fetched(self._con)
            self._table = pa.table(
                [self._narrow(i, column) for i, column in enumerate(table.columns)],
                names=list(self._columns),
            )
        return self._table

    def pl(self) -> pl.DataFrame:
        """Every row, as polars."""
        try:
            return pl.DataFrame(self.arrow())
        except pl.exceptions.PolarsError as error:
            raise QueryError(
                f"polars cannot hold this result: {one_line(error)}; use .arrow(), or cast it"
            ) from error

    def df(self) -> "pd.DataFrame":
        """Every row, as pandas, which must be installed."""
        if find_spec("pandas") is None:
            raise LakeError("pandas is not installed; run `pip install pandas`, or use .pl()")
        return self.arrow().to_pandas()

    def rows(self) -> list[tuple[object, ...]]:
        """Every row, as a tuple of Python values."""
        table = self.arrow()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def batches(self, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most ``rows``, computed while they are read.

        Once only, unless ``arrow`` has fetched the rows before. Memory: one batch and what the
        query itself holds.
        """
        if rows < 1:
            raise QueryError(f"a batch cannot hold {rows} rows; ask for 1 or more")
        if self._table is not None:
            return iter(self._table.to_batches(max_chunksize=rows))
        self._take()
        return self._stream(rows)

    def _stream(self, rows: int) -> Generator[pa.RecordBatch]:
        with self._limit.step():
            reader = self._con.to_arrow_reader(rows)
        while True:
            try:
                with self._limit.step():
                    batch = reader.read_next_batch()
            except StopIteration:
                break
            columns = [self._narrow(i, column) for i, column in enumerate(batch.columns)]
            yield pa.record_batch(columns, names=list(self._columns))
        self._fetched(self._con)

    def _take(self) -> None:
        if self._streamed:
            raise QueryError(
                "the rows of this result were streamed already; run the query again, "
                "or call .arrow() first, which keeps them"
            )
        self._streamed = True

    def _narrow(self, index: int, column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
        if not self._wide[index]:
            return column
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise QueryError(
                f"column {self._columns[index]} holds integers beyond 64 bits; "
                "cast it to DOUBLE or VARCHAR in the query"
            ) from error


def _unique(names: list[str]) -> tuple[str, ...]:
    """``names``, each repeated one with the lowest free ``_1``, ``_2``, … behind it."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        fresh, count = name, 0
        while fresh in seen or (count and fresh in taken):
            count += 1
            fresh = f"{name}_{count}"
        seen.add(fresh)
        unique.append(fresh)
    return tuple(unique)
