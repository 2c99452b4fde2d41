"""The DuckLake catalog: readers that stand at one snapshot, and short commits under a lock.

A commit stages its rows as Parquet first, then takes the lock file, registers them in one
transaction, and reads back that they are there. On a conflict everything between BEGIN and
COMMIT is rolled back and replayed. docs/design.md §4 has the protocol and why it is this one.
"""

import fcntl
import getpass
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from actlake import sql
from actlake.storage.claims import Claim, Claims
from actlake.storage.duck import attach_lake, connect
from actlake.storage.durable import Digest, digest, publish
from actlake.storage.errors import BusyError, CorruptError, LakeError
from actlake.storage.fields import arrow_schema

__all__ = ["Catalog", "StagedRows", "Transaction"]

T = TypeVar("T")
LOCK_SECONDS = 120.0
ATTEMPTS = 8
SEARCH_PATH = "SET search_path = 'lake.main,memory.main'"
TRANSIENT = ("database is locked", "Transaction conflict", "database table is locked")


class StagedRows:
    """Rows of one table in a Parquet file that no commit names yet."""

    __slots__ = ("digest", "path", "table")

    def __init__(self, table: str, path: Path, digest: Digest) -> None:
        self.table = table
        self.path = path
        self.digest = digest


class Transaction:
    """What a change may do between BEGIN and COMMIT. It may run several times."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.registered: list[StagedRows] = []

    def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        """The rows of a query, as of this transaction."""
        return self.connection.execute(query, parameters or None).fetchall()

    def execute(self, statement: str, **parameters: object) -> None:
        """Run an UPDATE or DELETE."""
        self.connection.execute(statement, parameters or None)

    def register(self, staged: StagedRows) -> None:
        """Make the staged rows part of their table."""
        self.connection.execute(
            "CALL ducklake_add_data_files('lake', $table, $path)",
            {"table": staged.table, "path": str(staged.path)},
        )
        self.registered.append(staged)


class Catalog:
    """The catalog of the lake at ``root``."""

    def __init__(self, root: Path, claims: Claims) -> None:
        self.root = root
        self._claims = claims
        self._writer: duckdb.DuckDBPyConnection | None = None

    @property
    def _file(self) -> Path:
        return self.root / "catalog.sqlite"

    @property
    def _tables(self) -> Path:
        return self.root / "tables"

    def reader(self, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
        """A new read-only connection with the views, at ``snapshot`` or following the newest."""
        connection = connect()
        attach_lake(connection, self._file, self._tables, read_only=True, snapshot=snapshot)
        # Views live beside the lake, in this connection's own memory, and follow its snapshot.
        connection.execute("SET search_path = 'memory.main,lake.main'")
        for view in sql.names("views"):
            connection.execute(sql.text("views", view))
        connection.execute(SEARCH_PATH)
        return connection

    def cursor(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """A second handle on a reader, for one thread or one result."""
        cursor = connection.cursor()
        cursor.execute(SEARCH_PATH)
        return cursor

    def stage(self, table: str, rows: pa.Table) -> StagedRows:
        """Write ``rows`` as Parquet where ``table`` keeps its files; nothing refers to it yet."""
        sink = pa.BufferOutputStream()
        pq.write_table(rows.cast(arrow_schema(table)), sink, compression="zstd")
        return self.stage_parquet(table, memoryview(sink.getvalue()))

    def stage_parquet(self, table: str, content: memoryview) -> StagedRows:
        """As ``stage``, for a Parquet file that the caller has already encoded."""
        folder = self._tables / "main" / table
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid4().hex}.parquet"
        return StagedRows(table, path, publish(path, [content]))

    def commit(
        self,
        change: Callable[[Transaction], T],
        message: str,
        *,
        claim: Claim | None = None,
        files: Mapping[str, Digest] | None = None,
    ) -> tuple[T, int]:
        """Run ``change`` in one transaction; what it returned, and the snapshot it made.

        claim
            Refuse, with BusyError, if somebody has taken this claim over.
        files
            Hashes of files outside ``tables/`` that the commit makes part of the lake.
        """
        with self.locked():
            self._check_current(claim)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._attempt(change, message, files or {})
                except duckdb.Error as error:
                    self.close()  # a failed commit leaves the connection unusable
                    if attempt == ATTEMPTS or not any(text in str(error) for text in TRANSIENT):
                        raise
                    time.sleep(random.uniform(0.5, 1.0) * 0.05 * 2**attempt)  # noqa: S311
        raise LakeError("unreachable")

    def examine(self, look: Callable[[Transaction], T], *, claim: Claim) -> T:
        """Run ``look`` under the commit lock, at the newest snapshot, and roll back."""
        with self.locked():
            self._check_current(claim)
            connection = self._writing()
            connection.execute("BEGIN")
            try:
                return look(Transaction(connection))
            finally:
                connection.execute("ROLLBACK")

    def _check_current(self, claim: Claim | None) -> None:
        if claim is not None and not self._claims.is_current(claim):
            raise BusyError(
                f"another process took over {claim.key}, so nothing was committed; "
                "run it again to see what is left to do"
            )

    def _attempt(
        self, change: Callable[[Transaction], T], message: str, files: Mapping[str, Digest]
    ) -> tuple[T, int]:
        connection = self._writing()
        connection.execute("BEGIN")
        transaction = Transaction(connection)
        try:
            result = change(transaction)
            connection.execute(
                "CALL ducklake_set_commit_message('lake', $author, $message)",
                {"author": getpass.getuser(), "message": message},
            )
            connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        snapshot = int(_one(connection, "SELECT id FROM lake.current_snapshot()"))
        self._record(connection, snapshot, transaction.registered, files)
        return result, snapshot

    def _record(
        self,
        connection: duckdb.DuckDBPyConnection,
        snapshot: int,
        registered: list[StagedRows],
        files: Mapping[str, Digest],
    ) -> None:
        """Read the receipt back, and remember the hash of every file that the commit added."""
        written = connection.execute(
            """
            SELECT t.path || f.path FROM (
                SELECT table_id, path FROM __ducklake_metadata_lake.ducklake_data_file
                WHERE begin_snapshot = $snapshot
                UNION ALL
                SELECT table_id, path FROM __ducklake_metadata_lake.ducklake_delete_file
                WHERE begin_snapshot = $snapshot
            ) AS f
            JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
            """,
            {"snapshot": snapshot},
        ).fetchall()
        paths = {f"tables/main/{path}" for (path,) in written}
        known = {staged.path.relative_to(self.root).as_posix(): staged.digest for staged in registered}
        if lost := sorted(known.keys() - paths):
            raise CorruptError(
                f"the catalog acknowledged a commit without {lost[0]}; run `actlake verify`"
            )
        digests = {path: known.get(path) or digest(self.root / path) for path in paths}
        self._claims.record_files({**digests, **files})

    def _writing(self) -> duckdb.DuckDBPyConnection:
        if self._writer is None:
            self._writer = connect()
            attach_lake(self._writer, self._file, self._tables, read_only=False, snapshot=None)
        return self._writer

    def close(self) -> None:
        """Close the writing connection; the next commit opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The lock that every commit takes; BusyError if it is not free for two minutes."""
        deadline = time.monotonic() + LOCK_SECONDS
        with (self.root / "catalog.lock").open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BusyError(
                            f"{file.name} has been locked for {LOCK_SECONDS:.0f} s; see which "
                            "process holds it, and try again"
                        ) from None
                    time.sleep(random.uniform(0.001, 0.01))  # noqa: S311 - jitter
            yield


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(query).fetchone()
    if row is None:
        raise CorruptError("the catalog has no snapshot; restore it from a backup")
    return int(row[0])
