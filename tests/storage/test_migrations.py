"""Lakes come to today's tables by themselves, and newer ones are refused."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from actlake import sql
from actlake.storage import Lake, migrations
from actlake.storage.errors import FormatError
from actlake.storage.fields import TABLES, arrow_schema
from actlake.storage.known_tables import META
from actlake.storage.migrations import applied, migrate, tune_catalog
from tests.storage.conformance.appending import any_rows, append_rows
from tests.storage.conftest import content


def test_create__records_every_schema_file(bench: Lake) -> None:
    rows = bench.table("migrations").sort("version").collect()
    files = sql.names("schema")
    assert rows["version"].to_list() == [*range(1, len(files) + 1)]
    assert rows["name"].to_list() == files
    for name, hash_ in rows.select("name", "sha256").iter_rows():
        assert hash_ == hashlib.sha256(sql.text("schema", name).encode()).hexdigest()
    assert applied(bench._connection().raw) == len(files)


def test_migrate__does_nothing_twice(bench: Lake) -> None:
    before = content(bench)
    migrate(bench._catalog)
    assert content(bench) == before


def test_open__brings_an_older_lake_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sql.names("schema")
    older = [file for file in files if int(file[:4]) <= 16]
    names = sql.names
    with monkeypatch.context() as patch:
        patch.setattr(sql, "names", lambda kind: older if kind == "schema" else names(kind))
        Lake.create(tmp_path / "lake").close()

    lake = Lake.open(tmp_path / "lake")
    before = lake.at(lake.newest_snapshot() - 1)
    assert before.table("runs").collect().is_empty()
    assert before.table("tokens_text").collect().is_empty()  # a view over tables of then
    of_later = "SELECT document FROM withdrawals WHERE corpus = $corpus"
    assert before.reading.facts("withdrawals", of_later, corpus="c") == []
    before.close()

    assert lake.table("migrations").collect()["name"].sort().to_list() == files
    assert lake.table("feature_summary").collect().is_empty()  # a view over new tables
    assert sorted(lake.table("masks").collect()["mask"]) == ["all", "no_special", "not_first"]
    assert [*lake.verify()] == []
    lake.close()


def test_open__refuses_the_tables_of_a_newer_version(fresh: Lake) -> None:
    fresh._catalog.commit(
        lambda now: now.execute("INSERT INTO migrations VALUES (99, 'x', 'x', now(), '7.0')"), "x"
    )
    fresh.close()
    with pytest.raises(FormatError, match=r"schema 99 .* install actlake 7\.0 or newer"):
        Lake.open(fresh.root)


OF_TABLES = f"""
    SELECT table_name, record_count, next_row_id FROM {META}.ducklake_table_stats
    INNER JOIN {META}.ducklake_table USING (table_id) ORDER BY ALL
"""
OF_COLUMNS = f"""
    SELECT table_name, s.* FROM {META}.ducklake_table_column_stats AS s
    INNER JOIN {META}.ducklake_table USING (table_id) ORDER BY ALL
"""


def test_create__says_of_every_table_that_it_is_empty(fresh: Lake) -> None:
    counts = fresh._connection().execute(OF_TABLES).fetchall()
    assert len(counts) == len(TABLES)  # else each query of an empty table is slow
    columns = fresh._connection().execute(OF_COLUMNS).fetchall()
    assert len(columns) == sum(len(arrow_schema(table).names) for table in TABLES)


def test_create__so_that_ducklake_goes_on_as_if_it_had_said_nothing(
    fresh: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "tune", lambda transaction, schema: None)
    silent = Lake.create(tmp_path / "silent")
    random = np.random.default_rng(0)
    files = [(table, any_rows(table, random)) for table in ("labels", "runs", "labels")]
    told = []
    for lake in (fresh, silent):
        for one in files:
            append_rows(lake, [one])
        of_tables = dict(lake._connection().raw.execute(OF_TABLES).pl().rows_by_key("table_name"))
        of_columns = lake._connection().raw.execute(OF_COLUMNS).pl().rows_by_key("table_name")
        told.append([(of_tables[table], of_columns[table]) for table in ("labels", "runs")])
    silent.close()
    assert told[0] == told[1]


def test_columns__that_came_to_a_table_with_rows_are_appended_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = sql.names
    older = [file for file in names("schema") if int(file[:4]) < 49]  # the first of a column
    random = np.random.default_rng(0)
    before = any_rows("rowsets", random).drop_columns(["parent", "mask"])
    with monkeypatch.context() as patch:
        patch.setattr(sql, "names", lambda kind: older if kind == "schema" else names(kind))
        lake = Lake.create(tmp_path / "lake")
        path = lake.root / "tables" / "main" / "rowsets" / "old.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(before, path)
        added = f"CALL ducklake_add_data_files('lake', 'rowsets', '{path}')"
        lake._catalog.commit(lambda now: now.execute(added), "old rows")
        lake.close()
    lake = Lake.open(tmp_path / "lake")
    for _ in range(3):  # the first is DuckLake's, which learns the columns
        append_rows(lake, [("rowsets", any_rows("rowsets", random))])
    assert lake.table("rowsets").collect().height == 4 * before.num_rows
    # As it was before there was tuning: DuckLake takes them all.
    meta = lake._catalog._writing()
    meta.execute(f"DELETE FROM {META}.ducklake_table_column_stats WHERE contains_null IS NULL")
    for _ in range(2):
        append_rows(lake, [("rowsets", any_rows("rowsets", random))])
    assert lake.table("rowsets").collect().height == 6 * before.num_rows
    tune_catalog(lake._catalog)
    count = f"SELECT count(*) FROM ({OF_COLUMNS}) WHERE table_name = 'rowsets'"
    assert lake._connection().execute(count).fetchall() == [(len(arrow_schema("rowsets").names),)]
    lake.close()
