"""Verifying: every byte that was committed, against what it was when it was committed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
from xxhash import xxh3_64_intdigest

from actlake import sql
from actlake.storage.arrays import check_chunk
from actlake.storage.backup_check import backup_faults
from actlake.storage.catalog import Catalog
from actlake.storage.catalog_check import catalog_disagrees, columns_disagree, names_disagree
from actlake.storage.claims import Claims
from actlake.storage.committed import (
    CommittedFile,
    committed_files,
    files_of_tables,
    files_of_things,
)
from actlake.storage.databases import database_found
from actlake.storage.duck import LAKE, end, one_line
from actlake.storage.durable import Digest, linked
from actlake.storage.errors import CorruptError, LakeError
from actlake.storage.fields import TABLES
from actlake.storage.handle import Connection, Handle
from actlake.storage.local_store import LocalStore
from actlake.storage.sqlite_database import SqliteDatabase
from actlake.storage.store import Store
from actlake.storage.stores import store_found

__all__ = [
    "FOUNDATIONS",
    "WHOLE",
    "Fault",
    "Part",
    "committed_bytes",
    "file_faults",
    "verify",
    "verify_foundations",
    "verify_unopened",
    "wrong_of",
]

FOUNDATIONS = ("lake.toml", *SqliteDatabase.names)
SMALL_ROWS, SMALL_BYTES = 100_000, 16 << 20
"""Tables of as many rows, and bytes in files, at most are held in memory while they are checked."""


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


def verify(
    store: Store,
    handle: Handle,
    claims: Claims,
    progress: Callable[[int], object] = int,
    part: Part = WHOLE,
    tell: Callable[[str], object] = str,
) -> Iterator[Fault]:
    """Every fault of the lake, found by reading all of it once; or a part of its files.

    Chunks are held against their receipts, other files against their recorded hashes, whichever
    snapshot names them; the databases and what they say of files, and tables against
    ``sql/checks``, whatever the part. A file whose hash was never recorded, because a crash came
    between DuckLake's commit and its record, is adopted after it has been read; that is no fault,
    and ``tell`` is called with a line about it. ``progress`` is called with the bytes of each file
    read.

    Values inside the databases that nothing else knows cannot be held against anything: the author,
    time and message of a commit, pins, heartbeats, statistics of whole tables; and what stood at
    the end of a write-ahead log in which a bit flipped, since SQLite ends the log there.
    """
    yield from verify_foundations(store.root, claims)
    connection = handle.raw
    try:
        recorded = claims.files()
    except LakeError:  # of which the foundations told
        return
    damaged: set[str] = set()
    try:
        for file in files_of_tables(connection, recorded):
            if file.path in part:
                for fault in file_faults(store, file, claims, progress, tell):
                    damaged.add(file.path)
                    yield fault
        for file in files_of_things(connection, store, recorded, damaged):
            if file.path in part:
                yield from file_faults(store, file, claims, progress, tell)
        for path, table, what in catalog_disagrees(connection, store, recorded, damaged):
            yield Fault(path, table, None, None, what)
        for table, what in columns_disagree(connection):
            yield Fault(claims.database.names[0], table, None, None, what)
        if damaged:
            tell("what the tables say of each other was not checked, as some are damaged")
        else:
            for name, what in names_disagree(connection, claims):
                yield Fault(claims.database.names[1], name, None, None, what)
            yield from _checked(connection)
    except (duckdb.Error, UnicodeDecodeError) as error:  # what is read is damaged, or gone
        yield Fault(
            claims.database.names[0], "tables", None, None, f"cannot be read: {one_line(error)}"
        )


def verify_foundations(root: Path, claims: Claims) -> Iterator[Fault]:
    """Faults of ``lake.toml`` and of the databases, for which nothing else need be readable."""
    bad = dict(claims.database.faults())
    for name, what in bad.items():
        yield Fault(name, "lake", None, None, what)
    if claims.database.names[1] not in bad:
        try:
            settings = CommittedFile("lake.toml", "lake", claims.files().get("lake.toml"))
        except LakeError as error:
            yield Fault(claims.database.names[1], "lake", None, None, str(error))
        else:
            yield from file_faults(LocalStore(root), settings, claims, int, str)
    for path, what in backup_faults(root):
        yield Fault(path, "backup", None, None, what)


def verify_unopened(root: Path) -> Iterator[Fault]:
    """Faults of a lake that cannot be opened: its foundations and, where they are sound, the files
    of its tables."""
    claims = Claims(database_found(root))
    foundations = [*verify_foundations(root, claims)]
    yield from foundations
    if not {one.path for one in foundations} & {*claims.database.names}:
        store = store_found(root)
        with closing(Catalog(store, claims).attached()) as handle:
            for file in files_of_tables(handle, claims.files()):
                yield from file_faults(store, file, claims, int, str)


def committed_bytes(
    store: Store, connection: Connection, claims: Claims, part: Part = WHOLE
) -> int:
    """Size of all files that ``verify`` reads."""
    recorded = claims.files()
    try:
        files = [*committed_files(connection, store, recorded)]
    except CorruptError:  # which verify tells; what is known of is still told
        files = [CommittedFile(path, "", size) for path, size in recorded.items()]
    expected = (file.expected for file in files if file.path in part)
    return sum(one.bytes for one in expected if one is not None)


def file_faults(
    store: Store,
    file: CommittedFile,
    claims: Claims,
    progress: Callable[[int], object],
    tell: Callable[[str], object],
) -> Iterator[Fault]:
    """The fault of one file, if it is not what was committed; see ``verify``."""
    if wrong := wrong_of(store, file):
        yield Fault(file.path, file.owner, file.row_start, file.row_stop, wrong)
    elif file.expected is None:
        claims.record_files({file.path: store.digest(store.root / file.path)})
        tell(f"{file.path} ({file.owner}) had no hash on record; it was read and has one now")
    progress(0 if file.expected is None else file.expected.bytes)


def wrong_of(store: Store, file: CommittedFile) -> str | None:
    """What is wrong with a file, or None; reads all of it, and no copy."""
    path = store.root / file.path
    if linked(path):
        return "a link, or reached through one; a lake holds its own files, so put the file there"
    try:
        if file.payload_crc32c is not None and file.expected is not None:
            return check_chunk(store.pieces(path), file.expected, file.payload_crc32c)
        found = store.digest(path)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if file.expected is None else _differs(found, file.expected)


def _differs(found: Digest, expected: Digest) -> str | None:
    if found.bytes != expected.bytes:
        return f"{found.bytes:,} bytes instead of {expected.bytes:,}"
    return None if found == expected else "its content changed"


def _checked(connection: duckdb.DuckDBPyConnection) -> Iterator[Fault]:
    """What ``sql/checks`` find, all at one snapshot."""
    cursor = connection.cursor()  # its temporary tables go with it
    try:
        cursor.execute("BEGIN")
        for table in _small_tables(cursor):
            # Checks name most tables many times, and DuckLake asks its catalog at each.
            # In the order of their files each file would take 0.1 MB, until they are all there.
            query = f"CREATE TEMP TABLE {table} AS FROM {LAKE}.main.{table} ORDER BY 1"
            cursor.execute(query)
        cursor.execute(f"SET search_path = 'temp.main,{LAKE}.main,memory.main'")
        for check in sql.names("checks"):
            for row in cursor.execute(sql.text("checks", check)).fetchall():
                yield Fault(f"check {check}", str(row[0]), None, None, str(row[1]))
    finally:
        end(cursor)


def _small_tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    small = connection.execute(
        f"""
        SELECT t.table_name FROM __ducklake_metadata_{LAKE}.ducklake_table AS t
        LEFT JOIN __ducklake_metadata_{LAKE}.ducklake_data_file AS f
            ON f.table_id = t.table_id AND f.end_snapshot IS NULL
        WHERE t.end_snapshot IS NULL
        GROUP BY t.table_name
        HAVING coalesce(sum(f.record_count), 0) <= $rows
            AND coalesce(sum(f.file_size_bytes), 0) <= $bytes
        """,  # noqa: S608 - ours
        {"rows": SMALL_ROWS, "bytes": SMALL_BYTES},
    ).fetchall()
    return [table for table in TABLES if (table,) in small]
