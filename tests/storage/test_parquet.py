"""What is kept of a Parquet file is what DuckDB reads in its footer, to the letter."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actlake.storage.fields import arrow_schema
from actlake.storage.parquet import (
    ROW_GROUP,
    ColumnFacts,
    encode_groups,
    encode_rows,
    file_facts,
)


def facts_of(values: pa.Array) -> ColumnFacts:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": values}), sink)
    [found] = file_facts(memoryview(sink.getvalue())).columns
    return found


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()], ids=str)
def test_numbers__are_spelled_as_duckdb_spells_them(kind: pa.DataType, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    bits = random.integers(0, 1 << 32, 60, dtype=np.uint32).view(np.float32)
    halves = random.integers(0, 1 << 16, 60, dtype=np.uint16).view(np.float16)
    values = np.concatenate((bits, halves, 10.0 ** np.arange(-30, 30), [0.0, 3.06640625, 1e16]))
    values = np.abs(values[np.isfinite(values)]).astype(kind.to_pandas_dtype())
    file = tmp_path / "each.parquet"
    pq.write_table(pa.table({"x": pa.array(values, kind)}), file, row_group_size=1)
    query = "SELECT stats_max_value FROM parquet_metadata($f) ORDER BY row_group_id"
    right = [text for (text,) in duckdb.execute(query, {"f": str(file)}).fetchall()]
    assert [facts_of(pa.array([one], kind)).highest for one in values] == right


def test_facts__of_nothing_and_of_what_is_not_told() -> None:
    nothing = facts_of(pa.array([None, None], pa.int32()))
    assert (nothing.values, nothing.nulls) == (0, 2)
    assert (nothing.lowest, nothing.highest) == (None, None)
    undefined = facts_of(pa.array([np.nan], pa.float64()))
    assert (undefined.values, undefined.lowest) == (1, None)


@pytest.mark.parametrize("rows", [0, 1, ROW_GROUP, ROW_GROUP + 1])
def test_groups__that_come_one_by_one_make_the_same_file(rows: int) -> None:
    schema = arrow_schema("tokens")
    numbers = pa.array(np.arange(rows))
    table = pa.table(
        {
            one.name: pa.repeat("r", rows)
            if one.type == pa.string()
            else numbers.cast(pa.float64()).cast(one.type, safe=False)
            for one in schema
        }
    )
    named = table.set_column(
        table.schema.get_field_index("rowset"),
        "rowset",
        pa.DictionaryArray.from_arrays(np.zeros(rows, np.int8), ["r"]),
    )
    groups = [named.slice(at, ROW_GROUP) for at in range(0, rows, ROW_GROUP)] or [named]
    found = encode_groups("tokens", iter(groups))
    assert found == encode_rows("tokens", table)
    # As files of lakes from before, which a repair makes again.
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.cast(schema),
        sink,
        compression="zstd",
        write_statistics=schema.names,
        row_group_size=ROW_GROUP,
    )
    assert found == memoryview(sink.getvalue())
    assert pq.read_metadata(pa.BufferReader(found)).num_row_groups == max(1, -(-rows // ROW_GROUP))


@pytest.mark.parametrize(("letters", "groups"), [(0, 2), (1000, 79), (300_000, 10_000)])
def test_texts__lie_in_groups_of_about_as_many_bytes(letters: int, groups: int) -> None:
    many = 10_000 if letters < 10_000 else 100
    schema = arrow_schema("documents")
    columns: dict[str, list[object]] = {
        "corpus": ["c"] * many,
        "document": [*range(many)],
        "source_id": ["s"] * many,
        "text": ["x" * letters] * many,
    }
    rows = pa.table({name: columns[name] for name in schema.names}, schema)
    footer = pq.read_metadata(pa.BufferReader(encode_rows("documents", rows)))
    assert footer.num_row_groups == min(groups, many)
    assert footer.num_rows == many
    group = footer.row_group(0)
    encodings = {one.path_in_schema: one.encodings for one in map(group.column, range(4))}
    assert {group.column(at).compression for at in range(4)} == {"LZ4"}
    assert "RLE_DICTIONARY" in encodings["corpus"]
    assert "RLE_DICTIONARY" not in encodings["text"] + encodings["source_id"]
