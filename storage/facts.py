"""What the catalog says of a lake's things, asked once a snapshot.

To be asked costs milliseconds, also for one row; and at one snapshot it says the same again.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from actlake.storage.duck import LAKE
from actlake.storage.handle import Handle
from actlake.storage.parquet_files import FILES
from actlake.storage.snapshots import current_snapshot

__all__ = ["Facts"]

Known = dict[tuple[Any, ...], list[Any]]
NOTHING = -1
"""No snapshot."""


class Facts:
    """Of the lake that ``connection`` reads, as of the snapshot at which it stands."""

    def __init__(self, connection: Callable[[], Handle]) -> None:
        self._connection = connection
        self._known: tuple[int, Known] = NOTHING, {}
        """What was answered, as of the snapshot that was asked for last."""
        self._here = threading.local()

    def forget(self) -> None:
        """Ask anew: another lake may come to the same numbers, as after a restore."""
        self._known = NOTHING, {}

    @contextmanager
    def standing(self) -> Generator[Known]:
        """What is asked inside, by this thread, is answered as of one snapshot.

        So a reader is made of facts that fit each other, and the catalog is asked for its snapshot
        once. It holds what was answered before as of the same one. It is a transaction of the
        catalog, so only what a reader is made of belongs inside.
        """
        if hasattr(self._here, "known"):
            yield self._here.known
            return
        connection = self._connection()
        try:
            connection.begin()
            snapshot = current_snapshot(connection)
            # Looked at once, and not by way of self later: other threads stand at other snapshots.
            at, known = self._known
            if at != snapshot:
                known = {}
                self._known = snapshot, known
            self._here.known = known
            yield known
        finally:
            vars(self._here).clear()
            connection.end()

    def rows(self, table: str, query: str, **named: str) -> list[dict[str, Any]]:
        """Rows, by column, of a ``query`` about ``table``, whose parameters are ``named``.

        Empty where the snapshot has no such table.
        """
        with self.standing() as known:
            key = query, *named.values()
            if key not in known:
                known[key] = self._asked(query, named) if self.files(table, tuple(named)) else []
            return known[key]

    def known(self, query: str, **named: str) -> bool:
        """Whether ``rows`` has been asked that as of this snapshot."""
        with self.standing() as known:
            return (query, *named.values()) in known

    def _asked(self, query: str, named: dict[str, str]) -> list[dict[str, Any]]:
        found = self._connection().execute(query, named)
        columns = [column[0] for column in found.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]

    def files(self, table: str, columns: tuple[str, ...]) -> list[Any]:
        """Of each Parquet file of ``table``: its path; the names, smallest and largest values of
        those ``columns`` for which the catalog has them; and whether it holds rows, with all of
        those columns, and is no list of deleted ones."""
        with self.standing() as known:
            key = table, columns
            if key not in known:
                parameters = {"table": table, "columns": list(columns)}
                known[key] = self._connection().execute(_FILES, parameters).fetchall()
            return known[key]


_FILES = f"""
    SELECT
        f.path,
        list(c.column_name) FILTER (WHERE c.column_name IS NOT NULL),
        list(s.min_value) FILTER (WHERE c.column_name IS NOT NULL),
        list(s.max_value) FILTER (WHERE c.column_name IS NOT NULL),
        bool_and(f.data_file_id IS NOT NULL) AND count(s.column_id) = len($columns)
    FROM {FILES} AS f
    CROSS JOIN (SELECT id FROM {LAKE}.current_snapshot()) AS now
    LEFT JOIN __ducklake_metadata_{LAKE}.ducklake_column AS c
        ON c.table_id = f.table_id AND c.end_snapshot IS NULL
            AND c.column_name IN (SELECT unnest($columns))
    LEFT JOIN __ducklake_metadata_{LAKE}.ducklake_file_column_stats AS s
        ON s.data_file_id = f.data_file_id AND s.column_id = c.column_id
    WHERE f.table_name = $table AND f.begin_snapshot <= now.id
        AND (f.end_snapshot IS NULL OR f.end_snapshot > now.id)
    GROUP BY ALL
"""  # noqa: S608 - ours
