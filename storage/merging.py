"""Merging small files: tables that grew by many small commits, as few files again."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from actlake.storage.fields import TABLES
from actlake.storage.handle import Handle
from actlake.storage.run import Run
from actlake.storage.table_files import DataFile, check_unchanged, live_files, replace_files

__all__ = ["Merged", "merge_small_files"]

SMALL_BYTES = 4 << 20
FEWEST_FILES = 8
"""Fewer small files of a table are left alone."""
TOGETHER_BYTES = 64 << 20
"""Of files merged into one at most; their rows are in memory, unpacked, while it is written."""
TRIES = 3
"""For a table that somebody else changes while it is read."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Small files of one table that are one file now."""

    table: str
    files: int
    rows: int
    bytes: int
    """Of the files that were read."""


def merge_small_files(run: Run) -> Iterator[Merged]:
    """Merge the small files of every table but ``postings``, each table when it is reached.

    A table that others keep changing is left for the next time. CorruptError, before anything of
    the table is written, if one of its files is not what was committed.
    """
    with closing(run.catalog.attached()) as connection:
        for table in TABLES:
            if table == "postings":  # which have an order of their own: see ``compaction``
                continue
            for _ in range(TRIES):
                old = _small(connection, table)
                if not old or _merge(run, connection, table, old):
                    break
            else:
                continue
            if old:
                sizes = sum(one.rows for one in old), sum(one.bytes for one in old)
                yield Merged(table, len(old), *sizes)


def _small(connection: Handle, table: str) -> list[DataFile]:
    def rows(query: str, **parameters: object) -> list[tuple[object, ...]]:
        return connection.execute(query, parameters or None).fetchall()

    chosen: list[DataFile] = []
    total = 0
    for one in live_files(rows, table):
        if one.bytes < SMALL_BYTES and total + one.bytes <= TOGETHER_BYTES:
            chosen.append(one)
            total += one.bytes
    return chosen if len(chosen) >= FEWEST_FILES else []


def _merge(run: Run, connection: Handle, table: str, old: list[DataFile]) -> bool:
    check_unchanged(run, old)
    # In one transaction, so that no commit comes between asking for the files and their rows.
    query = f"SELECT * FROM {table} WHERE filename IN (SELECT unnest($paths)) ORDER BY rowid"  # noqa: S608 - ours
    paths = [run.store.uri(run.root / one.path) for one in old]
    rows = connection.execute(query, {"paths": paths}).to_arrow_table()
    if len(rows) != sum(one.rows for one in old):
        return False  # changed since; the commit would refuse it too
    staged = run.catalog.stage(table, rows)
    return replace_files(run, table, old, [staged], f"merged {len(old)} files of {table}")
