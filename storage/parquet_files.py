"""The Parquet files that the catalog knows, in one place.

DuckLake keeps files of rows and files that list deleted rows in two tables, and the folder of their
table in a third.
"""

from actlake.storage.duck import LAKE

__all__ = ["FILES"]

FILES = f"""(
    SELECT
        t.table_name,
        'tables/main/' || t.path || f.path AS path,
        f.table_id,
        f.data_file_id,
        f.file_size_bytes,
        f.begin_snapshot,
        f.end_snapshot
    FROM (
        SELECT table_id, data_file_id, path, file_size_bytes, begin_snapshot, end_snapshot
        FROM __ducklake_metadata_{LAKE}.ducklake_data_file
        UNION ALL
        SELECT table_id, NULL, path, file_size_bytes, begin_snapshot, end_snapshot
        FROM __ducklake_metadata_{LAKE}.ducklake_delete_file
    ) AS f
    INNER JOIN (
        SELECT DISTINCT table_id, table_name, path FROM __ducklake_metadata_{LAKE}.ducklake_table
    ) AS t USING (table_id)
)"""  # noqa: S608 - ours
"""Every file that any snapshot of the lake named; paths are within the lake.

``data_file_id`` is NULL for a file of deleted rows.
"""
