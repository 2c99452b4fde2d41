"""Rows as a Parquet file, and what DuckLake keeps of such a file."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from actlake.storage.fields import TEXTS, arrow_schema

__all__ = ["ROW_GROUP", "ColumnFacts", "FileFacts", "encode_groups", "encode_rows", "file_facts"]

ROW_GROUP = 1 << 17
"""Rows that are read where one of them is wanted: the row or the document of a token is looked up
in each query by row or by document."""
WIDE = {"documents": ["corpus"]}
"""Tables whose rows are texts, of which some are looked up among very many, and the columns of
each whose values repeat: a dictionary of others is read as a whole where one of them is wanted."""
GROUP_BYTES = 1 << 17
"""Of rows of such a table that are read where one of them is wanted."""
_SPELLING = Lock()
"""Of the one connection that spells numbers; files are made by several threads."""


def encode_rows(table: str, rows: pa.Table) -> memoryview:
    """The bytes of a Parquet file of ``rows`` of ``table``."""
    group = ROW_GROUP
    if table in WIDE:
        group = max(1, min(group, len(rows) * GROUP_BYTES // max(rows.nbytes, 1)))
    starts = range(0, max(len(rows), 1), group)
    return encode_groups(table, (rows.slice(start, group) for start in starts))


def encode_groups(table: str, groups: Iterable[pa.Table]) -> memoryview:
    """The same of rows that come by groups, of which one is held at a time."""
    sink, schema = pa.BufferOutputStream(), arrow_schema(table)
    # DuckLake copies the smallest and the largest value of a file into the catalog.
    told = [name for name in schema.names if (table, name) not in TEXTS]
    with pq.ParquetWriter(
        sink,
        schema,
        # Texts half as large again, read in 0.6 of the time: few bytes beside those of activations.
        compression="lz4" if table in WIDE else "zstd",
        write_statistics=told,
        use_dictionary=WIDE.get(table, True),
    ) as writer:
        for group in groups:
            writer.write_table(group.cast(schema), row_group_size=max(1, len(group)))
    return memoryview(sink.getvalue())


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What DuckLake keeps of one column of a file."""

    name: str
    bytes: int
    values: int | None
    """That are not NULL; None where the file does not say."""
    nulls: int | None
    lowest: str | None
    highest: str | None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What DuckLake keeps of a Parquet file."""

    rows: int
    footer_bytes: int
    columns: tuple[ColumnFacts, ...]


def file_facts(content: memoryview) -> FileFacts:
    """The facts of the Parquet file ``content``, from its footer."""
    footer = pq.read_metadata(pa.BufferReader(content))
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    columns = []
    for index, name in enumerate(footer.schema.names):
        chunks = [group.column(index) for group in groups]
        told = [chunk.statistics for chunk in chunks]
        size = sum(chunk.total_compressed_size for chunk in chunks)
        if any(one is None or not one.has_null_count for one in told):
            columns.append(ColumnFacts(name, size, None, None, None, None))
            continue
        bounds = [one for one in told if one.has_min_max]
        lowest = highest = None
        if bounds and all(one.has_min_max or not one.num_values for one in told):
            ends = min(one.min for one in bounds), max(one.max for one in bounds)
            lowest, highest = _texts(*ends, told[0].physical_type)
        values, nulls = sum(one.num_values for one in told), sum(one.null_count for one in told)
        columns.append(ColumnFacts(name, size, values, nulls, lowest, highest))
    return FileFacts(footer.num_rows, footer.serialized_size, tuple(columns))


def _texts(lowest: Any, highest: Any, physical: str) -> tuple[str, str]:
    """Two values as the catalog spells them."""
    if physical in ("FLOAT", "DOUBLE"):  # whose fewest digits are not everybody's
        query = f"SELECT $lowest::{physical}::VARCHAR, $highest::{physical}::VARCHAR"
        values = {"lowest": lowest, "highest": highest}
        with _SPELLING:
            [texts] = _speller().execute(query, values).fetchall()
        return texts[0], texts[1]
    return _text(lowest), _text(highest)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) and value.microsecond:
        return str(value).rstrip("0")
    return str(value)


@cache
def _speller() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1, "enable_external_access": "false"})
