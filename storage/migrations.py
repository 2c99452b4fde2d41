"""Bringing a lake's tables to the schema of this version, each step with its record."""

import hashlib
from datetime import UTC, datetime

import duckdb

from actlake import sql
from actlake.storage.catalog import Catalog
from actlake.storage.errors import FormatError
from actlake.storage.settings import actlake_version
from actlake.storage.transaction import Transaction
from actlake.storage.tuning import tune

__all__ = ["applied", "migrate", "tune_catalog"]


def applied(connection: duckdb.DuckDBPyConnection) -> int:
    """Number of the newest schema file that the lake has; 0 for an empty catalog.

    FormatError if it has one that this version does not know.
    """
    newest = """
        SELECT coalesce(max(version), 0), max_by(actlake_version, version) FROM lake.migrations
    """
    try:
        version, writer = connection.execute(newest).fetchall()[0]
    except duckdb.CatalogException:  # no such table; to list the tables would take ten times longer
        return 0
    if version > len(sql.names("schema")):
        raise FormatError(
            f"the lake's tables have schema {version} and this actlake knows "
            f"{len(sql.names('schema'))}; install actlake {writer} or newer"
        )
    return int(version)


def migrate(catalog: Catalog) -> None:
    """Apply, in one transaction, every schema file that the lake lacks."""
    files = sql.names("schema")

    def change(transaction: Transaction) -> None:
        done = applied(transaction.connection)
        if done == len(files):
            return
        texts = [sql.text("schema", file) for file in files[done:]]
        for text in texts:
            transaction.execute(text)
        transaction.execute(
            "INSERT INTO migrations (version, name, sha256, applied, actlake_version) "
            "SELECT unnest($versions), unnest($names), unnest($sha256), $applied, $writer",
            versions=list(range(done + 1, len(files) + 1)),
            names=files[done:],
            sha256=[hashlib.sha256(text.encode()).hexdigest() for text in texts],
            applied=datetime.now(UTC).replace(tzinfo=None),
            writer=actlake_version(),
        )

    catalog.commit(change, f"schema {len(files)}")
    tune_catalog(catalog)


def tune_catalog(catalog: Catalog) -> None:
    """Add what makes the catalog answer fast, where it is missing; makes no snapshot."""
    catalog.commit(lambda now: tune(now, catalog.schema), "tuning")
