"""All that a lake holds, and its export, without what differs from one lake to the next."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from actlake.flows.export_record import RECORD, read_record
from actlake.storage.fields import TABLES, arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.table_files import live_files

__all__ = ["content", "exported", "table_rows"]


def exported(lake: Path) -> Path:
    """Where the lake of a scene is exported to."""
    return lake.with_name(f"{lake.name}-export")


def content(lake: Lake) -> dict[str, Any]:
    """What is in the lake, by name; of files and exports a hash."""
    connection = lake._connection()

    def rows(query: str, **parameters: object) -> list[Any]:
        return connection.execute(query, parameters or None).fetchall()

    found: dict[str, Any] = {
        table: table_rows(lake, table) for table in TABLES.keys() - {"runs", "migrations", "shards"}
    }
    found["shards"] = rows(
        """
        SELECT o.name, s.* EXCLUDE (owner, run) FROM shards AS s INNER JOIN (
            SELECT id, tensor AS name FROM tensors
            UNION ALL SELECT id, codes FROM codes UNION ALL SELECT id, rowset FROM rowsets
        ) AS o ON o.id = s.owner ORDER BY ALL
        """
    )
    found["files of postings"] = len(live_files(rows, "postings"))
    folders = rows(
        """
        SELECT tensor, path FROM tensors UNION ALL SELECT codes, path FROM codes
        UNION ALL SELECT rowset, path FROM rowsets
        UNION ALL SELECT dictionary, path FROM dictionaries
        """
    )
    for name, folder in folders:
        for file in lake.store.files(lake.root / folder):
            inside = file.path.relative_to(lake.root / folder).as_posix()
            found[f"{folder.partition('/')[0]} {name}: {inside}"] = lake.store.digest(file.path)
    return found | dict(_export(lake.root))


def table_rows(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    """The rows of a table without what differs between two lakes: runs and generated ids."""
    kept = [name for name in arrow_schema(table).names if name not in ("run", "id", "path")]
    columns = ", ".join(f'"{name}"' for name in kept)
    query = f"SELECT {columns} FROM {table} ORDER BY ALL"
    return lake._connection().execute(query).fetchall()


def _export(lake: Path) -> Iterator[tuple[str, str]]:
    """What each file of the export says, but for where the lake is and when it was exported."""
    target = exported(lake)
    for file in sorted(one for one in target.rglob("*") if one.is_file()):
        name = f"export: {file.relative_to(target).as_posix()}"
        if file.suffix == ".duckdb":
            yield from ((f"{name}, {table}", _hash(said)) for table, said in _database(file))
        elif file.suffix == ".parquet":
            yield name, _hash(repr(pq.read_table(file).to_pylist()))
        elif file.name == RECORD:
            record = read_record(target)
            yield name, _hash(json.dumps([record["arguments"], sorted(record["files"])]))
        elif file.suffix in (".html", ".txt"):
            when = str(read_record(target)["facts"]["exported"])
            yield name, _hash(file.read_text("utf-8").replace(str(lake), "").replace(when, ""))
        else:
            yield name, hashlib.sha256(file.read_bytes()).hexdigest()


def _database(file: Path) -> Iterator[tuple[str, str]]:
    """Every table and view of a DuckDB file, with its columns and rows as text."""
    with closing(duckdb.connect(str(file), read_only=True)) as connection:
        tables = connection.execute("SHOW TABLES").fetchall()
        assert tables
        for (table,) in tables:
            kept = "* EXCLUDE (exported)" if table == "export" else "*"
            found = connection.execute(f"SELECT {kept} FROM {table} ORDER BY ALL")
            yield table, repr([found.description, found.fetchall()])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
