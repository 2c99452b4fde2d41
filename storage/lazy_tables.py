"""A table as a polars LazyFrame, whose columns, conditions and limits go into DuckDB."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import duckdb
import polars as pl
import pyarrow as pa
from duckdb.polars_io import duckdb_source

from actlake import sql
from actlake.storage.errors import NotFoundError
from actlake.storage.fields import TABLES
from actlake.storage.handle import Handle
from actlake.storage.reading import Reading

__all__ = ["lazy_table"]

T = TypeVar("T")


def lazy_table(reading: Reading, fresh: Callable[[], Handle], name: str) -> pl.LazyFrame:
    """A table or view, read in batches through a ``fresh`` handle; NotFoundError if there is none.

    CorruptError where it cannot be read, also from what collects it.
    """
    if name not in (*TABLES, *sql.names("views")):
        raise NotFoundError(f"no table {name!r}; there are {', '.join(TABLES)}")
    query = f"SELECT * FROM {name}"  # noqa: S608 - ours
    reading.statement(query)
    handle = fresh()
    relation = handle.told(lambda: handle.raw.sql(query))
    schema = handle.told(lambda: relation.pl(lazy=True).collect_schema())
    return duckdb_source(cast(duckdb.DuckDBPyRelation, _Told(relation, handle)), schema)


class _Told:
    """What ``duckdb_source`` asks of a relation, with errors as of the handle."""

    def __init__(self, relation: duckdb.DuckDBPyRelation, handle: Handle) -> None:
        self._relation = relation
        self._handle = handle

    def _changed(self, change: Callable[[], duckdb.DuckDBPyRelation]) -> "_Told":
        return _Told(self._handle.told(change), self._handle)

    def project(self, columns: str) -> "_Told":
        return self._changed(lambda: self._relation.project(columns))

    def limit(self, rows: int) -> "_Told":
        return self._changed(lambda: self._relation.limit(rows))

    def filter(self, condition: str) -> "_Told":
        return self._changed(lambda: self._relation.filter(condition))

    def to_arrow_reader(self, *rows: int) -> "_ToldReader":
        reader = self._handle.told(lambda: self._relation.to_arrow_reader(*rows))
        return _ToldReader(reader, self._handle)


class _ToldReader:
    def __init__(self, reader: pa.RecordBatchReader, handle: Handle) -> None:
        self._reader = reader
        self._handle = handle

    def read_next_batch(self) -> Any:
        return self._handle.told(self._reader.read_next_batch)
