"""The DuckLake catalog: readers that stand at one snapshot, and short commits under a lock.

A commit stages its rows as Parquet first, then takes the lock, registers them in one
transaction, and reads back that they are there. On a conflict, or when the catalog's server goes
away, everything from the lock to COMMIT is done again; what was staged for a commit that fails is
removed.
docs/design.md §4 has the protocol and why it is this one.
"""

import getpass
import os
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa

from actlake.storage.appending import Appender
from actlake.storage.claims import Claim, Claims
from actlake.storage.duck import attach_lake, connect, end, one_line
from actlake.storage.durable import Digest, disk_error, make_folder
from actlake.storage.errors import BusyError, CorruptError, LakeError, UnreachableError
from actlake.storage.handle import Handle, unreadable
from actlake.storage.parquet import encode_rows, file_facts
from actlake.storage.receipts import added_files, landed_snapshot
from actlake.storage.store import Store
from actlake.storage.transaction import StagedRows, Transaction, staged_together
from actlake.storage.tuning import keep_texts_wide

__all__ = ["Catalog", "StagedRows", "Transaction", "author"]

T = TypeVar("T")
R = TypeVar("R")
ATTEMPTS = 8


class Catalog:
    """The catalog of the lake whose files are in ``store``."""

    def __init__(self, store: Store, claims: Claims) -> None:
        self.store = store
        self.root = store.root
        self._claims = claims
        self._database = claims.database
        self._writer: duckdb.DuckDBPyConnection | None = None
        self._appender: Appender | None = None
        self._at_work = RLock()
        """Of the threads of this process, that none closes what another commits through."""

    @property
    def schema(self) -> str:
        """Where the catalog's database has DuckLake's own tables."""
        return self._database.schema

    @property
    def _tables(self) -> Path:
        return self.root / "tables"

    def _attach(
        self, *, read_only: bool = True, snapshot: int | None = None, **options: Any
    ) -> duckdb.DuckDBPyConnection:
        extensions = (*self._database.extensions, *self.store.extensions)
        connection = connect(extensions=extensions, **options)
        self.store.admit(connection)
        tables = self.store.uri(self._tables)
        attach_lake(connection, self._database, tables, read_only=read_only, snapshot=snapshot)
        return connection

    def attached(self, snapshot: int | None = None) -> Handle:
        """A new read-only connection without views, at ``snapshot`` or following the newest.

        A query that needs more memory than the connection has goes on in the temporary folder.
        NotFoundError if there is no such snapshot.
        """
        # A folder of its own: DuckDB makes it when it must, removes it, and shares it with nobody.
        spill = Path(tempfile.gettempdir()) / f"actlake-spill-{uuid4().hex}"
        return Handle(self._attach(snapshot=snapshot, spill=spill), self._database.meaning)

    def stage(self, table: str, rows: pa.Table) -> StagedRows:
        """Write ``rows`` as Parquet where ``table`` keeps its files; nothing refers to it yet."""
        return self.stage_parquet(table, encode_rows(table, rows))

    def stage_all(
        self, tables: Mapping[str, pa.Table], beside: Sequence[StagedRows] = ()
    ) -> list[StagedRows]:
        """As ``stage``, of several tables; nothing of one without rows. Where one fails, all is
        discarded, with what was staged ``beside``."""
        return staged_together(self.stage, tables, beside)

    def stage_parquet(self, table: str, content: memoryview) -> StagedRows:
        """As ``stage``, for a Parquet file that the caller has already encoded."""
        path = self._tables / "main" / table / f"{uuid4().hex}.parquet"
        make_folder(path.parent)
        digest = self.store.publish(path, [content])
        return StagedRows(table, path, digest, file_facts(content), self.store)

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
        results: list[T] = []
        # No crash may leave a file without its hash; names of what is staged are new, so no lock.
        self._claims.record_files(self._digests(staged))
        try:
            return self._insist(
                lambda: self._attempt(
                    change, message, claims, staged, files or {}, attempted, results
                ),
                attempted,
            )
        except BaseException:
            with suppress(LakeError, duckdb.Error):  # nothing is removed that may be committed
                if self._landed(attempted) is None:
                    for folder in folders:
                        self.store.discard(folder)
                    attempted.clear()
            raise
        finally:
            registered = attempted[-1].registered if attempted else []
            if left := [one for one in staged if one not in registered]:
                for one in left:
                    one.discard()
                with suppress(LakeError):  # a hash of nothing is none of anything
                    self._claims.forget_files(self._digests(left))

    def examine(self, look: Callable[[Transaction], T], *, claims: Sequence[Claim] = ()) -> T:
        """Run ``look`` under the commit lock, at the newest snapshot, and roll back."""

        def work() -> T:
            self._check_current(claims)
            connection = self._writing()
            connection.execute("BEGIN")
            try:
                return look(Transaction(connection))
            finally:
                self._roll_back()

        return self._insist(work, [])

    def _insist(self, work: Callable[[], R], attempted: list[Transaction]) -> R:
        """``work()`` under the commit lock; again where it may go better, each time under a lock of
        its own, since a lock is lost with its server."""
        last: LakeError | None = None
        for attempt in range(ATTEMPTS):
            try:
                with self.locked(), self._at_work:
                    try:
                        return work()
                    except (duckdb.Error, UnicodeDecodeError, UnreachableError):
                        # A failed commit leaves the connection unusable. Closed under the lock,
                        # as another thread of this process may be next to use it.
                        self.close()
                        raise
            except (duckdb.Error, UnicodeDecodeError, UnreachableError) as error:
                last = error if isinstance(error, UnreachableError) else self._meaning(error)
                again = any(text in str(error) for text in self._database.transient)
                if last is not error and not again and self._landed(attempted) is None:
                    raise last from error
                time.sleep(random.uniform(0.5, 1.0) * 0.1 * 2**attempt)  # noqa: S311 - jitter
        if isinstance(last, UnreachableError):
            raise last
        raise BusyError(
            f"the catalog of {self.root} refused a commit {ATTEMPTS} times, so nothing was "
            "committed; see which process keeps it busy, and try again"
        )

    def _meaning(self, error: Exception) -> LakeError:
        """What DuckDB complains of, as an error that says what to do."""
        return disk_error(self.root, one_line(error)) or unreadable(error, self._database.meaning)

    def _check_current(self, claims: Sequence[Claim]) -> None:
        if lost := self._claims.lost(claims):
            raise BusyError(
                f"another process took over {lost[0].key}, so nothing was committed; "
                "run it again to see what is left to do"
            )

    def _attempt(
        self,
        change: Callable[[Transaction], T],
        message: str,
        claims: Sequence[Claim],
        staged: Sequence[StagedRows],
        files: Mapping[str, Digest],
        attempted: list[Transaction],
        results: list[T],
    ) -> tuple[T, int | None]:
        """One attempt of ``commit``, which is ``attempted`` from when it begins."""
        self._check_current(claims)
        connection = self._writing()
        made: int | None = None
        try:
            connection.execute("BEGIN")
            # From here on it stands at a snapshot: if an attempt whose answer was lost lands after
            # this, both make the same one, so that this fails.
            transaction = Transaction(connection, None if attempted else self._appender)
            snapshot = self._landed(attempted, connection)
            if snapshot is None:
                attempted.append(transaction)
                result = change(transaction)
                others = [one for one in transaction.registered if one not in staged]
                self._claims.record_files({**self._digests(others), **files})
                results.append(result)
                made = transaction.commit(author(), message)
            else:
                connection.execute("ROLLBACK")
        except duckdb.Error:
            raise
        except BaseException:
            self._roll_back()
            raise
        if made is not None:
            return results[-1], made
        try:
            if self._appender is not None and self._appender.known:
                keep_texts_wide(self._writing())
        except duckdb.Error:
            self.close()  # the next writer does it, before it commits anything
        before = transaction.before
        since = before if snapshot is None else snapshot
        found, paths = added_files(self._writing(), snapshot, since=since or 0)
        if found == before:
            return results[-1], None
        self._record(paths, self._digests(attempted[-1].registered))
        return results[-1], found

    def _roll_back(self) -> None:
        try:
            self._writing().execute("ROLLBACK")
        except (duckdb.Error, LakeError):
            self.close()

    def _landed(
        self,
        attempted: list[Transaction],
        connection: duckdb.DuckDBPyConnection | None = None,
    ) -> int | None:
        """The snapshot of a transaction that is in the catalog though it did not end well, if one
        is; it is the last of ``attempted`` then.

        Its files tell; one that registered none can be replayed, so for it nothing is lost.
        """
        for one in reversed([one for one in attempted if one.committing and one.registered]):
            with ExitStack() as resources:
                asked = connection or resources.enter_context(closing(self.attached()))
                snapshot = landed_snapshot(asked, one.registered)
            if snapshot is not None:
                attempted.append(one)
                return snapshot
        return None

    def _record(self, paths: set[str], known: Mapping[str, Digest]) -> None:
        """Hold the receipt that was read back against what was registered, and remember the hash
        of what DuckLake itself has written."""
        if lost := sorted(known.keys() - paths):
            raise CorruptError(
                f"the catalog acknowledged a commit without {lost[0]}; run `actlake verify`"
            )
        fresh = paths - known.keys()
        self._claims.record_files({path: self.store.settle(self.root / path) for path in fresh})

    def _digests(self, registered: Sequence[StagedRows]) -> dict[str, Digest]:
        return {one.path.relative_to(self.root).as_posix(): one.digest for one in registered}

    def _writing(self) -> duckdb.DuckDBPyConnection:
        if self._writer is None:
            # Commits are short: a second thread slows them.
            connection = self._attach(read_only=False, threads=1)
            # DuckLake would merge two insertions that both saw a shard absent; we look again.
            connection.execute("SET GLOBAL ducklake_max_retry_count = 0")
            self._appender = Appender(connection, self._database)
            if self._appender.known:  # whoever should have done it may have died
                keep_texts_wide(connection)
            self._writer = connection
        return self._writer

    def close(self) -> None:
        """Close the writing connection, once no other thread is within a commit; the next commit
        opens another."""
        with self._at_work:
            if self._writer is not None:
                end(self._writer)
                self._writer = self._appender = None

    def locked(self) -> AbstractContextManager[None]:
        """The lock that every commit takes; BusyError if it is not free for two minutes."""
        return self._database.locked("catalog")


def author() -> str:
    """The user whose process this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return str(os.getuid())
