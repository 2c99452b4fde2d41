"""Commits that only add files, or put them in the place of others, written into DuckLake's own
tables as DuckLake would write them.

For such a commit DuckLake asks and writes its catalog in dozens of statements, most of which open
a SQLite catalog anew and read its tables whole. The same rows in eight cost a quarter of that, and
what is asked the database answers itself, by its indexes. What the catalog then holds is what
DuckLake would have left, which a test compares, and never less of the ranges of a table's values:
see ``ranges``.

DuckLake itself takes the files in where the catalog is of another version, or where a table has not
yet had a file of the same columns.
Source: https://ducklake.select/docs/stable/specification/tables/overview, version 1.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import duckdb

from actlake.storage.database import Database
from actlake.storage.duck import literal
from actlake.storage.errors import CorruptError
from actlake.storage.known_tables import META, KnownTable, KnownTables
from actlake.storage.parquet import ColumnFacts, FileFacts
from actlake.storage.ranges import Range
from actlake.storage.seen_shards import SeenShards

__all__ = ["Appender", "Parquet"]

VERSION = "1.0"
"""Of the catalogs that are known here."""


@dataclass(frozen=True, slots=True)
class Parquet:
    """A Parquet file to append to a table."""

    table: str
    file: str
    """Its name in the folder of the table."""
    bytes: int
    facts: FileFacts


class Appender:
    """Appends files within transactions of one connection, which has the lake attached."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, database: Database) -> None:
        self._connection = connection
        self._database = database
        query = f"""SELECT "value" FROM {META}.ducklake_metadata WHERE "key" = 'version'"""  # noqa: S608
        self.known = self._rows(query) == [(VERSION,)]
        self.seen = SeenShards()
        self._tables = KnownTables(connection)
        self._start = 0, 0, 0, 0

    def begin(self) -> None:
        """Begin an append within the transaction that has just been opened.

        It comes after the snapshot that is the newest now, or fails: what is read in between is as
        the append will find it.
        """
        newest = self._answer(
            f"""
            SELECT snapshot_id, schema_version, next_catalog_id, next_file_id
            FROM {self._database.schema}.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1
            """  # noqa: S608 - ours, as is all below
        )
        [self._start] = self._rows(
            f"SELECT COLUMNS(*)::BIGINT FROM {newest}"  # noqa: S608
        )

    def append(
        self,
        files: Sequence[Parquet],
        author: str,
        message: str,
        ended: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> int | None:
        """The snapshot that has ``files``, and none of those named in ``ended`` by table, once the
        transaction is committed; None, and nothing is written, if DuckLake must do it.

        CorruptError if one of ``ended`` is no file that the table has now.
        """
        newest, version, next_catalog, next_file = self._start
        if not self.known or not files:
            return None
        tables = self._tables.named(version, {one.table for one in files} | ended.keys())
        if tables is None or any(
            [column.name for column in one.facts.columns] != [*tables[one.table].columns]
            for one in files
        ):
            return None
        files = sorted(files, key=lambda one: tables[one.table].id)  # as DuckLake numbers them
        schema, ids = self._database.schema, ", ".join(map(str, _ids(files, tables)))
        stats = self._answer(
            f"""
            SELECT c.table_id, t.next_row_id, c.column_id, c.contains_null, c.min_value, c.max_value
            FROM {schema}.ducklake_table_stats AS t
            INNER JOIN {schema}.ducklake_table_column_stats AS c ON c.table_id = t.table_id
            WHERE t.table_id IN ({ids})
            """  # noqa: S608
        )
        known = self._rows(
            f"""
            SELECT
                table_id::BIGINT, next_row_id::BIGINT, column_id::BIGINT, contains_null::BOOLEAN,
                min_value, max_value
            FROM {stats}
            """  # noqa: S608
        )
        told = {(one[0], one[2]): Range.told(*one[3:]) for one in known}
        of_files = (tables[one.table] for one in files)
        if any((one.id, id_) not in told for one in of_files for id_, _ in one.columns.values()):
            return None  # a column that came to a table with rows
        snapshot = newest + 1  # also the key of whoever has committed since: then this fails
        changes = [f"inserted_into_table:{id_}" for id_ in _ids(files, tables)]
        changes += [f"deleted_from_table:{tables[one].id}" for one in sorted(ended)]
        self._execute(
            f"INSERT INTO {META}.ducklake_snapshot VALUES ($s, now(), $v, $c, $f)",  # noqa: S608
            {"s": snapshot, "v": version, "c": next_catalog, "f": next_file + len(files)},
        )
        self._execute(
            f"INSERT INTO {META}.ducklake_snapshot_changes VALUES ($s, $c, $a, $m, NULL)",  # noqa: S608
            {"s": snapshot, "c": ",".join(changes), "a": author, "m": message},
        )
        self._add_files(files, tables, snapshot, next_file, {one[0]: one[1] for one in known})
        self._widen(files, tables, told)
        for table, names in ended.items():
            self._end_files(table, names, tables[table].id, snapshot)
        return snapshot

    @property
    def next_file(self) -> int:
        """All files that are committed have smaller numbers."""
        return self._start[3]

    def is_live(self, table: str, file: str) -> bool:
        """Whether the newest snapshot reads a file of ``table``, of that name in its folder."""
        tables = self._tables.named(self._start[1], {table})
        if tables is None or not self.known:
            return False
        query = f"""
            SELECT 1 AS one FROM {self._database.schema}.ducklake_data_file
            WHERE table_id = {tables[table].id} AND end_snapshot IS NULL
                AND path = {literal(file)}
        """  # noqa: S608
        return bool(self._rows(f"SELECT * FROM {self._answer(query)}"))  # noqa: S608

    def ranges(
        self, table: str, column: str, *, where: tuple[str, str], since: int
    ) -> list[tuple[str | None, str | None]]:
        """What the catalog says of the smallest and largest value of ``column`` in each committed
        file with a number from ``since`` on that may hold a row of ``table`` in which the column
        ``where[0]`` is ``where[1]``; None where it does not say.

        The number comes first, so that the database looks at what is new and nothing else.
        """
        tables = self._tables.named(self._start[1], {table})
        if tables is None or not self.known:
            return [(None, None)]  # it has no files, or such as DuckLake must look at
        known, schema = tables[table], self._database.schema
        by, wanted = known.columns[where[0]][0], literal(where[1])
        query = f"""
            SELECT s.min_value, s.max_value FROM {schema}.ducklake_data_file AS f
            LEFT JOIN {schema}.ducklake_file_column_stats AS w
                ON w.data_file_id = f.data_file_id AND w.column_id = {by}
            LEFT JOIN {schema}.ducklake_file_column_stats AS s
                ON s.data_file_id = f.data_file_id
                AND s.column_id = {known.columns[column][0]}
            WHERE f.data_file_id >= {since} AND +f.table_id = {known.id}
                AND f.end_snapshot IS NULL
                AND (w.min_value IS NULL OR w.max_value IS NULL OR (
                    w.min_value {self._database.by_bytes} <= {wanted}
                    AND w.max_value {self._database.by_bytes} >= {wanted}
                ))
        """  # noqa: S608
        return self._rows(f"SELECT * FROM {self._answer(query)}")  # noqa: S608

    def appended(self) -> set[str]:
        """Names of the files that the last append has added, read back from the catalog."""
        newest, _, _, next_file = self._start
        added = self._answer(
            f"""
            SELECT path FROM {self._database.schema}.ducklake_data_file
            WHERE data_file_id >= {next_file} AND begin_snapshot = {newest + 1}
            """  # noqa: S608
        )
        return {path for (path,) in self._rows(f"SELECT parse_filename(path) FROM {added}")}  # noqa: S608

    def _add_files(
        self,
        files: Sequence[Parquet],
        tables: dict[str, KnownTable],
        snapshot: int,
        next_file: int,
        next_row: dict[int, int],
    ) -> None:
        """Write what the catalog says of each file, and of each of its columns."""
        added, columns = [], []
        for number, one in enumerate(files, next_file):
            table, facts = tables[one.table], one.facts
            sizes = facts.rows, one.bytes, facts.footer_bytes
            added.append((number, table.id, one.file, *sizes, next_row[table.id], table.mapping))
            next_row[table.id] += facts.rows
            columns += [
                (number, table.id, table.columns[column.name][0], *_counts(column))
                for column in facts.columns
            ]
        self._with_rows(
            f"""
            INSERT INTO {META}.ducklake_data_file (
                data_file_id, table_id, path, record_count, file_size_bytes, footer_size,
                row_id_start, mapping_id, begin_snapshot, path_is_relative, file_format
            )
            SELECT *, {snapshot}, true, 'parquet' FROM ROWS
            """,  # noqa: S608
            "BIGINT BIGINT VARCHAR BIGINT BIGINT BIGINT BIGINT BIGINT",
            added,
        )
        self._with_rows(
            f"""
            INSERT INTO {META}.ducklake_file_column_stats (
                data_file_id, table_id, column_id, column_size_bytes, value_count, null_count,
                min_value, max_value
            )
            SELECT * FROM ROWS
            """,  # noqa: S608
            "BIGINT BIGINT BIGINT BIGINT BIGINT BIGINT VARCHAR VARCHAR",
            columns,
        )
        update = f"""
            UPDATE {META}.ducklake_table_stats SET
                record_count = record_count + $rows, next_row_id = next_row_id + $rows,
                file_size_bytes = file_size_bytes + $bytes
            WHERE table_id = $table
        """  # noqa: S608
        for id_ in _ids(files, tables):
            those = [one for one in files if tables[one.table].id == id_]
            rows, size = sum(one.facts.rows for one in those), sum(one.bytes for one in those)
            self._execute(update, {"table": id_, "rows": rows, "bytes": size})

    def _widen(
        self,
        files: Sequence[Parquet],
        tables: dict[str, KnownTable],
        before: dict[tuple[int, int], Range],
    ) -> None:
        """Let what the catalog says of all values of a table's columns hold for ``files`` too."""
        after = dict(before)
        for one in files:
            table = tables[one.table]
            for facts in one.facts.columns:
                column, kind = table.columns[facts.name]
                after[table.id, column] = after[table.id, column].with_file(facts, kind)
        changed = [
            (*key, now.nulls, now.lowest, now.highest)
            for key, now in after.items()
            if now != before[key]
        ]
        if changed:
            self._with_rows(
                f"""
                UPDATE {META}.ducklake_table_column_stats AS s
                SET contains_null = n.c2, min_value = n.c3, max_value = n.c4
                FROM ROWS AS n WHERE s.table_id = n.c0 AND s.column_id = n.c1
                """,  # noqa: S608
                "BIGINT BIGINT BOOLEAN VARCHAR VARCHAR",
                changed,
            )

    def _end_files(self, table: str, names: Sequence[str], id_: int, snapshot: int) -> None:
        """Leave the files to the snapshots before ``snapshot``."""
        update = f"""
            UPDATE {META}.ducklake_data_file SET end_snapshot = $snapshot
            WHERE table_id = $table AND end_snapshot IS NULL
                AND path IN (SELECT unnest($names))
        """  # noqa: S608
        [(found,)] = self._rows(update, {"snapshot": snapshot, "table": id_, "names": [*names]})
        if found != len(names):
            raise CorruptError(
                f"of {len(names):,} files of {table} that were to be replaced, {found:,} are "
                "there, so nothing was changed; run `actlake verify`"
            )

    def _with_rows(self, statement: str, kinds: str, rows: Sequence[Sequence[object]]) -> None:
        """Run ``statement``, in which ROWS stands for ``rows``: their columns are c0, c1, ..."""
        columns = [
            f"unnest($c{number}::{kind}[]) AS c{number}"
            for number, kind in enumerate(kinds.split())
        ]
        values = {f"c{number}": [*column] for number, column in enumerate(zip(*rows, strict=True))}
        given = f"(SELECT {', '.join(columns)})"
        self._execute(statement.replace("ROWS", given), values)

    def _answer(self, query: str) -> str:
        """What stands for the rows of ``query`` in a FROM; the catalog's database answers it."""
        return f"{self._database.asks}('{META}', {literal(query)})"

    def _rows(self, query: str, values: dict[str, object] | None = None) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def _execute(self, statement: str, values: dict[str, Any]) -> None:
        self._connection.execute(statement, values)


def _ids(files: Sequence[Parquet], tables: dict[str, KnownTable]) -> list[int]:
    return sorted({tables[one.table].id for one in files})


def _counts(facts: ColumnFacts) -> tuple[object, ...]:
    return facts.bytes, facts.values, facts.nulls, facts.lowest, facts.highest
