"""The DuckLake catalog: readers that stand at one snapshot, and short commits under a lock.

A commit stages its rows as Parquet first, then takes the lock file, registers them in one
transaction, and reads back that they are there. On a conflict everything between BEGIN and
COMMIT is rolled back and replayed; what was staged for a commit that fails is removed.
docs/design.md §4 has the protocol and why it is this one.
"""

import getpass
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from actlake import sql
from actlake.storage.claims import Claim, Claims
from actlake.storage.duck import attach_lake, connect, one_line
from actlake.storage.durable import Digest, digest, disk_error, flush, make_folder, publish
from actlake.storage.errors import BusyError, CorruptError, LakeError
from actlake.storage.fields import TEXTS, arrow_schema
from actlake.storage.lock import locked
from actlake.storage.snapshots import current_snapshot
from actlake.storage.transaction import StagedRows, Transaction

__all__ = ["Catalog", "StagedRows", "Transaction", "author", "encode_rows"]

T = TypeVar("T")
ATTEMPTS = 8
SEARCH_PATH = "SET search_path = 'lake.main,memory.main'"
TRANSIENT = ("database is locked", "Transaction conflict", "database table is locked")


def encode_rows(table: str, rows: pa.Table) -> memoryview:
    """The bytes of a Parquet file of ``rows`` of ``table``."""
    sink = pa.BufferOutputStream()
    rows = rows.cast(arrow_schema(table))
    # DuckLake copies the smallest and the largest value of a file into the catalog.
    told = [name for name in rows.column_names if (table, name) not in TEXTS]
    pq.write_table(rows, sink, compression="zstd", write_statistics=told)
    return memoryview(sink.getvalue())


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

    def attached(self, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
        """A new read-only connection without views, at ``snapshot`` or following the newest.

        A query that needs more memory than the connection has goes on in the temporary folder.
        NotFoundError if there is no such snapshot.
        """
        # A folder of its own: DuckDB makes it when it must, removes it, and shares it with nobody.
        connection = connect(spill=Path(tempfile.gettempdir()) / f"actlake-spill-{uuid4().hex}")
        attach_lake(connection, self._file, self._tables, read_only=True, snapshot=snapshot)
        return connection

    def with_views(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
        """``connection`` with the views, but those of tables that its snapshot does not have."""
        # They live beside the lake, in this connection's own memory, and follow its snapshot.
        connection.execute("SET search_path = 'memory.main,lake.main'")
        for view in sql.names("views"):
            # A snapshot from before a table or column was added has no more to show.
            with suppress(duckdb.CatalogException, duckdb.BinderException):
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
        return self.stage_parquet(table, encode_rows(table, rows))

    def stage_parquet(self, table: str, content: memoryview) -> StagedRows:
        """As ``stage``, for a Parquet file that the caller has already encoded."""
        folder = self._tables / "main" / table
        make_folder(folder)
        path = folder / f"{uuid4().hex}.parquet"
        return StagedRows(table, path, publish(path, [content]))

    def commit(
        self,
        change: Callable[[Transaction], T],
        message: str,
        *,
        claims: Sequence[Claim] = (),
        staged: Sequence[StagedRows] = (),
        folders: Sequence[Path] = (),
        files: Mapping[str, Digest] | None = None,
    ) -> tuple[T, int | None]:
        """Run ``change`` in one transaction; what it returned, and the snapshot it made, if any.

        claims
            Refuse, with BusyError, if somebody has taken one of them over.
        staged, folders
            What only this commit makes part of the lake: removed where it does not, because it
            failed or ``change`` registered less.
        files
            Hashes of files outside ``tables/`` that the commit makes part of the lake.
        """
        attempted: list[Transaction] = []
        try:
            with self.locked():
                self._check_current(claims)
                before = current_snapshot(self._writing())
                result = self._replayed(change, message, files or {}, attempted)
                snapshot, paths = self._newest()
                if snapshot == before:
                    return result, None
                self._record(paths, attempted[-1].registered)
                return result, snapshot
        except BaseException:
            with suppress(LakeError, duckdb.Error):  # nothing is removed that may be committed
                if not self._landed(attempted):
                    for folder in folders:
                        shutil.rmtree(folder, ignore_errors=True)
                    attempted.clear()
            raise
        finally:
            registered = attempted[-1].registered if attempted else []
            for one in staged:
                if one not in registered:
                    one.discard()

    def examine(self, look: Callable[[Transaction], T], *, claims: Sequence[Claim] = ()) -> T:
        """Run ``look`` under the commit lock, at the newest snapshot, and roll back."""
        with self.locked():
            self._check_current(claims)
            connection = self._writing()
            connection.execute("BEGIN")
            try:
                return look(Transaction(connection))
            finally:
                connection.execute("ROLLBACK")

    def _check_current(self, claims: Sequence[Claim]) -> None:
        if lost := self._claims.lost(claims):
            raise BusyError(
                f"another process took over {lost[0].key}, so nothing was committed; "
                "run it again to see what is left to do"
            )

    def _replayed(
        self,
        change: Callable[[Transaction], T],
        message: str,
        files: Mapping[str, Digest],
        attempted: list[Transaction],
    ) -> T:
        for attempt in range(ATTEMPTS):
            try:
                connection = self._writing()
                transaction = Transaction(connection)
                attempted.append(transaction)
                connection.execute("BEGIN")
                result = change(transaction)
                connection.execute(
                    "CALL ducklake_set_commit_message('lake', $author, $message)",
                    {"author": author(), "message": message},
                )
                # Before the commit, so that no crash leaves a file without its hash.
                self._claims.record_files({**self._digests(transaction.registered), **files})
                transaction.committing = True
                connection.execute("COMMIT")
                return result
            except duckdb.Error as error:
                self.close()  # a failed commit leaves the connection unusable
                if self._landed(attempted[-1:]):
                    return result  # all but its acknowledgement
                if not any(text in str(error) for text in TRANSIENT):
                    if blamed := disk_error(self.root, one_line(error)):
                        raise blamed from error
                    if isinstance(error, duckdb.IOException):
                        raise LakeError(f"{self.root}: {one_line(error)}") from error
                    raise
                time.sleep(random.uniform(0.5, 1.0) * 0.1 * 2**attempt)  # noqa: S311 - jitter
            except BaseException:
                self._roll_back()
                raise
        raise BusyError(
            f"the catalog of {self.root} refused a commit {ATTEMPTS} times, so nothing was "
            "committed; see which process keeps it busy, and try again"
        )

    def _roll_back(self) -> None:
        try:
            self._writing().execute("ROLLBACK")
        except duckdb.Error:
            self.close()

    def _landed(self, attempted: Iterable[Transaction]) -> bool:
        """Whether a transaction is in the catalog though it did not end well.

        Its files tell; one that registered none can be replayed, so for it nothing is lost.
        """
        files = {
            one.path.name
            for transaction in attempted
            if transaction.committing
            for one in transaction.registered
        }
        if not files:
            return False
        query = """
            SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file
            WHERE parse_filename(path) IN (SELECT unnest($files))
        """
        connection = self.attached()
        try:
            return connection.execute(query, {"files": sorted(files)}).fetchone() != (0,)
        finally:
            connection.close()

    def _newest(self) -> tuple[int, set[str]]:
        """The newest snapshot, and the files in the lake that its commit added."""
        # One statement: for each, DuckDB opens the catalog's SQLite file anew.
        rows = (
            self._writing()
            .execute(
                """
            WITH newest AS (
                SELECT max(snapshot_id) AS snapshot
                FROM __ducklake_metadata_lake.ducklake_snapshot
            ),
            added AS (
                SELECT begin_snapshot, table_id, path
                FROM __ducklake_metadata_lake.ducklake_data_file
                UNION ALL
                SELECT begin_snapshot, table_id, path
                FROM __ducklake_metadata_lake.ducklake_delete_file
            )
            SELECT n.snapshot, t.path || a.path FROM newest AS n
            LEFT JOIN added AS a ON a.begin_snapshot = n.snapshot
            LEFT JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
            """
            )
            .fetchall()
        )
        return rows[0][0], {f"tables/main/{path}" for _, path in rows if path is not None}

    def _record(self, paths: set[str], registered: Sequence[StagedRows]) -> None:
        """Hold the receipt that was read back against what was registered, and remember the hash
        of what DuckLake itself has written."""
        known = self._digests(registered)
        if lost := sorted(known.keys() - paths):
            raise CorruptError(
                f"the catalog acknowledged a commit without {lost[0]}; run `actlake verify`"
            )
        for path in paths - known.keys():
            flush(self.root / path)
        self._claims.record_files({path: digest(self.root / path) for path in paths - known.keys()})

    def _digests(self, registered: Sequence[StagedRows]) -> dict[str, Digest]:
        return {one.path.relative_to(self.root).as_posix(): one.digest for one in registered}

    def _writing(self) -> duckdb.DuckDBPyConnection:
        if self._writer is None:
            connection = connect(threads=1)  # commits are short: a second thread slows them
            attach_lake(connection, self._file, self._tables, read_only=False, snapshot=None)
            self._writer = connection
        return self._writer

    def close(self) -> None:
        """Close the writing connection; the next commit opens another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def locked(self) -> AbstractContextManager[None]:
        """The lock that every commit takes; BusyError if it is not free for two minutes."""
        return locked(self.root / "catalog.lock")


def author() -> str:
    """The user whose process this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())
