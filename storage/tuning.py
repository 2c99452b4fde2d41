"""What DuckLake leaves out of its catalog and then asks for again and again.

Nothing here is a fact of the lake: without it all is the same, and slower, but for the ranges of
texts: see ``ranges``.
"""

import duckdb

from actlake.storage.known_tables import META
from actlake.storage.ranges import EVERY_TEXT, TEXT
from actlake.storage.transaction import Transaction

__all__ = ["keep_texts_wide", "tune"]

INDEXES = {
    "actlake_live_files": "ducklake_data_file (table_id, end_snapshot)",
    "actlake_column_stats": "ducklake_file_column_stats (data_file_id, column_id)",
}


def tune(transaction: Transaction, schema: str) -> None:
    """Add what is missing; DuckLake's tables are in ``schema`` of the catalog's database."""
    _count_nothing(transaction)
    keep_texts_wide(transaction.connection)
    _index_files(transaction, schema)


def keep_texts_wide(connection: duckdb.DuckDBPyConnection) -> None:
    """Let the catalog say of the texts of every column that they may be any; under its lock.

    A commit of DuckLake's own says nothing of them once a file does not tell its range. Until this
    is done that is right, and until this is done no other commit may be made.
    """
    lowest, highest = EVERY_TEXT
    connection.execute(
        f"""
        UPDATE {META}.ducklake_table_column_stats AS s
        SET min_value = $lowest, max_value = $highest
        FROM (
            SELECT table_id, column_id FROM {META}.ducklake_column
            WHERE column_type = '{TEXT}' AND end_snapshot IS NULL
        ) AS c
        WHERE s.table_id = c.table_id AND s.column_id = c.column_id AND (
            s.min_value IS DISTINCT FROM $lowest OR s.max_value IS DISTINCT FROM $highest
        )
        """,  # noqa: S608 - ours
        {"lowest": lowest, "highest": highest},
    )


def _index_files(transaction: Transaction, schema: str) -> None:
    """Let the database find the files of a table, and what is known of a file, which every append
    asks for, without reading those of all snapshots."""
    for name, columns in INDEXES.items():
        transaction.connection.execute(
            f"CREATE INDEX IF NOT EXISTS {name} ON {META}.{schema}.{columns}"
        )


def _count_nothing(transaction: Transaction) -> None:
    """Let the catalog say of each table that never had a row that it has none.

    DuckLake says nothing of such a table until its first file, and asks its catalog anew for every
    column of it in every query, which takes ten times as long as to read a small file.
    """
    transaction.connection.execute(
        f"""
        INSERT INTO {META}.ducklake_table_stats (
            table_id, record_count, next_row_id, file_size_bytes
        )
        SELECT table_id, 0, 0, 0 FROM {META}.ducklake_table
        WHERE end_snapshot IS NULL
            AND table_id NOT IN (SELECT table_id FROM {META}.ducklake_table_stats)
        """  # noqa: S608 - ours, as is the next
    )
    # Without these DuckLake would never keep what it learns of the columns, and of one that came
    # to a table with rows it never does. Of no rows it is true that none is null; whether one is a
    # NaN, files do not say, so that it stays unknown.
    transaction.connection.execute(
        f"""
        INSERT INTO {META}.ducklake_table_column_stats (table_id, column_id, contains_null)
        SELECT table_id, column_id, CASE WHEN next_row_id = 0 THEN false END
        FROM {META}.ducklake_column INNER JOIN {META}.ducklake_table_stats USING (table_id)
        WHERE end_snapshot IS NULL AND (table_id, column_id) NOT IN (
            SELECT (table_id, column_id) FROM {META}.ducklake_table_column_stats
        )
        """  # noqa: S608
    )
