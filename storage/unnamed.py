"""What a lake's snapshots name: the files and folders that one of them still needs.

A row is deleted by a file that lists its place, and stays in the file that holds it, which newer
snapshots may need for its other rows. So it is asked of each row, not of each file, whether some
snapshot shows it.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actlake.storage.errors import CorruptError
from actlake.storage.parquet_files import FILES
from actlake.storage.store import Store

__all__ = ["NAMING", "named_paths", "snapshot_numbers", "unneeded_parquet"]

NAMING = ("tensors", "codes", "rowsets", "dictionaries", "partials")
"""Tables whose column ``path`` names something in the folder of the same name."""

FOREVER = np.iinfo(np.int64).max
OF_SNAPSHOT = "_ducklake_internal_snapshot_id"
"""Column of a file of deletions that holds those of several snapshots: the one of each row."""

Rows = Callable[..., Sequence[tuple[object, ...]]]
"""Asks the catalog: ``rows(query, **parameters)``."""


def snapshot_numbers(rows: Rows) -> list[int]:
    """The snapshots that the lake has, ascending."""
    query = "SELECT snapshot_id FROM __ducklake_metadata_lake.ducklake_snapshot ORDER BY 1"
    return [int(str(number)) for (number,) in rows(query)]


def named_paths(store: Store, rows: Rows, table: str, snapshots: Sequence[int]) -> set[str]:
    """What the column ``path`` of ``table`` holds at one of ``snapshots`` (ascending) or more.

    Reads that column of every file that one of them needs. CorruptError if a file is missing.
    """
    data = """
        SELECT f.data_file_id, t.path || f.path, f.begin_snapshot, f.end_snapshot
        FROM __ducklake_metadata_lake.ducklake_data_file AS f
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        WHERE t.table_name = $table
    """
    gone = _deleted(store, rows, table)
    shown = np.asarray(snapshots, np.int64)
    named: set[str] = set()
    for file, path, begin, end in rows(data, table=table):
        first, last = int(str(begin)), FOREVER if end is None else int(str(end))
        if not _is_needed(first, last, snapshots):
            continue
        paths = _read(store, str(path), ["path"])["path"].to_pylist()
        until = np.full(len(paths), last)
        for place, at in gone.get(int(str(file)), ()):
            np.minimum.at(until, place, at)
        needed = np.searchsorted(shown, until) > bisect_left(snapshots, first)
        named.update(path for path, is_needed in zip(paths, needed, strict=True) if is_needed)
    return named


def unneeded_parquet(rows: Rows, snapshots: Sequence[int]) -> list[tuple[str, int]]:
    """Path in the lake and size of each file of the tables that none of ``snapshots`` needs."""
    query = f"""
        SELECT path, file_size_bytes, begin_snapshot, end_snapshot FROM {FILES}
        WHERE end_snapshot IS NOT NULL ORDER BY path
    """  # noqa: S608 - ours
    return [
        (str(path), int(str(size)))
        for path, size, begin, end in rows(query)
        if not _is_needed(int(str(begin)), int(str(end)), snapshots)
    ]


def _is_needed(begin: int, end: int, snapshots: Sequence[int]) -> bool:
    """Whether one of ``snapshots`` is in [begin, end)."""
    return bisect_left(snapshots, begin) < bisect_left(snapshots, end)


def _deleted(
    store: Store, rows: Rows, table: str
) -> dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Places of deleted rows and the first snapshots without them, by the number of their file."""
    query = """
        SELECT d.data_file_id, t.path || d.path, d.begin_snapshot
        FROM __ducklake_metadata_lake.ducklake_delete_file AS d
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        WHERE t.table_name = $table
    """
    found: dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = defaultdict(list)
    for file, path, begin in rows(query, table=table):
        listed = _read(store, str(path), ["pos", OF_SNAPSHOT])
        places = listed["pos"].to_numpy().astype(np.int64)
        at = np.full(len(places), int(str(begin)))
        if OF_SNAPSHOT in listed.column_names:
            at = listed[OF_SNAPSHOT].to_numpy().astype(np.int64)
        found[int(str(file))].append((places, at))
    return found


def _read(store: Store, path: str, columns: list[str]) -> pa.Table:
    """Those of ``columns`` that the file of a table has."""
    file = store.local(store.root / "tables" / "main" / path)
    try:
        there = pq.read_schema(file).names
        return pq.read_table(file, columns=[name for name in columns if name in there])
    except FileNotFoundError:
        raise CorruptError(f"{file} is missing; run `actlake verify` to see what else is") from None
