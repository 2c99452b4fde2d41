"""What the catalog says of a commit: whether it is there, and which files it added."""

from collections.abc import Iterable

import duckdb

from actlake.storage.handle import Connection, first_row
from actlake.storage.transaction import StagedRows

__all__ = ["added_files", "landed_snapshot"]


def landed_snapshot(connection: Connection, registered: Iterable[StagedRows]) -> int | None:
    """The snapshot that took in one of ``registered``; None if none did.

    Their names are random and never used again.
    """
    query = """
        SELECT max(begin_snapshot) FROM __ducklake_metadata_lake.ducklake_data_file
        WHERE parse_filename(path) IN (SELECT unnest($files))
    """
    files = sorted(one.path.name for one in registered)
    row = first_row(connection.execute(query, {"files": files}))
    return None if row is None or row[0] is None else int(row[0])


def added_files(
    connection: duckdb.DuckDBPyConnection, snapshot: int | None, *, since: int
) -> tuple[int, set[str]]:
    """``snapshot``, by default the newest, and the files in the lake that its commit added.

    It is not before ``since``, so that the catalog need not look at all files of the lake.
    """
    # A file of deletions that takes in an older one has that one's snapshot, and only its number
    # tells whose it is. One statement: for each, DuckDB opens the catalog's SQLite file anew.
    rows = connection.execute(
        """
        WITH recent AS (
            SELECT snapshot_id, next_file_id, lag(next_file_id) OVER (ORDER BY snapshot_id) AS first
            FROM __ducklake_metadata_lake.ducklake_snapshot WHERE snapshot_id >= $since - 1
        ),
        newest AS (
            SELECT coalesce($snapshot, max(snapshot_id)) AS snapshot FROM recent
        ),
        added AS (
            SELECT begin_snapshot AS snapshot, table_id, path
            FROM __ducklake_metadata_lake.ducklake_data_file
            WHERE begin_snapshot >= $since
            UNION ALL
            SELECT r.snapshot_id, d.table_id, d.path
            FROM recent AS r
            INNER JOIN __ducklake_metadata_lake.ducklake_delete_file AS d
                ON d.delete_file_id >= r.first AND d.delete_file_id < r.next_file_id
        )
        SELECT n.snapshot, t.path || a.path FROM newest AS n
        LEFT JOIN added AS a USING (snapshot)
        LEFT JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        """,
        {"snapshot": snapshot, "since": since},
    ).fetchall()
    return rows[0][0], {f"tables/main/{path}" for _, path in rows if path is not None}
