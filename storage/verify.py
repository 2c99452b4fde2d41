"""Verifying: every byte that was committed, against what it was when it was committed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from actlake import sql
from actlake.storage.arrays import chunk_path, check_chunk
from actlake.storage.claims import Claims
from actlake.storage.durable import Digest, digest

__all__ = ["Fault", "verify"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the lake that is not what was committed."""

    path: str
    """File in the lake, or the check that found it."""
    owner: str
    """Name of the tensor, codes, rowset or table that it belongs to."""
    row_start: int | None
    row_stop: int | None
    what: str

    def __str__(self) -> str:
        rows = "" if self.row_start is None else f", rows {self.row_start:,} to {self.row_stop:,}"
        return f"{self.path} ({self.owner}{rows}): {self.what}"


def verify(
    root: Path,
    connection: duckdb.DuckDBPyConnection,
    claims: Claims,
    progress: Callable[[int], None] = lambda size: None,
) -> Iterator[Fault]:
    """Every fault of the lake, found by reading all of it once.

    Chunks are held against their receipts, other files against their recorded hashes, tables
    against ``sql/checks``. A file of a table whose hash was never recorded, because a crash came
    between the commit and its record, is adopted after it has been read.
    ``progress`` is called with the bytes of each file read.
    """
    yield from _chunks(root, connection, progress)
    recorded = claims.files()
    registered = _table_files(connection)
    for path, expected in recorded.items():
        if path.startswith("tables/") and path not in registered:
            continue  # DuckLake has replaced it since
        yield from _file(root, path, expected)
        progress(expected.bytes)
    for path in sorted(registered - recorded.keys()):
        if (root / path).exists():
            claims.record_files({path: digest(root / path)})
        else:
            yield Fault(path, path.split("/")[2], None, None, "missing")
    for check in sql.names("checks"):
        for row in connection.execute(sql.text("checks", check)).fetchall():
            yield Fault(f"check {check}", str(row[0]), None, None, str(row[1]))


def _chunks(
    root: Path, connection: duckdb.DuckDBPyConnection, progress: Callable[[int], None]
) -> Iterator[Fault]:
    owners = connection.execute(
        """
        SELECT id, tensor, path FROM tensors
        UNION ALL SELECT id, codes, path FROM codes
        UNION ALL SELECT id, rowset, path FROM rowsets
        """
    ).fetchall()
    places = {id_: (name, path) for id_, name, path in owners}
    receipts = connection.execute(
        """
        SELECT owner, "array", shard, row_start, row_stop, bytes, payload_crc32c, xxh3_128
        FROM shards WHERE "array" <> 'postings' ORDER BY owner, "array", shard
        """
    ).fetchall()
    for owner, array, shard, start, stop, size, checksum, hash_ in receipts:
        if owner not in places:
            yield Fault(f"shards of {owner}", owner, start, stop, "their owner is in no table")
            continue
        name, folder = places[owner]
        path = _chunk_of(root / folder, array, shard)
        if size == 0:  # an empty array has no chunk
            continue
        progress(size)
        if wrong := check_chunk(path, Digest(size, hash_), checksum):
            yield Fault(path.relative_to(root).as_posix(), name, start, stop, wrong)


def _chunk_of(folder: Path, array: str, shard: int) -> Path:
    if array == "rows":
        return chunk_path(folder, shard, 2)
    if array in ("indptr", "indices", "values"):
        return chunk_path(folder / str(shard) / array, 0, 1)
    return chunk_path(folder / array, shard, 1)


def _file(root: Path, path: str, expected: Digest) -> Iterator[Fault]:
    file, owner = root / path, "/".join(path.split("/")[:3])
    if not file.exists():
        yield Fault(path, owner, None, None, "missing")
    elif (found := digest(file)) != expected:
        what = "its content changed"
        if found.bytes != expected.bytes:
            what = f"{found.bytes:,} bytes instead of {expected.bytes:,}"
        yield Fault(path, owner, None, None, what)


def _table_files(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Files that the tables consist of now, by their path in the lake."""
    rows = connection.execute(
        """
        SELECT t.path || f.path FROM (
            SELECT table_id, path, end_snapshot FROM __ducklake_metadata_lake.ducklake_data_file
            UNION ALL
            SELECT table_id, path, end_snapshot FROM __ducklake_metadata_lake.ducklake_delete_file
        ) AS f
        JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        WHERE f.end_snapshot IS NULL
        """
    ).fetchall()
    return {f"tables/main/{path}" for (path,) in rows}
