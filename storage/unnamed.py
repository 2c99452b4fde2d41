"""What a lake's snapshots name: the files and folders that one of them still needs.

A row is deleted by a file that lists its place, and stays in the file that holds it, which newer
snapshots may need for its other rows. So it is asked of each row, not of each file, whether some
snapshot shows it. Files are removed by what it answers, so every file that is read for it is held
against its hash first.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from actlake.storage.arrays import sound_content
from actlake.storage.durable import Digest, digest_of
from actlake.storage.parquet_files import FILES
from actlake.storage.store import Store

__all__ = [
    "NAMING",
    "Tables",
    "committed_shards",
    "named_paths",
    "snapshot_numbers",
    "unneeded_parquet",
]

NAMING = ("tensors", "codes", "rowsets", "dictionaries", "partials")
"""Tables whose column ``path`` names something in the folder of the same name."""

FOREVER = np.iinfo(np.int64).max
OF_SNAPSHOT = "_ducklake_internal_snapshot_id"
"""Column of a file of deletions that holds those of several snapshots: the one of each row."""

_DATA = """
    SELECT f.data_file_id, t.path || f.path, f.begin_snapshot, f.end_snapshot
    FROM __ducklake_metadata_lake.ducklake_data_file AS f
    INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
    WHERE t.table_name = $table
"""
"""Files of a table, and the snapshots that need them."""

Rows = Callable[..., Sequence[tuple[object, ...]]]
"""Asks the catalog: ``rows(query, **parameters)``."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a lake, as the files that the catalog names tell them."""

    store: Store
    rows: Rows
    recorded: Mapping[str, Digest]
    """What each file must be, by its path in the lake."""

    def read(self, path: str, columns: list[str]) -> pa.Table:
        """Those of ``columns`` that a file has, named by its path below ``tables/main``.

        CorruptError if it is not what was committed.
        """
        place = f"tables/main/{path}"
        expected = self.recorded.get(place)  # None after a crash, until ``verify`` adopts it
        content = sound_content(
            self.store,
            self.store.root / place,
            f"table {path.partition('/')[0]}",
            lambda found: expected is None or digest_of([found]) == expected,
        )
        file = pq.ParquetFile(pa.BufferReader(content))
        return file.read([name for name in columns if name in file.schema_arrow.names])


def snapshot_numbers(rows: Rows) -> list[int]:
    """The snapshots that the lake has, ascending."""
    query = "SELECT snapshot_id FROM __ducklake_metadata_lake.ducklake_snapshot ORDER BY 1"
    return [int(str(number)) for (number,) in rows(query)]


def named_paths(tables: Tables, table: str, snapshots: Sequence[int]) -> set[str]:
    """What the column ``path`` of ``table`` holds at one of ``snapshots`` (ascending) or more.

    Reads every file that one of them needs; CorruptError if one is not what was committed.
    """
    gone = _deleted(tables, table)
    shown = np.asarray(snapshots, np.int64)
    named: set[str] = set()
    for file, path, begin, end in tables.rows(_DATA, table=table):
        first, last = int(str(begin)), FOREVER if end is None else int(str(end))
        if not _is_needed(first, last, snapshots):
            continue
        paths = tables.read(str(path), ["path"])["path"].to_pylist()
        until = np.full(len(paths), last)
        for place, at in gone.get(int(str(file)), ()):
            np.minimum.at(until, place, at)
        needed = np.searchsorted(shown, until) > bisect_left(snapshots, first)
        named.update(path for path, is_needed in zip(paths, needed, strict=True) if is_needed)
    return named


def committed_shards(tables: Tables, owners: Collection[str]) -> dict[str, set[int]]:
    """Shards of each of ``owners``, by its id, that any snapshot has or had.

    Reads every file that tells; CorruptError if one is not what was committed.
    """
    found: dict[str, set[int]] = {one: set() for one in owners}
    wanted = pa.array([*found], pa.string())
    for _, path, _, _ in tables.rows(_DATA, table="shards"):
        rows = tables.read(str(path), ["owner", "shard"])
        rows = rows.filter(pc.is_in(rows["owner"], wanted)).to_pydict()
        for owner, shard in zip(rows["owner"], rows["shard"], strict=True):
            found[owner].add(shard)
    return found


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
    tables: Tables, table: str
) -> dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    """Places of deleted rows and the first snapshots without them, by the number of their file."""
    query = """
        SELECT d.data_file_id, t.path || d.path, d.begin_snapshot
        FROM __ducklake_metadata_lake.ducklake_delete_file AS d
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        WHERE t.table_name = $table
    """
    found: dict[int, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = defaultdict(list)
    for file, path, begin in tables.rows(query, table=table):
        listed = tables.read(str(path), ["pos", OF_SNAPSHOT])
        places = listed["pos"].to_numpy().astype(np.int64)
        at = np.full(len(places), int(str(begin)))
        if OF_SNAPSHOT in listed.column_names:
            at = listed[OF_SNAPSHOT].to_numpy().astype(np.int64)
        found[int(str(file))].append((places, at))
    return found
