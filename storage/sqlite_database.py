"""A catalog in SQLite files inside the lake, for the processes of one machine.

The keyed tables have a file of their own: two SQLite libraries, DuckDB's and Python's, would drop
each other's POSIX locks on one file in one process, and lose commits.
"""

import os
import shutil
import sqlite3
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from actlake.storage.database import Database
from actlake.storage.durable import disk_error
from actlake.storage.errors import BusyError, DiskError, FormatError, LakeError
from actlake.storage.lock import locked
from actlake.storage.sqlite_check import sqlite_faults
from actlake.storage.sqlite_copy import copy_unwritable

__all__ = ["SqliteDatabase"]

BUSY_TIMEOUT_MS = 10_000


class SqliteDatabase(Database):
    """The files ``catalog.sqlite`` and ``claims.sqlite`` of the lake at ``root``.

    SQLite writes a log to read. So in a folder that this process may not write, such as a
    colleague's, or one on a disk that is mounted read-only, copies of them are read, as they were
    when this was made, and whatever would write is refused with DiskError.
    """

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
        self._copies = self._copied()
        self._place = self._copies or root
        self.source = f"sqlite:{self._place / 'catalog.sqlite'}"
        url = sa.URL.create("sqlite", database=str(self._place / "claims.sqlite"))
        # No pool: a connection lives for one transaction, so threads and forks share none.
        self.engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        sa.event.listen(self.engine, "connect", _prepare)

    def _copied(self) -> Path | None:
        """A folder with copies of the files, if the lake's may not be written."""
        sources = [self._root / name for name in self.names]
        if os.access(self._root, os.W_OK) or not all(map(os.path.isfile, sources)):
            return None
        copies = Path(tempfile.mkdtemp(prefix="actlake-catalog-"))
        weakref.finalize(self, _remove, copies, os.getpid())
        for source in sources:
            try:
                copy_unwritable(source, copies / source.name)
            except (OSError, sqlite3.Error) as error:
                raise FormatError(f"{source} cannot be read ({error}); see who owns it") from error
        return copies

    def _refuse_copies(self) -> None:
        if self._copies is not None:
            raise DiskError(
                f"{self._root} cannot be written (it was not writable when it was opened); make it "
                "writable, then run this again"
            )

    def begin(self, connection: sa.Connection) -> None:
        self._refuse_copies()
        # Take SQLite's write lock at once: a read first could not be upgraded under contention.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def insert(self, table: sa.Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def clock(self) -> sa.ColumnElement[float]:
        return sa.literal(time.time(), sa.Double)

    def locked(self, name: str) -> AbstractContextManager[None]:
        self._refuse_copies()
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
        for path, what in sqlite_faults([self._place / name for name in self.names]):
            yield path.name, what

    def backup_elsewhere(self) -> str | None:
        return None

    def fault(self, said: str, place: str) -> LakeError | None:
        if "locked" in said:
            return BusyError(f"{place} is locked; try again")
        return disk_error(Path(place), said)


def _remove(copies: Path, maker: int) -> None:
    if os.getpid() == maker:  # not a fork, whose end is not its parent's
        shutil.rmtree(copies, ignore_errors=True)


def _prepare(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]  # sqlite3.Connection
