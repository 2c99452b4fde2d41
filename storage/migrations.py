"""Bringing a lake's tables to the schema of this version, each step with its record."""

import hashlib
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from actlake import sql
from actlake.storage.catalog import Catalog, Transaction
from actlake.storage.errors import FormatError
from actlake.storage.settings import actlake_version

__all__ = ["applied", "migrate"]


def applied(connection: duckdb.DuckDBPyConnection) -> int:
    """Number of the newest schema file that the lake has; 0 for an empty catalog.

    FormatError if it has one that this version does not know.
    """
    exists = "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND table_name = 'migrations'"
    row = connection.execute(exists).fetchone()
    if row is None or not row[0]:
        return 0
    newest = connection.execute("SELECT max(version), max_by(actlake_version, version) FROM migrations")
    row = newest.fetchone()
    version, writer = (0, "") if row is None else row
    if (version or 0) > len(sql.names("schema")):
        raise FormatError(
            f"the lake's tables have schema {version} and this actlake knows "
            f"{len(sql.names('schema'))}; install actlake {writer} or newer"
        )
    return int(version or 0)


def migrate(catalog: Catalog) -> None:
    """Apply, in one transaction, every schema file that the lake lacks."""
    files = sql.names("schema")

    def change(transaction: Transaction) -> None:
        done = applied(transaction.connection)
        if done == len(files):
            return
        for file in files[done:]:
            transaction.execute(sql.text("schema", file))
        transaction.register(catalog.stage("migrations", _records(files, done)))

    catalog.commit(change, f"schema {len(files)}")


def _records(files: list[str], done: int) -> pa.Table:
    now = datetime.now(UTC).replace(tzinfo=None)
    return pa.table(
        {
            "version": range(done + 1, len(files) + 1),
            "name": files[done:],
            "sha256": [
                hashlib.sha256(sql.text("schema", file).encode()).hexdigest()
                for file in files[done:]
            ],
            "applied": [now] * (len(files) - done),
            "actlake_version": [actlake_version()] * (len(files) - done),
        }
    )
