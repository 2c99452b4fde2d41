"""The data dictionary: every column of every table, and every array, once.

``sql/schema`` creates the tables and a test holds the two to each other; writers build Arrow
tables from here, and ``docs/tables.md`` is printed from here. A ``?`` after a type allows NULL.
"""

from dataclasses import dataclass

import pyarrow as pa

from actlake.storage.columns import COLUMNS
from actlake.storage.feature_columns import FEATURE_COLUMNS
from actlake.storage.finding_columns import FINDING_COLUMNS
from actlake.storage.pair_columns import PAIR_COLUMNS

__all__ = ["ARRAYS", "TABLES", "TEXTS", "Array", "Field", "arrow_schema", "markdown"]

ARROW = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column of a table."""

    name: str
    type: str
    """DuckDB's name of the type."""
    nullable: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Array:
    """One Zarr array: where it lies, its dimensions, its dtype, and what it holds."""

    path: str
    dims: tuple[str, ...]
    dtype: str
    meaning: str


def _fields(text: str) -> tuple[Field, ...]:
    parsed = (line.split(None, 2) for line in text.strip().splitlines())
    return tuple(
        Field(name, kind.rstrip("?"), kind.endswith("?"), why) for name, kind, why in parsed
    )


TABLES: dict[str, tuple[Field, ...]] = {
    name: _fields(text)
    for name, text in (COLUMNS | FEATURE_COLUMNS | FINDING_COLUMNS | PAIR_COLUMNS).items()
}

ARRAYS: tuple[Array, ...] = (
    Array("tensors/<id>", ("row", "width"), "float16, bfloat16, float32", "activations, fill NaN"),
    Array("tensors/<id>/rows", ("row", "width"), "int8", "activations over their row's scale"),
    Array("tensors/<id>/scale", ("row",), "float32", "of rows in int8, largest / 127; fill NaN"),
    Array("rowsets/<id>/document", ("row",), "int64", "index of the document"),
    Array("rowsets/<id>/window", ("row",), "int32", "as tokens.window"),
    Array("rowsets/<id>/position", ("row",), "int32", "as tokens.position"),
    Array("rowsets/<id>/window_position", ("row",), "int32", "as tokens.window_position"),
    Array("rowsets/<id>/token_id", ("row",), "int32", "as tokens.token_id; -1 for NULL"),
    Array("rowsets/<id>/char_start", ("row",), "int32", "as tokens.char_start"),
    Array("rowsets/<id>/char_stop", ("row",), "int32", "as tokens.char_stop"),
    Array("rowsets/<id>/is_special", ("row",), "bool", "as tokens.is_special"),
    Array("codes/<id>/<shard>/indptr", ("row + 1",), "uint32", "where each row's values start"),
    Array(
        "codes/<id>/<shard>/indices", ("value",), "uint16, uint32", "features, ascending in a row"
    ),
    Array("codes/<id>/<shard>/values", ("value",), "float16, float32", "values, > 0"),
)

ROW_COLUMNS: dict[str, str] = {
    array.path.rsplit("/", 1)[1]: array.dtype
    for array in ARRAYS
    if array.path.startswith("rowsets")
}
"""Columns of a rowset and their dtypes, in the order of the table ``tokens``."""


TEXTS = frozenset(
    {
        ("documents", "text"),
        ("labels", "value_text"),
        ("feature_labels", "value"),
        ("feature_labels", "subset"),
        ("hypotheses", "statement"),
        ("hypothesis_phrases", "phrase"),
    }
)
"""Columns that hold what documents say. Their files have no statistics of them, so that no copy of
a text is anywhere but in the rows of its document."""


def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of ``table``; KeyError if there is no such table."""
    return pa.schema(
        [pa.field(field.name, ARROW[field.type], field.nullable) for field in TABLES[table]]
    )


def markdown() -> str:
    """``docs/tables.md``: every table and array, for people."""
    lines = [
        "# Tables and arrays",
        "",
        "Printed from `storage/fields.py` by `python -m actlake.storage.fields > docs/tables.md`; "
        "a test",
        "compares the two. A `?` after a type allows NULL. Times are UTC.",
    ]
    for table, fields in TABLES.items():
        lines += ["", f"## {table}", "", "| column | type | meaning |", "|---|---|---|"]
        for field in fields:
            kind = field.type + ("?" if field.nullable else "")
            lines.append(f"| {field.name} | {kind} | {field.meaning} |")
    lines += [
        "",
        "## Zarr arrays",
        "",
        "| path | dimensions | dtype | meaning |",
        "|---|---|---|---|",
    ]
    for array in ARRAYS:
        dims = ", ".join(array.dims)
        lines.append(f"| `{array.path}` | {dims} | {array.dtype} | {array.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(), end="")
