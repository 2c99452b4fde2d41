"""Every file that some snapshot of a lake names, and what it must be.

Tables are read as they ever were, from every Parquet file that the catalog still has: a tensor
that was deleted since is still what older snapshots read. What was abandoned before it was complete
is not: its files are gone, and with them their hashes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actlake.storage.arrays import chunk_path
from actlake.storage.duck import LAKE
from actlake.storage.durable import Digest
from actlake.storage.fields import ROW_COLUMNS
from actlake.storage.handle import Connection
from actlake.storage.parquet_files import FILES
from actlake.storage.store import Store
from actlake.storage.tensor_arrays import inner_arrays, tensor_chunk

__all__ = [
    "CODES_ARRAYS",
    "CommittedFile",
    "chunk_of",
    "committed_files",
    "files_of_tables",
    "files_of_things",
]

CODES_ARRAYS = ("indptr", "indices", "values")
TABLES_FOLDER = "tables/main/"


@dataclass(frozen=True, slots=True)
class CommittedFile:
    """A file that the tables name, and what it must be."""

    path: str
    """In the lake."""
    owner: str
    """Name of the tensor, codes, rowset, dictionary or table that it belongs to."""
    expected: Digest | None
    """None where no hash was recorded."""
    row_start: int | None = None
    row_stop: int | None = None
    payload_crc32c: int | None = None
    """Of a chunk."""
    kind: str = "settings"
    """table, tensor, codes, rowset, dictionary, partial or settings."""
    array: str = ""
    """Of a chunk as in ``shards``; the name of a table; empty elsewhere."""
    shard: int | None = None
    """Of a chunk, and of the zarr.json of an array of codes."""


def committed_files(
    connection: Connection, store: Store, recorded: Mapping[str, Digest]
) -> Iterator[CommittedFile]:
    """Every file but the databases and their backups."""
    yield CommittedFile("lake.toml", "lake", recorded.get("lake.toml"))
    yield from files_of_tables(connection, recorded)
    yield from files_of_things(connection, store, recorded)


def files_of_tables(
    connection: Connection, recorded: Mapping[str, Digest]
) -> Iterator[CommittedFile]:
    """The Parquet files of the tables, as of every snapshot that the lake still has.

    Rows are told where the catalog knows the smallest and largest value of the column ``row``, and
    the owner is the codes or rowset, where one file holds rows of one.
    """
    found = connection.execute(_PARQUET).fetchall()
    for table, path, owner, first, last in found:
        told = owner is not None and first is not None and last is not None
        rows = (int(first), int(last) + 1) if told else (None, None)
        yield CommittedFile(
            path=path,
            owner=owner or table,
            expected=recorded.get(path),
            row_start=rows[0],
            row_stop=rows[1],
            kind="table",
            array=table,
        )


def files_of_things(
    connection: Connection,
    store: Store,
    recorded: Mapping[str, Digest],
    without: Collection[str] = (),
) -> Iterator[CommittedFile]:
    """Chunks and other files of tensors, codes, rowsets and dictionaries, and partials.

    ``without`` names files of tables that are damaged, of which nothing is read.
    """
    kept = {_folder(path) for path in recorded}
    ever = _Ever(connection, store, without)
    owners: dict[str, tuple[str, str, str, str]] = {}
    for table, kind in (("tensors", "tensor"), ("codes", "codes"), ("rowsets", "rowset")):
        more = () if kind == "rowset" else ("dtype",)
        for id_, called, folder, *dtype in ever.rows(table, ("id", kind, "path", *more)):
            if folder in kept:
                owners[id_] = kind, called, folder, "".join(dtype)
                for array in _described(kind, "".join(dtype)):
                    path = (Path(folder) / array / "zarr.json").as_posix()
                    yield CommittedFile(path, called, recorded.get(path), kind=kind, array=array)
    yield from _chunks(ever, owners, recorded)
    for called, folder in ever.rows("dictionaries", ("dictionary", "path")):
        for path in (f"{folder}/dictionary.safetensors", f"{folder}/config.json"):
            if folder in kept:
                yield CommittedFile(path, called, recorded.get(path), kind="dictionary")
    columns = ("path", "codes", "bytes", "xxh3_128")
    for path, codes, size, hash_ in ever.rows("partials", columns):
        if path in recorded:
            yield CommittedFile(path, codes, Digest(size, hash_), kind="partial")


def _chunks(
    ever: "_Ever", owners: Mapping[str, tuple[str, str, str, str]], recorded: Mapping[str, Digest]
) -> Iterator[CommittedFile]:
    """Chunks, and the ``zarr.json`` beside those of codes."""
    columns = ("owner", "array", "shard", "row_start", "row_stop", "bytes", "xxh3_128")
    for owner, array, shard, start, stop, size, hash_, crc in ever.rows(
        "shards", (*columns, "payload_crc32c")
    ):
        if owner not in owners or array == "postings":
            continue
        kind, name, folder, dtype = owners[owner]
        path = chunk_of(Path(folder), kind, dtype, array, shard)
        chunk = CommittedFile(
            path=path.as_posix(),
            owner=name,
            expected=Digest(size, hash_),
            row_start=start,
            row_stop=stop,
            payload_crc32c=crc,
            kind=kind,
            array=array,
            shard=shard,
        )
        if array in CODES_ARRAYS:
            metadata = path.with_name("zarr.json").as_posix()
            expected = recorded.get(metadata)
            yield replace(chunk, path=metadata, expected=expected, payload_crc32c=None)
        if size > 0:  # an empty array has no chunk
            yield chunk


def chunk_of(folder: Path, kind: str, dtype: str, array: str, shard: int) -> Path:
    """Where a shard of an array of the thing in ``folder`` lies; ``array`` as in ``shards``."""
    if kind == "tensor":
        return tensor_chunk(folder, dtype, array, shard)
    if kind == "codes":
        return chunk_path(folder, 0, 1, str(shard), array)
    return chunk_path(folder, shard, 1, array)


def _described(kind: str, dtype: str) -> Iterable[str]:
    """The arrays of a thing that have a ``zarr.json``; of the thing itself it is nameless."""
    if kind == "rowset":
        return ROW_COLUMNS
    return ("", *inner_arrays(dtype)) if kind == "tensor" else ("",)


def _folder(path: str) -> str:
    return "/".join(path.split("/", 2)[:2])


class _Ever:
    """The rows of a table as any snapshot has, or had, them."""

    def __init__(self, connection: Connection, store: Store, without: Collection[str]) -> None:
        self._connection = connection
        self._store = store
        self._without = without

    def rows(self, table: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """Distinct values of ``columns``, in their order."""
        parameters = {"folder": TABLES_FOLDER, "table": table}
        found = self._connection.execute(_DATA_FILES, parameters).fetchall()
        store = self._store
        files = [store.uri(store.root / path) for (path,) in found if path not in self._without]
        if not files:
            return []
        names = ", ".join(f'"{column}"' for column in columns)
        query = f"""
            SELECT DISTINCT {names} FROM read_parquet($files, hive_partitioning = false)
            ORDER BY ALL
        """  # noqa: S608 ours
        return self._connection.execute(query, {"files": files}).fetchall()


_DATA_FILES = f"""
    SELECT DISTINCT $folder || t.path || f.path
    FROM __ducklake_metadata_{LAKE}.ducklake_data_file AS f
    INNER JOIN __ducklake_metadata_{LAKE}.ducklake_table AS t USING (table_id)
    WHERE t.table_name = $table
"""  # noqa: S608 - ours

_PARQUET = f"""
    WITH bounds AS (
        SELECT
            s.data_file_id,
            max(s.min_value) FILTER (
                WHERE c.column_name IN ('codes', 'rowset') AND s.min_value = s.max_value
            ) AS owner,
            max(s.min_value) FILTER (WHERE c.column_name = 'row') AS first,
            max(s.max_value) FILTER (WHERE c.column_name = 'row') AS last
        FROM __ducklake_metadata_{LAKE}.ducklake_file_column_stats AS s
        INNER JOIN __ducklake_metadata_{LAKE}.ducklake_column AS c
            ON c.table_id = s.table_id AND c.column_id = s.column_id
        INNER JOIN __ducklake_metadata_{LAKE}.ducklake_table AS t ON t.table_id = s.table_id
        WHERE t.table_name IN ('postings', 'tokens')
        GROUP BY s.data_file_id
    )
    SELECT DISTINCT f.table_name, f.path, b.owner, b.first, b.last
    FROM {FILES} AS f
    LEFT JOIN bounds AS b USING (data_file_id)
    ORDER BY f.path
"""  # noqa: S608 - ours
