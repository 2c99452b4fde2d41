"""A reader's handle on its connection: what DuckDB cannot read of a lake is one LakeError.

A catalog or a Parquet file that is damaged makes DuckDB complain in every way it has, its internal
errors and text that is no text among them. Our own queries fit the tables of a sound lake, so
whatever goes wrong with one is the lake's, or of the way to it.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from actlake.storage.duck import one_line
from actlake.storage.errors import CorruptError, LakeError, RoomError
from actlake.storage.function_faults import function_fault
from actlake.storage.http_faults import http_fault

__all__ = ["Connection", "Handle", "Meaning", "first_row", "unreadable"]

T = TypeVar("T")
Meaning = Callable[[str], LakeError | None]
"""What the catalog's database means by a complaint, if it has a remedy of its own."""


def unreadable(error: Exception, meaning: Meaning = lambda _: None) -> LakeError:
    """What it means that one of our own queries failed with ``error``."""
    said = one_line(error)
    if isinstance(error, duckdb.OutOfMemoryException):
        return RoomError(f"a query has no room ({said}); ask for less at once, or close others")
    return (
        function_fault(said)
        or http_fault(said)
        or meaning(said)
        or CorruptError(f"the lake's tables cannot be read ({said}); run `actlake verify`")
    )


class Handle:
    """As a connection of DuckDB, whose errors are LakeErrors: UnreachableError where a server or
    an object store is away, CorruptError where what is read is damaged."""

    def __init__(self, raw: duckdb.DuckDBPyConnection, meaning: Meaning) -> None:
        self.raw = raw
        """The connection itself, for a query that may be wrong."""
        self._meaning = meaning
        self.needs: object = None
        """What must live for as long as somebody queries through this."""

    def execute(self, query: str, parameters: object = None) -> "Handle":
        self.told(lambda: self.raw.execute(query, parameters))
        return self

    def fetchall(self) -> list[Any]:
        return self.told(self.raw.fetchall)

    def fetchnumpy(self) -> Mapping[str, Any]:
        return self.told(self.raw.fetchnumpy)

    def to_arrow_table(self) -> pa.Table:
        return self.told(self.raw.to_arrow_table)

    @property
    def description(self) -> list[Any] | None:
        """Of each column that was asked for: its name, and more."""
        return self.raw.description

    def cursor(self) -> "Handle":
        """Another on the same database."""
        return Handle(self.raw.cursor(), self._meaning)

    def close(self) -> None:
        self.raw.close()

    def begin(self) -> None:
        """Stand at the newest snapshot, or at the reader's, until ``end``."""
        try:
            self.raw.execute("BEGIN")
        except duckdb.TransactionException:  # Ctrl-C came before the last one was ended
            self.end()
            self.execute("BEGIN")

    def end(self) -> None:
        """End what ``begin`` began; the first error is the one to tell, so this tells none."""
        with suppress(duckdb.Error):
            self.raw.execute("ROLLBACK")

    def told(self, work: Callable[[], T]) -> T:
        """``work()`` on the connection, with its errors as LakeErrors."""
        try:
            return work()
        except (duckdb.ConnectionException, duckdb.InterruptException):  # of this process
            raise
        # Arrow reports what DuckDB raises inside a stream as an OSError.
        except (duckdb.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise unreadable(error, self._meaning) from error


Connection = duckdb.DuckDBPyConnection | Handle
"""What our own queries are asked of: a writer's connection, or a reader's handle."""


def first_row(result: Connection) -> Any:
    """The first of the rows that were asked for, None if there is none.

    Unlike ``fetchone`` it leaves no result behind, which would keep its transaction, and so the log
    of a SQLite catalog, from ending for as long as the connection is not used again.
    """
    rows = result.fetchall()
    return rows[0] if rows else None
