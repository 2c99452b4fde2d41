"""What SQL from people, and who only reads, can do to the server of a catalog: nothing."""

import duckdb
import pytest

from actlake.storage import Lake
from actlake.storage.errors import QueryError, UnreachableError
from tests.postgres import Server, name_of
from tests.storage.conformance.protocol import stored
from tests.storage.conftest import content, fresh_name


@pytest.fixture
def lake(postgres_lake: Lake) -> Lake:
    return postgres_lake


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM postgres_query('__ducklake_metadata_lake', 'SELECT 1')",
        "CALL postgres_execute('__ducklake_metadata_lake', 'DROP TABLE x')",
        "SELECT * FROM postgres_scan('dbname=postgres', 'public', 't')",
        "SELECT * FROM postgres_scan_pushdown('dbname=postgres', 'public', 't')",
        "SELECT * FROM postgres_configure_pool()",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM which_secret('x', 'postgres')",
        "CREATE SECRET (TYPE postgres, PASSWORD 'x')",
        "ATTACH 'dbname=postgres' AS p (TYPE postgres)",
        "SELECT * FROM __ducklake_metadata_lake.ducklake_data_file",
        "SELECT getenv('PGPASSWORD')",
        "SELECT current_setting('pg_oauth_token')",
    ],
)
def test_sql__does_not_reach_the_server(lake: Lake, statement: str) -> None:
    with pytest.raises(QueryError):
        lake.sql(statement)


EVIL = "CREATE TABLE {schema}.{table} (a int)"
WRITES = [
    f"CALL postgres_execute('__ducklake_metadata_lake', '{EVIL}')",
    f"CALL postgres_execute('__ducklake_metadata_lake', '{EVIL}', use_transaction => false)",
    "FROM postgres_query('__ducklake_metadata_lake', "
    "'INSERT INTO {schema}.pins VALUES (1, ''x'') RETURNING 1')",
    "DELETE FROM __ducklake_metadata_lake.ducklake_data_file",
    "DELETE FROM lake.main.masks",
    "ATTACH '{source}' AS p (TYPE postgres)",
]
GRANTS = "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}"


def attempted(lake: Lake, statement: str) -> str:
    """``statement`` past the guard, on the connection that SQL from people runs on; its table."""
    table = fresh_name("evil")
    source = lake.database.source.removeprefix("postgres:")
    text = statement.format(schema=lake.settings.catalog.schema, source=source, table=table)
    with pytest.raises(duckdb.Error):
        lake._connection().raw.execute(text).fetchall()
    return table


def exists(server: Server, lake: Lake, table: str) -> bool:
    query = "SELECT 1 FROM pg_tables WHERE tablename = %s"
    return bool(server.execute(query, table, database=name_of(lake)))


@pytest.mark.parametrize("statement", WRITES)
def test_reader__cannot_write_to_the_catalog(lake: Lake, postgres: Server, statement: str) -> None:
    before = content(lake)
    table = attempted(lake, statement)
    assert content(lake) == before
    assert not exists(postgres, lake, table)


def test_role_that_may_only_read__reads_and_cannot_write_whatever_it_says(
    lake: Lake, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = fresh_name("reader")
    grants = GRANTS.format(lake.settings.catalog.schema, role)
    postgres.execute(f"CREATE ROLE {role} LOGIN; {grants}", database=name_of(lake))
    monkeypatch.setenv("PGUSER", role)
    reader = Lake.open(lake.root)
    assert stored(reader, "all") == 1
    statement = "CALL postgres_execute('__ducklake_metadata_lake', 'COMMIT; BEGIN READ WRITE; "
    table = attempted(reader, f"{statement}{EVIL}')")
    assert not exists(postgres, lake, table)
    with pytest.raises(UnreachableError, match="permission denied"):
        reader.pin("x")
    reader.close()
