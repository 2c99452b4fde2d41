"""The tables of a lake at one snapshot as Parquet, CSV and one DuckDB file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from actlake import sql
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.duck import literal
from actlake.storage.fields import TABLES
from actlake.storage.handle import first_row
from actlake.storage.store import Store

__all__ = ["DATABASE", "TABLES_FOLDER", "Snapshot", "TableReader", "heading"]

DATABASE, TABLES_FOLDER = "lake.duckdb", "tables"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A version of a lake."""

    number: int
    committed: str
    """UTC."""


class TableReader:
    """A connection that sees the tables of the lake in ``store`` as of one snapshot.

    Memory is DuckDB's limit at most, however large a table is: rows stream from file to file.
    """

    def __init__(self, store: Store, claims: Claims, snapshot: int) -> None:
        self._connection = Catalog(store, claims).attached(snapshot)
        query = """
            SELECT strftime(snapshot_time::TIMESTAMP, '%Y-%m-%d %H:%M:%S') || ' UTC'
            FROM ducklake_snapshots('lake') WHERE snapshot_id = $snapshot
        """
        row = first_row(self._connection.execute(query, {"snapshot": snapshot}))
        self.snapshot = Snapshot(snapshot, str(row[0]) if row else "at a time that has expired")

    def close(self) -> None:
        self._connection.close()

    def rows_of_tables(self) -> dict[str, int]:
        """How many rows each table has, in the order of the data dictionary."""
        query = """
            SELECT table_name FROM duckdb_tables()
            WHERE database_name = 'lake' AND schema_name = 'main'
        """
        known = {name for (name,) in self._connection.execute(query).fetchall()}
        return {name: self._count(name) for name in TABLES if name in known}

    def _count(self, table: str) -> int:
        row = first_row(self._connection.execute(f"SELECT count(*) FROM lake.main.{table}"))  # noqa: S608
        return 0 if row is None else int(row[0])

    def write(
        self,
        folder: Path,
        rows_of_tables: Mapping[str, int],
        *,
        csv_rows: int,
        facts: Mapping[str, str],
        advance: Callable[[int], None],
    ) -> None:
        """Write the tables into ``folder``: Parquet, CSV where there are at most ``csv_rows``.

        ``facts`` go into the metadata of every Parquet file, and into the table ``export`` of the
        DuckDB file, so that each says by itself which lake and snapshot it comes from.
        """
        database, tables = folder / DATABASE, folder / TABLES_FOLDER
        tables.mkdir()
        pairs = ", ".join(f"{name}: {literal(value)}" for name, value in facts.items())
        parquet = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{pairs}}}"
        execute = self._connection.raw.execute  # of which some complaints are the new files'
        # Table names are ours, never a user's.
        execute(f"ATTACH {literal(database)} AS exported")
        for table, rows in rows_of_tables.items():
            copy = f"exported.main.{table}"
            execute(f"CREATE TABLE {copy} AS SELECT * FROM lake.main.{table}")  # noqa: S608
            # From the copy, so that all three are the same rows in the same order.
            execute(f"COPY {copy} TO {literal(tables / f'{table}.parquet')} ({parquet})")
            if rows <= csv_rows:
                execute(f"COPY {copy} TO {literal(tables / f'{table}.csv')} (HEADER)")
            advance(rows)
        execute("DETACH exported")
        _describe(database, rows_of_tables, facts)


def heading(kind: sql.Kind, name: str) -> str:
    """What a table or view holds, as the first line of its SQL says."""
    return sql.text(kind, name).partition("\n")[0].partition(": ")[2]


def _describe(database: Path, tables: Mapping[str, int], facts: Mapping[str, str]) -> None:
    """Add views, comments and the table ``export``, so that the file is of use without us."""
    with duckdb.connect(str(database)) as connection:
        for view in sql.names("views"):
            connection.execute(sql.text("views", view))
            comment = literal(heading("views", view))
            connection.execute(f"COMMENT ON VIEW {view} IS {comment}")
        for table in tables:
            for field in TABLES[table]:
                column = f'{table}."{field.name}"'
                connection.execute(f"COMMENT ON COLUMN {column} IS {literal(field.meaning)}")
        columns = ", ".join(f"{literal(value)} AS {name}" for name, value in facts.items())
        connection.execute(f"CREATE TABLE export AS SELECT {columns}")
