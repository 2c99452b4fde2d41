"""A catalog in SQLite files inside the lake, for the processes of one machine.

The keyed tables have a file of their own: two SQLite libraries, DuckDB's and Python's, would drop
each other's POSIX locks on one file in one process, and lose commits.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from actlake.storage.database import Database
from actlake.storage.durable import disk_error
from actlake.storage.errors import BusyError, FormatError, LakeError
from actlake.storage.lock import locked
from actlake.storage.sqlite_check import sqlite_faults

__all__ = ["SqliteDatabase"]

BUSY_TIMEOUT_MS = 10_000


class SqliteDatabase(Database):
    """The files ``catalog.sqlite`` and ``claims.sqlite`` of the lake at ``root``."""

    extensions = ("ducklake", "sqlite_scanner")
    asks = "sqlite_query"
    schema = "main"
    by_bytes = "COLLATE BINARY"
    transient = (
        "database is locked",
        "Transaction conflict",
        "database table is locked",
        "UNIQUE constraint failed: ducklake_snapshot",
    )
    names = ("catalog.sqlite", "claims.sqlite")
    options = ("META_JOURNAL_MODE 'WAL'", f"META_BUSY_TIMEOUT {BUSY_TIMEOUT_MS}")

    def __init__(self, root: Path) -> None:
        self._root = root
        self.catalog = str(root / "catalog.sqlite")
        self.keyed = str(root / "claims.sqlite")
        self.source = f"sqlite:{self.catalog}"
        url = sa.URL.create("sqlite", database=self.keyed)
        # No pool: a connection lives for one transaction, so threads and forks share none.
        self.engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        sa.event.listen(self.engine, "connect", _prepare)

    def begin(self, connection: sa.Connection) -> None:
        # Take SQLite's write lock at once: a read first could not be upgraded under contention.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def insert(self, table: sa.Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def clock(self) -> sa.ColumnElement[float]:
        return sa.literal(time.time(), sa.Double)

    def locked(self, name: str) -> AbstractContextManager[None]:
        return locked(self._root / f"{name}.lock")

    def reach(self) -> None:
        """Nothing: there is no server."""

    def prepare(self) -> None:
        """Nothing: the files are made when they are first opened."""

    def check(self) -> None:
        if not Path(self.catalog).is_file():
            raise FormatError(
                f"no catalog at {self.catalog}; create the lake first, or check the path"
            )

    def faults(self) -> Iterator[tuple[str, str]]:
        for path, what in sqlite_faults([self._root / name for name in self.names]):
            yield path.name, what

    def backup_elsewhere(self) -> str | None:
        return None

    def fault(self, said: str, place: str) -> LakeError | None:
        if "locked" in said:
            return BusyError(f"{place} is locked; try again")
        return disk_error(Path(place), said)


def _prepare(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]  # sqlite3.Connection
