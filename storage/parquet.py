"""Rows as a Parquet file, and what DuckLake keeps of such a file."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from actlake.storage.fields import TEXTS, arrow_schema

__all__ = ["ColumnFacts", "FileFacts", "encode_rows", "file_facts"]


def encode_rows(table: str, rows: pa.Table) -> memoryview:
    """The bytes of a Parquet file of ``rows`` of ``table``."""
    sink = pa.BufferOutputStream()
    rows = rows.cast(arrow_schema(table))
    # DuckLake copies the smallest and the largest value of a file into the catalog.
    told = [name for name in rows.column_names if (table, name) not in TEXTS]
    pq.write_table(rows, sink, compression="zstd", write_statistics=told)
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
        known = all(one.has_min_max or not one.num_values for one in told) and bounds
        columns.append(
            ColumnFacts(
                name=name,
                bytes=size,
                values=sum(one.num_values for one in told),
                nulls=sum(one.null_count for one in told),
                lowest=_text(min(one.min for one in bounds), told[0]) if known else None,
                highest=_text(max(one.max for one in bounds), told[0]) if known else None,
            )
        )
    return FileFacts(footer.num_rows, footer.serialized_size, tuple(columns))


def _text(value: Any, statistics: Any) -> str:
    """A value as the catalog spells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime) and value.microsecond:
        return str(value).rstrip("0")
    if isinstance(value, float):
        # The fewest digits that tell a single from its neighbours, laid out as those of a double.
        return repr(float(str(np.float32(value))) if statistics.physical_type == "FLOAT" else value)
    return str(value)
