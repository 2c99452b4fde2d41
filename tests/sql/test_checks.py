"""Checks: silent on a sound lake, and each finds the fault that was planted for it."""

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pytest

from actlake import sql
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from tests.sql.faults_of_counts import FAULTS_OF_COUNTS
from tests.sql.faults_of_names import FAULTS_OF_NAMES
from tests.sql.tiny import CODES

FAULTS = FAULTS_OF_NAMES | FAULTS_OF_COUNTS
ALL = f"{CODES}, mask all"
CODES_ID = f"(SELECT id FROM codes WHERE codes = '{CODES}')"


@pytest.fixture(scope="module")
def tables(tiny: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """The tables of the lake in memory, where a fault can be planted and rolled back."""
    with duckdb.connect() as connection:
        for name in TABLES:
            held = tiny.table(name).collect().to_arrow()
            connection.register("held", held)
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM held")
        yield connection


@contextmanager
def rolled_back(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def found(connection: duckdb.DuckDBPyConnection, check: str) -> list[tuple[str, str]]:
    rows = connection.execute(sql.text("checks", check)).fetchall()
    return [(str(owner), str(what)) for owner, what in rows]


@pytest.mark.parametrize("check", sql.names("checks"))
def test_check__is_silent_on_a_sound_lake(check: str, tables: duckdb.DuckDBPyConnection) -> None:
    assert found(tables, check) == []


@pytest.mark.parametrize("check", sql.names("checks"))
def test_check__is_silent_on_an_empty_lake(check: str, tables: duckdb.DuckDBPyConnection) -> None:
    with rolled_back(tables):
        for name in TABLES:
            tables.execute(f"DELETE FROM {name}")
        faults = found(tables, check)
    assert faults == []


@pytest.mark.parametrize(
    ("check", "break_it", "owner", "what"),
    [(check, *fault) for check, faults in FAULTS.items() for fault in faults],
)
def test_check__finds_what_was_planted(
    check: str, break_it: str, owner: str, what: str, tables: duckdb.DuckDBPyConnection
) -> None:
    with rolled_back(tables):
        tables.execute(break_it)
        faults = found(tables, check)
    assert [one for one in faults if one[0] == owner and what in one[1]], faults
    assert all("\n" not in text for _, text in faults)


def test_every_check__has_a_planted_fault() -> None:
    assert sorted(FAULTS) == sql.names("checks")


@pytest.mark.parametrize("check", sql.names("checks"))
def test_check__is_silent_on_work_in_progress(
    check: str, tables: duckdb.DuckDBPyConnection
) -> None:
    with rolled_back(tables):
        for name in ("tensors", "codes"):
            tables.execute(
                f"DELETE FROM shards WHERE owner IN (SELECT id FROM {name}) AND shard > 2"
            )
            tables.execute(f"UPDATE {name} SET state = 'planned'")
        tables.execute("UPDATE codes SET nnz = NULL")
        tables.execute('DELETE FROM postings WHERE "row" > 2')
        for name in ("statistics", "histograms", "examples", "tokens"):
            tables.execute(f"DELETE FROM feature_{name}")
        assert found(tables, check) == []


@pytest.mark.parametrize("array", ["indptr", "indices", "values", "postings"])
def test_shards_missing__finds_part_of_a_shard_also_before_it_is_sealed(
    array: str, tables: duckdb.DuckDBPyConnection
) -> None:
    with rolled_back(tables):
        tables.execute("UPDATE codes SET state = 'planned'")
        tables.execute(f"DELETE FROM shards WHERE owner = {CODES_ID} AND shard > 4")
        quiet = found(tables, "shards_missing")
        tables.execute(
            f'DELETE FROM shards WHERE owner = {CODES_ID} AND shard = 4 AND "array" = $array',
            {"array": array},
        )
        faults = found(tables, "shards_missing")
    assert quiet == []
    assert faults == [(CODES, f"1 shards of {array} are missing, the first is shard 4")]


def test_shards_missing__wants_the_scale_of_a_tensor_in_int8(
    tables: duckdb.DuckDBPyConnection,
) -> None:
    with rolled_back(tables):
        tables.execute("UPDATE tensors SET dtype = 'int8'")
        faults = found(tables, "shards_missing")
        shards = "SELECT tensor, count(*) FROM tensors JOIN shards ON owner = id GROUP BY ALL"
        counts = tables.execute(f"{shards} ORDER BY tensor").fetchall()
    assert faults == [
        (tensor, f"{n} shards of scale are missing, the first is shard 0") for tensor, n in counts
    ]


def test_references_dangling__lets_a_given_tensor_name_any_model(
    tables: duckdb.DuckDBPyConnection,
) -> None:
    with rolled_back(tables):
        tables.execute("DELETE FROM models")
        faults = found(tables, "references_dangling")
    assert faults == []


def test_verify__runs_the_checks_on_the_lake_itself(copied: Lake) -> None:
    assert list(copied.verify()) == []
    with copied.run("test", {"key": "break"}, {}) as run:
        run.commit(lambda one: one.execute("DELETE FROM postings WHERE feature = 2"), "break")
    faults = [(one.path, one.owner) for one in copied.verify()]
    assert ("check postings_disagree", CODES) in faults
    assert ("check statistics_disagree", ALL) in faults
