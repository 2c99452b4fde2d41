"""What the catalog says of Parquet files, tables and names, held against the files and the claims.

SQLite's own check finds broken pages, and not that a number became another number. What DuckLake
keeps of a file stands in the file's footer too: its size, rows, and the smallest and largest value
of each column, by which files are left out of a query.
"""

from collections.abc import Collection, Iterator, Mapping

import duckdb

from actlake.storage.claims import Claims
from actlake.storage.duck import LAKE
from actlake.storage.durable import Digest
from actlake.storage.fields import TABLES
from actlake.storage.names import NAMED
from actlake.storage.parquet_files import FILES
from actlake.storage.store import Store

__all__ = ["catalog_disagrees", "columns_disagree", "names_disagree"]

FOLDER = "tables/main/"


def catalog_disagrees(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    recorded: Mapping[str, Digest],
    damaged: Collection[str],
) -> Iterator[tuple[str, str, str]]:
    """Path, table, and what the catalog says wrongly of a file; ``damaged`` ones are left out."""
    files = connection.execute(_FILES).fetchall()
    for table, path, size, begin, end, newest in files:
        if path in recorded and recorded[path].bytes != size:
            yield path, table, f"the catalog says {size:,} bytes and not {recorded[path].bytes:,}"
        if begin > newest or (end is not None and not begin < end <= newest):
            yield path, table, f"the catalog has it from snapshot {begin} to {end} of {newest}"
    kept = {one.path for one in store.files(store.root / "tables")}
    there = {path for _, path, *_ in files if path not in damaged and store.root / path in kept}
    if there:
        base = f"{store.uri(store.root)}/"
        parameters = {
            "folder": f"{base}{FOLDER}",
            "files": [store.uri(store.root / path) for path in sorted(there)],
        }
        for query in (_COUNTS, _BOUNDS):
            for table, path, what in connection.execute(query, parameters).fetchall():
                yield path.removeprefix(base), table, what


def columns_disagree(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, str]]:
    """Table, and what is wrong, where the catalog has not the columns of this version."""
    query = """
        SELECT table_name, list((column_name, data_type, is_nullable) ORDER BY column_index)
        FROM duckdb_columns() WHERE database_name = $lake GROUP BY table_name
    """
    found = dict(connection.execute(query, {"lake": LAKE}).fetchall())
    for table, fields in TABLES.items():
        expected = [(field.name, field.type, field.nullable) for field in fields]
        if found.get(table) != expected:
            yield table, "the catalog has other columns than this version made"


def names_disagree(
    connection: duckdb.DuckDBPyConnection, claims: Claims
) -> Iterator[tuple[str, str]]:
    """Name, and what is wrong, where ``names`` is not what the tables say."""
    names = claims.names()
    for table, kind in NAMED.items():
        fields = {field.name for field in TABLES[table]}
        id_ = "id" if "id" in fields else "fingerprint"
        query = f"SELECT {kind}, {id_}, fingerprint FROM {LAKE}.main.{table}"  # noqa: S608 - ours
        for name, own, fingerprint in connection.execute(query).fetchall():
            if (kind, name) in names and names[kind, name] != (own, fingerprint):
                yield name, f"names has another id or fingerprint of this {kind}"


_FILES = f"""
    SELECT table_name, path, file_size_bytes, begin_snapshot, end_snapshot, now.id
    FROM {FILES} CROSS JOIN (SELECT id FROM {LAKE}.current_snapshot()) AS now
    ORDER BY ALL
"""  # noqa: S608 - ours

_COUNTS = f"""
    SELECT
        t.table_name, m.file_name,
        format('the catalog says {{}} rows and not {{}}', f.record_count, m.num_rows)
    FROM __ducklake_metadata_{LAKE}.ducklake_data_file AS f
    INNER JOIN (
        SELECT DISTINCT table_id, table_name, path FROM __ducklake_metadata_{LAKE}.ducklake_table
    ) AS t USING (table_id)
    INNER JOIN parquet_file_metadata($files) AS m ON m.file_name = $folder || t.path || f.path
    WHERE f.record_count <> m.num_rows OR f.footer_size <> m.footer_size
    ORDER BY ALL
"""  # noqa: S608 - ours

# What the catalog tells comes first and as it is: joined otherwise, DuckDB would hold every file's
# column against those of all files.
_BOUNDS = f"""
    WITH told AS MATERIALIZED (
        SELECT
            t.table_name,
            $folder || t.path || f.path AS file_name,
            c.column_name,
            s.value_count,
            s.null_count,
            s.min_value,
            s.max_value
        FROM __ducklake_metadata_{LAKE}.ducklake_file_column_stats AS s
        INNER JOIN __ducklake_metadata_{LAKE}.ducklake_data_file AS f USING (data_file_id)
        INNER JOIN (
            SELECT DISTINCT table_id, table_name, path
            FROM __ducklake_metadata_{LAKE}.ducklake_table
        ) AS t ON t.table_id = f.table_id
        INNER JOIN (
            SELECT DISTINCT table_id, column_id, column_name
            FROM __ducklake_metadata_{LAKE}.ducklake_column
        ) AS c ON c.table_id = f.table_id AND c.column_id = s.column_id
    ),
    footers AS (
        SELECT
            file_name, path_in_schema,
            sum(num_values) AS n,
            sum(stats_null_count) AS nulls,
            list(stats_min_value) AS lowest,
            list(stats_max_value) AS highest
        FROM parquet_metadata($files) GROUP BY ALL
    )
    SELECT
        told.table_name, told.file_name,
        format('the catalog has other bounds or counts of its column {{}}', told.column_name)
    FROM told INNER JOIN footers AS m
        ON m.file_name = told.file_name AND m.path_in_schema = told.column_name
    WHERE told.value_count + told.null_count <> m.n
        OR told.null_count <> m.nulls
        OR (told.min_value IS NOT NULL AND NOT list_contains(m.lowest, told.min_value))
        OR (told.max_value IS NOT NULL AND NOT list_contains(m.highest, told.max_value))
    ORDER BY ALL
"""  # noqa: S608 - ours
