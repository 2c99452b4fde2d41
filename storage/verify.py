"""Verifying: every byte that was committed, against what it was when it was committed."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
from xxhash import xxh3_64_intdigest

from actlake import sql
from actlake.storage.arrays import check_chunk, chunk_path
from actlake.storage.claims import Claims
from actlake.storage.durable import Digest, digest
from actlake.storage.fields import ROW_COLUMNS, TABLES

__all__ = ["WHOLE", "Fault", "Part", "committed_bytes", "verify"]

CODES_ARRAYS = ("indptr", "indices", "values")
SMALL_ROWS = 100_000
"""Tables up to this size are held in memory while they are checked."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the lake that is not what was committed."""

    path: str
    """File in the lake, or the check that found it."""
    owner: str
    """Name of the tensor, codes, rowset, dictionary or table that it belongs to."""
    row_start: int | None
    row_stop: int | None
    what: str

    def __str__(self) -> str:
        rows = "" if self.row_start is None else f", rows {self.row_start:,} to {self.row_stop:,}"
        return f"{self.path} ({self.owner}{rows}): {self.what}"


@dataclass(frozen=True, slots=True)
class Part:
    """The files of number ``index`` of ``parts``: a file is in one part for as long as it lives."""

    index: int
    parts: int

    def __contains__(self, path: str) -> bool:
        return self.parts == 1 or xxh3_64_intdigest(path.encode()) % self.parts == self.index


WHOLE = Part(0, 1)


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the tables name, and what it must be."""

    path: str
    owner: str
    expected: Digest | None
    """None where no hash was recorded."""
    row_start: int | None = None
    row_stop: int | None = None
    payload_crc32c: int | None = None
    """Of a chunk."""


def verify(
    root: Path,
    connection: duckdb.DuckDBPyConnection,
    claims: Claims,
    progress: Callable[[int], object] = int,
    part: Part = WHOLE,
) -> Iterator[Fault]:
    """Every fault of the lake, found by reading all of it once; or a part of its files.

    Chunks are held against their receipts, other files against their recorded hashes, tables
    against ``sql/checks``, whatever the part. A file whose hash was never recorded, because a
    crash came between DuckLake's commit and its record, is adopted after it has been read.
    ``progress`` is called with the bytes of each file read.
    """
    for file in _files(connection, claims.files()):
        if file.path not in part:
            continue
        if wrong := _wrong(root / file.path, file, claims):
            yield Fault(file.path, file.owner, file.row_start, file.row_stop, wrong)
        progress(0 if file.expected is None else file.expected.bytes)
    yield from _checked(connection)


def committed_bytes(
    connection: duckdb.DuckDBPyConnection, claims: Claims, part: Part = WHOLE
) -> int:
    """Size of all files that ``verify`` reads."""
    files = _files(connection, claims.files())
    expected = (file.expected for file in files if file.path in part)
    return sum(one.bytes for one in expected if one is not None)


def _wrong(path: Path, file: _File, claims: Claims) -> str | None:
    try:
        if file.expected is None:
            claims.record_files({file.path: digest(path)})
            return None
        if file.payload_crc32c is not None:
            return check_chunk(path, file.expected, file.payload_crc32c)
        found = digest(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if found.bytes != file.expected.bytes:
        return f"{found.bytes:,} bytes instead of {file.expected.bytes:,}"
    return None if found == file.expected else "its content changed"


def _checked(connection: duckdb.DuckDBPyConnection) -> Iterator[Fault]:
    """What ``sql/checks`` find, all at one snapshot."""
    cursor = connection.cursor()  # its temporary tables go with it
    try:
        cursor.execute("BEGIN")
        for table in _small_tables(cursor):
            # Checks name most tables many times, and DuckLake asks its catalog at each.
            cursor.execute(f"CREATE TEMP TABLE {table} AS FROM lake.main.{table}")
        cursor.execute("SET search_path = 'temp.main,lake.main,memory.main'")
        for check in sql.names("checks"):
            for row in cursor.execute(sql.text("checks", check)).fetchall():
                yield Fault(f"check {check}", str(row[0]), None, None, str(row[1]))
    finally:
        cursor.close()


def _small_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    large = connection.execute(
        """
        SELECT t.table_name FROM __ducklake_metadata_lake.ducklake_table AS t
        INNER JOIN __ducklake_metadata_lake.ducklake_table_stats AS s USING (table_id)
        WHERE t.end_snapshot IS NULL AND s.record_count > $rows
        """,
        {"rows": SMALL_ROWS},
    ).fetchall()
    return [table for table in TABLES if (table,) not in large]


def _files(
    connection: duckdb.DuckDBPyConnection, recorded: Mapping[str, Digest]
) -> Iterator[_File]:
    """Every file that the tables name; what they do not is an orphan, and no fault."""
    yield _File("lake.toml", "lake", recorded.get("lake.toml"))
    yield from _arrays(connection, recorded)
    yield from _folders(connection, recorded)
    yield from _parquet(connection, recorded)


def _arrays(
    connection: duckdb.DuckDBPyConnection, recorded: Mapping[str, Digest]
) -> Iterator[_File]:
    """Chunks, and the ``zarr.json`` beside those of codes."""
    receipts = connection.execute(
        """
        SELECT
            o.name, o.path, s."array", s.shard, s.row_start, s.row_stop,
            s.bytes, s.xxh3_128, s.payload_crc32c
        FROM shards AS s
        INNER JOIN (
            SELECT id, tensor AS name, path FROM tensors
            UNION ALL SELECT id, codes, path FROM codes
            UNION ALL SELECT id, rowset, path FROM rowsets
        ) AS o ON o.id = s.owner
        WHERE s."array" <> 'postings' ORDER BY o.path, s."array", s.shard
        """
    )
    for name, folder, array, shard, start, stop, size, hash_, checksum in receipts.fetchall():
        path = _chunk(Path(folder), array, shard)
        if array in CODES_ARRAYS:
            metadata = path.with_name("zarr.json").as_posix()
            yield _File(metadata, name, recorded.get(metadata), start, stop)
        if size > 0:  # an empty array has no chunk
            yield _File(path.as_posix(), name, Digest(size, hash_), start, stop, checksum)


def _chunk(folder: Path, array: str, shard: int) -> Path:
    if array == "rows":
        return chunk_path(folder, shard, 2)
    if array in CODES_ARRAYS:
        return chunk_path(folder / str(shard) / array, 0, 1)
    return chunk_path(folder / array, shard, 1)


def _folders(
    connection: duckdb.DuckDBPyConnection, recorded: Mapping[str, Digest]
) -> Iterator[_File]:
    """The files of things that have a folder, other than chunks; and partials."""
    columns = [f"{column}/zarr.json" for column in ROW_COLUMNS]
    weights = ["dictionary.safetensors", "config.json"]
    owners = connection.execute(
        """
        SELECT tensor, path, ['zarr.json'] FROM tensors
        UNION ALL SELECT codes, path, ['zarr.json'] FROM codes
        UNION ALL SELECT rowset, path, $columns FROM rowsets
        UNION ALL SELECT dictionary, path, $weights FROM dictionaries
        """,
        {"columns": columns, "weights": weights},
    ).fetchall()
    for name, folder, files in owners:
        for file in files:
            yield _File(f"{folder}/{file}", name, recorded.get(f"{folder}/{file}"))
    partials = connection.execute("SELECT path, codes, bytes, xxh3_128 FROM partials").fetchall()
    for path, codes, size, hash_ in partials:
        yield _File(path, codes, Digest(size, hash_))


def _parquet(
    connection: duckdb.DuckDBPyConnection, recorded: Mapping[str, Digest]
) -> Iterator[_File]:
    """Files of the tables, as of every snapshot that the lake still has."""
    shards = connection.execute(
        """
        SELECT s.xxh3_128, c.codes, s.row_start, s.row_stop FROM shards AS s
        INNER JOIN codes AS c ON c.id = s.owner WHERE s."array" = 'postings'
        """
    ).fetchall()
    postings = {hash_: owner for hash_, *owner in shards}
    rows = connection.execute(
        """
        SELECT DISTINCT t.table_name, 'tables/main/' || t.path || f.path AS path FROM (
            SELECT table_id, path FROM __ducklake_metadata_lake.ducklake_data_file
            UNION ALL
            SELECT table_id, path FROM __ducklake_metadata_lake.ducklake_delete_file
        ) AS f
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        ORDER BY path
        """
    ).fetchall()
    for table, path in rows:
        expected = recorded.get(path)
        owner = postings.get(expected.xxh3_128) if expected and table == "postings" else None
        yield _File(path, *((owner[0], expected, *owner[1:]) if owner else (table, expected)))
