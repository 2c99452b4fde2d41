"""Snapshots: the versions that commits make."""

import duckdb
import pyarrow as pa

from actlake.storage.errors import CorruptError

__all__ = ["current_snapshot", "snapshots"]


def current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    """The snapshot that a query on this connection would see now."""
    row = connection.execute("SELECT id FROM lake.current_snapshot()").fetchone()
    if row is None:
        raise CorruptError("the catalog has no snapshot; restore it from a backup")
    return int(row[0])


def snapshots(connection: duckdb.DuckDBPyConnection, limit: int) -> pa.Table:
    """The newest commits: snapshot, time (UTC), author, message."""
    query = """
        SELECT
            snapshot_id AS snapshot,
            snapshot_time::TIMESTAMP AS time,
            author,
            commit_message AS message
        FROM ducklake_snapshots('lake') ORDER BY snapshot_id DESC LIMIT $limit
    """
    return connection.execute(query, {"limit": limit}).to_arrow_table()
