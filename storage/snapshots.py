"""Snapshots: the versions that commits make."""

import pyarrow as pa

from actlake.storage.errors import CorruptError, NotFoundError
from actlake.storage.handle import Connection, first_row

__all__ = ["current_snapshot", "refuse_withdrawn", "snapshots"]


def current_snapshot(connection: Connection) -> int:
    """The snapshot that a query on this connection would see now."""
    row = first_row(connection.execute("SELECT id FROM lake.current_snapshot()"))
    if row is None:
        raise CorruptError("the catalog has no snapshot; restore it from a backup")
    return int(row[0])


def refuse_withdrawn(connection: Connection, snapshot: int) -> None:
    """NotFoundError if ``snapshot`` held a document that was withdrawn since, by the newest one."""
    query = """
        SELECT corpus, document, "at", max(last_snapshot) OVER () FROM withdrawals
        WHERE $snapshot BETWEEN first_snapshot AND last_snapshot ORDER BY "at", document LIMIT 1
    """
    for corpus, document, at, last in connection.execute(query, {"snapshot": snapshot}).fetchall():
        raise NotFoundError(
            f"snapshot {snapshot} held document {document} of corpus {corpus}, which was withdrawn "
            f"on {at:%Y-%m-%d}, so it cannot be read any more; the oldest since then is {last + 1}"
        )


def snapshots(connection: Connection, limit: int) -> pa.Table:
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
