"""What a commit is made of: rows that were staged, and the transaction that takes them in."""

from pathlib import Path

import duckdb

from actlake.storage.durable import Digest
from actlake.storage.store import Store

__all__ = ["StagedRows", "Transaction"]


class StagedRows:
    """Rows of one table in a Parquet file that no commit names yet."""

    __slots__ = ("_store", "digest", "path", "table")

    def __init__(self, table: str, path: Path, digest: Digest, store: Store) -> None:
        self.table = table
        self.path = path
        self.digest = digest
        self._store = store

    @property
    def uri(self) -> str:
        """What DuckDB calls the file."""
        return self._store.uri(self.path)

    def discard(self) -> None:
        """Remove the file; one that cannot be removed waits for ``gc``."""
        self._store.discard(self.path)


class Transaction:
    """What a change may do between BEGIN and COMMIT. It may run several times."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        self.registered: list[StagedRows] = []
        self.committing = False
        """Whether COMMIT was said, so that it may have landed whatever was answered."""

    def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        """The rows of a query, as of this transaction."""
        return self.connection.execute(query, parameters or None).fetchall()

    def execute(self, statement: str, **parameters: object) -> None:
        """Run an INSERT, UPDATE or DELETE."""
        self.connection.execute(statement, parameters or None)

    def register(self, staged: StagedRows) -> None:
        """Make the staged rows part of their table."""
        self.connection.execute(
            "CALL ducklake_add_data_files('lake', $table, $path)",
            {"table": staged.table, "path": staged.uri},
        )
        self.registered.append(staged)
