"""What DuckLake's own tables say of the lake's: their numbers, columns and mappings."""

from dataclasses import dataclass

import duckdb

from actlake.storage.duck import LAKE

__all__ = ["META", "KnownTable", "KnownTables"]

META = f"__ducklake_metadata_{LAKE}"
"""Where DuckDB finds them."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A table that has taken in files of all its columns."""

    id: int
    mapping: int
    """Of names in a file to columns, which DuckLake made for the first such file."""
    columns: dict[str, tuple[int, str]]
    """Id and type by name."""


class KnownTables:
    """Of one connection, asked for again when the schema has changed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._tables: dict[str, KnownTable] = {}
        self._schema_version = -1

    def named(self, schema: int, names: set[str]) -> dict[str, KnownTable] | None:
        """All that are known, by name; None if one of ``names`` is not."""
        if schema != self._schema_version:
            self._tables, self._schema_version = {}, schema
        if not names <= self._tables.keys():
            self._tables = self._describe()
        return self._tables if names <= self._tables.keys() else None

    def _describe(self) -> dict[str, KnownTable]:
        columns: dict[tuple[str, int], dict[str, tuple[int, str]]] = {}
        query = f"""
            SELECT t.table_name, t.table_id, c.column_name, c.column_id, c.column_type
            FROM {META}.ducklake_table AS t INNER JOIN {META}.ducklake_column AS c USING (table_id)
            WHERE t.end_snapshot IS NULL AND c.end_snapshot IS NULL
            ORDER BY c.column_order
        """  # noqa: S608
        for table, id_, name, column, kind in self._connection.execute(query).fetchall():
            columns.setdefault((table, id_), {})[name] = (column, kind)
        mapped: dict[tuple[int, int], dict[str, int]] = {}
        query = f"""
            SELECT m.table_id, m.mapping_id, n.source_name, n.target_field_id
            FROM {META}.ducklake_column_mapping AS m
            INNER JOIN {META}.ducklake_name_mapping AS n USING (mapping_id)
        """  # noqa: S608
        for id_, mapping, name, column in self._connection.execute(query).fetchall():
            mapped.setdefault((id_, mapping), {})[name] = column
        return {
            table: KnownTable(id_, mapping, those)
            for (table, id_), those in columns.items()
            for (of, mapping), names in mapped.items()
            if of == id_ and names == {name: column for name, (column, _) in those.items()}
        }
