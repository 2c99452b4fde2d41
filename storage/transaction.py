"""What a commit is made of: rows that were staged, and the transaction that takes them in."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from actlake.storage.appending import Appender, Parquet
from actlake.storage.duck import LAKE
from actlake.storage.durable import Digest
from actlake.storage.errors import CorruptError
from actlake.storage.parquet import FileFacts
from actlake.storage.snapshots import current_snapshot
from actlake.storage.store import Store
from actlake.storage.threads import default_threads

__all__ = ["Replaced", "StagedRows", "Transaction", "staged_together"]


class StagedRows:
    """Rows of one table in a Parquet file that no commit names yet."""

    __slots__ = ("_store", "digest", "facts", "path", "table")

    def __init__(
        self, table: str, path: Path, digest: Digest, facts: FileFacts, store: Store
    ) -> None:
        self.table = table
        self.path = path
        self.digest = digest
        self.facts = facts
        self._store = store

    @property
    def uri(self) -> str:
        """What DuckDB calls the file."""
        return self._store.uri(self.path)

    def discard(self) -> None:
        """Remove the file; one that cannot be removed waits for ``gc``."""
        self._store.discard(self.path)


def staged_together(
    stage: Callable[[str, pa.Table], StagedRows],
    tables: Mapping[str, pa.Table],
    beside: Sequence[StagedRows],
) -> list[StagedRows]:
    """Each of ``tables`` that has rows, staged in as many threads as there are cores.

    Where one fails, the others are discarded, and what was staged ``beside`` them.
    """
    with ThreadPoolExecutor(default_threads(), "stage") as pool:
        waiting = [pool.submit(stage, *one) for one in tables.items() if len(one[1])]
        try:
            return [one.result() for one in waiting]
        except BaseException:  # Ctrl-C, too
            pool.shutdown(cancel_futures=True)
            done = (one for one in waiting if not one.cancelled() and one.exception() is None)
            for staged in (*beside, *(one.result() for one in done)):
                staged.discard()
            raise


@dataclass(frozen=True, slots=True)
class Replaced:
    """Files of a table in whose place others come."""

    table: str
    uris: list[str]
    """What DuckDB calls them."""
    rows: int
    """Of them all, without those that were deleted."""

    @property
    def names(self) -> list[str]:
        """In the folder of the table."""
        return [uri.rpartition("/")[2] for uri in self.uris]


class Transaction:
    """What a change may do between BEGIN and COMMIT. It may run several times."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, appender: Appender | None = None
    ) -> None:
        """At the newest snapshot, in the transaction that ``connection`` has just begun.

        appender
            Takes in what is registered, if nothing else happens; else DuckLake does.
        """
        self.connection = connection
        self._among_tables = False
        if appender is not None:
            # Where names are looked up in the lake, DuckLake asks its catalog first.
            connection.execute("SET search_path = 'memory.main'")
            appender.begin()
        else:
            self._go_among_tables()
            current_snapshot(connection)
        self.registered: list[StagedRows] = []
        self.committing = False
        """Whether COMMIT was said, so that it may have landed whatever was answered."""
        self._appender = appender
        self._waiting: list[StagedRows] = []
        """Those of ``registered`` that nothing has taken in."""
        self._replaced: list[Replaced] = []
        """What is still to go."""
        self.before: int | None = None
        """The snapshot that DuckLake's commit comes after."""

    def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        """The rows of a query, as of this transaction."""
        self._take_in()
        self._go_among_tables()
        return self.connection.execute(query, parameters or None).fetchall()

    @property
    def appender(self) -> Appender | None:
        """Who will take in what is registered, while nothing else has happened, and knows the
        catalog as it was before; None if DuckLake does."""
        return self._appender

    def execute(self, statement: str, **parameters: object) -> None:
        """Run an INSERT, UPDATE or DELETE."""
        self._appender = None
        self._take_in()
        self._go_among_tables()
        self.connection.execute(statement, parameters or None)

    def register(self, staged: StagedRows) -> None:
        """Make the staged rows part of their table."""
        self.registered.append(staged)
        self._waiting.append(staged)

    def replace(self, old: Replaced, new: Iterable[StagedRows]) -> None:
        """Make ``new`` part of the table in the place of ``old``, which are all live."""
        for staged in new:
            self.register(staged)
        self._replaced.append(old)

    def commit(self, author: str, message: str) -> int | None:
        """Commit; the snapshot that was made, None where only the catalog can tell."""
        snapshot = None
        if self._appender is not None:
            files = [
                Parquet(one.table, one.path.name, one.digest.bytes, one.facts)
                for one in self._waiting
            ]
            ended: dict[str, list[str]] = {}
            for old in self._replaced:
                ended.setdefault(old.table, []).extend(old.names)
            snapshot = self._appender.append(files, author, message, ended)
        if snapshot is not None and self._appender is not None:
            if lost := sorted({one.file for one in files} - self._appender.appended()):
                raise CorruptError(f"the catalog did not take in {lost[0]}; run `actlake verify`")
        else:
            self._take_in()
            self.before = current_snapshot(self.connection)
            self.connection.execute(
                "CALL ducklake_set_commit_message('lake', $author, $message)",
                {"author": author, "message": message},
            )
        self.committing = True
        self.connection.execute("COMMIT")
        return snapshot

    def _take_in(self) -> None:
        """Let DuckLake take in what is registered, which queries see from then on."""
        for staged in self._waiting:
            self._appender = None
            self.connection.execute(
                "CALL ducklake_add_data_files('lake', $table, $path, hive_partitioning => false)",
                {"table": staged.table, "path": staged.uri},
            )
        self._waiting.clear()
        for old in self._replaced:
            self._appender = None
            # Not those that were just registered: their names are others.
            [(gone,)] = self.connection.execute(
                f"DELETE FROM {LAKE}.main.{old.table} WHERE filename IN (SELECT unnest($paths))",  # noqa: S608
                {"paths": old.uris},
            ).fetchall()
            if gone != old.rows:
                raise CorruptError(
                    f"{old.rows:,} rows of {old.table} were to be replaced and {gone:,} were, so "
                    "nothing was changed; run `actlake verify`"
                )
        self._replaced.clear()

    def _go_among_tables(self) -> None:
        """Let names of the lake's tables be understood."""
        if not self._among_tables:
            self.connection.execute(f"SET search_path = '{LAKE}.main'")
            self._among_tables = True
