"""Statements that must be refused without leaving a trace, and those that must run."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actlake.storage.duck import attach_lake, connect, literal
from actlake.storage.errors import FormatError, QueryError
from actlake.storage.functions import (
    AGGREGATES,
    ROW_MAKERS,
    SCALARS,
    TABLE_FUNCTIONS,
    VOLATILE,
)
from actlake.storage.guard import (
    LONGEST_SQL,
    check_predicate,
    check_select,
    run_select,
    sandboxed,
)

SECRET = "correct horse battery staple"


def make_lake(root: Path) -> None:
    """Tables ``tokens`` (120 rows of 6 documents) and ``documents``, in several snapshots."""
    (root / "tables").mkdir(parents=True)
    con = connect(threads=1)
    attach_lake(con, root / "catalog.sqlite", root / "tables", read_only=False)
    con.execute(
        'CREATE TABLE tokens("row" BIGINT, document BIGINT, token_id INTEGER, text VARCHAR)'
    )
    con.execute(
        "INSERT INTO tokens SELECT i, i // 20, i * 7 % 11, 'w' || (i % 11) FROM range(120) t(i)"
    )
    con.execute("CREATE TABLE documents(document BIGINT, year INTEGER, made TIMESTAMP)")
    con.execute(
        "INSERT INTO documents SELECT i, 1990 + i, TIMESTAMP '2020-01-01' + to_days(i::INT) "
        "FROM range(6) t(i)"
    )
    con.execute("DELETE FROM tokens WHERE document = 5")
    con.close()
    (root / "lake.toml").write_text(SECRET)
    (root / "tables" / "loose.csv").write_text(f"a\n{SECRET}\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guard") / "lake"
    make_lake(path)
    return path


@pytest.fixture(scope="module")
def con(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    con = connect(memory_limit="500MB", threads=1)
    attach_lake(con, root / "catalog.sqlite", root / "tables", read_only=True)
    con.execute("SET search_path = 'memory.main,lake.main'")
    con.execute("CREATE VIEW per_document AS SELECT document, count(*) AS n FROM tokens GROUP BY 1")
    con.execute("SET search_path = 'lake.main,memory.main'")
    yield sandboxed(con, [root / "tables"])
    con.close()


def fingerprint(root: Path) -> dict[str, str]:
    """Every file of the lake and around it, by content; SQLite's shared memory holds only locks."""
    return {
        str(path.relative_to(root.parent)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.parent.rglob("*"))
        if path.is_file() and path.suffix != ".sqlite-shm"
    }


HOSTILE = [
    # not a SELECT
    "",
    "   -- nothing\n",
    ";",
    "INSERT INTO tokens VALUES (1, 1, 1, 'x')",
    "UPDATE tokens SET text = 'x'",
    "DELETE FROM tokens",
    "TRUNCATE tokens",
    "DROP TABLE tokens",
    "CREATE TABLE evil AS SELECT 1",
    "CREATE TEMP VIEW evil AS SELECT 1",
    "CREATE MACRO evil() AS 1",
    "CREATE SECRET s (TYPE s3)",
    "ALTER TABLE tokens ADD COLUMN x INTEGER",
    "COMMENT ON TABLE tokens IS 'x'",
    "MERGE INTO tokens USING documents ON true WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM tokens RETURNING *) SELECT * FROM x",
    "SELECT * INTO evil FROM tokens",
    "SELECT * FROM tokens FOR UPDATE",
    "COPY (SELECT 1) TO '{root}/tables/evil.parquet'",
    "COPY tokens FROM '{root}/tables/loose.csv'",
    "EXPORT DATABASE '{root}/tables/dump'",
    "IMPORT DATABASE '{root}'",
    "ATTACH '{root}/catalog.sqlite' AS c (TYPE sqlite)",
    "ATTACH 'ducklake:sqlite:{root}/catalog.sqlite' AS again",
    "DETACH lake",
    "USE memory",
    "SET memory_limit = '100GB'",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "CALL ducklake_expire_snapshots('lake', older_than => now())",
    "CHECKPOINT",
    "VACUUM",
    "INSTALL httpfs",
    "LOAD httpfs",
    "BEGIN",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN SELECT 1",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{root}/tables/evil.parquet'",
    "PIVOT tokens ON token_id USING count(*)",
    # several statements
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE tokens",
    "SELECT 1 /* ; */ ; /* x */ DELETE FROM tokens -- ",
    "SELECT 1\0; DROP TABLE tokens",
    # files
    "SELECT * FROM '{root}/tables/loose.csv'",
    "SELECT * FROM 'loose.csv'",
    'SELECT * FROM "loose.parquet"',
    "SELECT * FROM 'https://example.org/x.parquet'",
    "FROM '{root}/tables/*.csv'",
    "SELECT * FROM read_csv('{root}/tables/loose.csv')",
    "SELECT * FROM \"READ_CSV\"('{root}/tables/loose.csv')",
    "SELECT * FROM main.read_text('{root}/tables/loose.csv')",
    "SELECT * FROM system.main.read_blob('{root}/tables/../lake.toml')",
    "SELECT * FROM/**/read_text/**/('{root}/tables/../lake.toml')",
    "SELECT\u00a0*\u2003FROM\u00a0read_text('{root}/lake.toml')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM parquet_metadata('{root}/tables/main/tokens/*.parquet')",
    "SELECT * FROM parquet_scan('{root}/tables/main/tokens/*.parquet')",
    "SELECT * FROM sniff_csv('{root}/tables/loose.csv')",
    "SELECT * FROM sqlite_scan('{root}/catalog.sqlite', 'ducklake_metadata')",
    "SELECT * FROM sqlite_query('{root}/catalog.sqlite', 'SELECT 1')",
    "SELECT * FROM sqlite_attach('{root}/catalog.sqlite')",
    "SELECT (SELECT content FROM read_text('{root}/lake.toml'))",
    "SELECT * FROM tokens WHERE text IN (FROM read_text('{root}/lake.toml'))",
    "SELECT * FROM tokens ORDER BY (SELECT count(*) FROM glob('/*'))",
    "SELECT * FROM tokens LIMIT (SELECT count(*) FROM glob('/*'))",
    "SELECT list_transform([1], lambda x: (SELECT content FROM read_text('{root}/lake.toml')))",
    "SELECT sum(token_id) FILTER (WHERE EXISTS (FROM glob('/*'))) FROM tokens",
    "SELECT sum(1) OVER (ORDER BY (SELECT content FROM read_text('{root}/lake.toml')))",
    "WITH RECURSIVE a AS (SELECT 1 UNION ALL FROM read_text('x')) FROM a",
    "SELECT 1 UNION ALL (SELECT 2 EXCEPT FROM glob('/*'))",
    "VALUES ((SELECT content FROM read_text('{root}/lake.toml')))",
    "SELECT * REPLACE ((SELECT content FROM read_text('x')) AS text) FROM tokens",
    "PIVOT (FROM read_text('x')) ON size IN (1) USING count(*)",
    "UNPIVOT (FROM read_text('x')) ON size INTO NAME n VALUE v",
    "DESCRIBE '{root}/tables/loose.csv'",
    "SUMMARIZE '{root}/tables/loose.csv'",
    "DESCRIBE FROM read_csv('{root}/tables/loose.csv')",
    "SELECT * FROM tokens, LATERAL (SELECT * FROM read_text(text))",
    "SELECT * FROM tokens JOIN documents ON (SELECT count(*) FROM glob('/*')) > 0",
    # queries in strings, and DuckDB and DuckLake's own functions
    "SELECT * FROM query('SELECT * FROM read_text(''x'')')",
    "SELECT * FROM query_table('tokens')",
    "SELECT * FROM histogram('tokens', 'token_id')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))",
    "SELECT json_serialize_plan('FROM read_csv(''x'')')",
    "SELECT * FROM ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "SELECT * FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "SELECT * FROM ducklake_expire_snapshots('lake', versions => [1])",
    "SELECT * FROM ducklake_add_data_files('lake', 'tokens', '{root}/tables/loose.csv')",
    "SELECT * FROM ducklake_merge_adjacent_files('lake')",
    "SELECT * FROM lake.snapshots()",
    "SELECT * FROM lake.set_option('parquet_version', '1')",
    "SELECT * FROM force_checkpoint()",
    "SELECT * FROM enable_logging()",
    "SELECT write_log('x')",
    "SELECT * FROM seq_scan('x')",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM repeat_row(1, num_rows => 9)",
    # settings, secrets, state
    "SELECT current_setting('temp_directory')",
    "SELECT getenv('HOME')",
    "SELECT getvariable('x')",
    "SELECT (1).getvariable()",
    "SELECT nextval('s')",
    "SELECT setseed(0.5)",
    "SELECT sleep_ms(1)",
    "SELECT pg_sleep(1)",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://x', 's3')",
    "SELECT * FROM pragma_database_size()",
    "SHOW DATABASES",
    "SHOW ALL TABLES",
    "SHOW TABLES FROM __ducklake_metadata_lake",
    "SELECT sum(token_id) EXPORT_STATE FROM tokens",
    "SELECT finalize(combine('x'::BLOB, 'x'::BLOB))",
    # other catalogs and schemas
    "SELECT * FROM __ducklake_metadata_lake.ducklake_data_file",
    "SELECT * FROM __DUCKLAKE_METADATA_LAKE.main.ducklake_metadata",
    "SELECT * FROM system.information_schema.tables",
    "SELECT * FROM information_schema.views",
    "SELECT * FROM pg_catalog.pg_settings",
    "SELECT * FROM memory.main.per_document",
    "SELECT * FROM temp.main.x",
    "SELECT * FROM tokens AT (TIMESTAMP => (SELECT max(content) FROM read_text('x')))",
    # parameters by position
    "SELECT ?",
    "SELECT $1",
    # too much
    "SELECT " + "abs(" * 1_500 + "1" + ")" * 1_500,
    "SELECT " + "NOT " * 5_000 + "true",
    "SELECT NULL::" + "STRUCT(a " * 600 + "INT" + ")" * 600,
    "SELECT '" + "x" * LONGEST_SQL + "'",
    "SELECT '\ud800'",
    "SELEC 1",
]


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: sql[:60])
def test_hostile__is_refused_in_one_line_and_leaves_no_trace(
    sql: str, con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = fingerprint(root)
    sql = sql.replace("{root}", str(root))
    with pytest.raises(QueryError):
        check_select(sql)
    with pytest.raises(QueryError) as caught:
        run_select(con, sql, seconds=5).arrow()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert SECRET not in message
    assert fingerprint(root) == before


ORDINARY = {
    "SELECT count(*) FROM tokens": [(100,)],
    "SELECT count(*) FROM lake.tokens": [(100,)],
    'FROM tokens SELECT max("row")': [(99,)],
    "TABLE documents LIMIT 0": [],
    "SELECT n FROM per_document WHERE document = 2": [(20,)],
    "SELECT year, count(*) FROM tokens JOIN documents USING (document) GROUP BY ALL ORDER BY ALL "
    "LIMIT 1": [(1990, 20)],
    "WITH a AS (SELECT document, count(*) AS n FROM tokens GROUP BY 1), b AS MATERIALIZED (FROM a) "
    "SELECT sum(n) FROM b": [(100,)],
    "WITH RECURSIVE f(i, x) AS (SELECT 1, 1 UNION ALL SELECT i + 1, x * 2 FROM f WHERE i < 10) "
    "SELECT max(x) FROM f": [(512,)],
    'SELECT "row", sum("row") OVER (PARTITION BY document ORDER BY "row" ROWS BETWEEN 1 PRECEDING '
    "AND CURRENT ROW) FROM tokens ORDER BY 1 LIMIT 2 OFFSET 1": [(1, 1), (2, 3)],
    "SELECT document, row_number() OVER w FROM documents WINDOW w AS (ORDER BY year DESC) "
    "ORDER BY 2 LIMIT 1": [(5, 1)],
    'SELECT document, "row" FROM tokens QUALIFY row_number() OVER (PARTITION BY document '
    'ORDER BY "row" DESC) = 1 ORDER BY ALL LIMIT 1': [(0, 19)],
    "PIVOT documents ON year IN (1990, 1991) USING count(*) GROUP BY document ORDER BY document "
    "LIMIT 2": [(0, 1, 0), (1, 0, 1)],
    "SELECT * FROM (UNPIVOT documents ON year INTO NAME n VALUE v) ORDER BY v LIMIT 1": None,
    "SELECT list_transform([1, 2], lambda x: x + 1), [x * 2 FOR x IN [1, 2] IF x > 1]": [
        ([2, 3], [4])
    ],
    "SELECT {'a': 1, 'b': [1, 2]}.b[2], MAP {'k': 5}['k'], struct_pack(a := 1).a": [(2, 5, 1)],
    "SELECT regexp_extract('feature 12', '(\\d+)', 1), 'abc' SIMILAR TO 'a.c', 'a' LIKE 'b'": [
        ("12", True, False)
    ],
    "SELECT quantile_cont(token_id, [0.0, 1.0]), median(document) FROM tokens": [([0, 10], 2.0)],
    "SELECT histogram(document)[0] FROM tokens": [(20,)],
    "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v(x, y) ORDER BY x DESC LIMIT 1": [(2, "b")],
    "SELECT unnest([1, 2]) AS x ORDER BY x": [(1,), (2,)],
    "SELECT sum(i) FROM generate_series(1, 4) t(i)": [(10,)],
    "SELECT count(*) FROM range(5)": [(5,)],
    "SELECT count(*) FROM tokens USING SAMPLE reservoir(10 ROWS) REPEATABLE (1)": None,
    "SELECT count(*) <= 100 FROM tokens TABLESAMPLE bernoulli(50%)": [(True,)],
    "SELECT count(*) FROM tokens AT (VERSION => 2)": [(120,)],
    "SELECT count(*) FROM tokens AT (TIMESTAMP => now() + INTERVAL 1 DAY)": [(100,)],
    "SELECT count(*) FROM (SELECT 1 UNION SELECT 2 EXCEPT SELECT 1 INTERSECT SELECT 1)": [(1,)],
    "SELECT d.document, t.n FROM documents d, LATERAL (SELECT count(*) n FROM tokens t WHERE "
    "t.document = d.document) t ORDER BY 1 DESC LIMIT 2": [(5, 0), (4, 20)],
    "SELECT count(*) FROM documents a POSITIONAL JOIN documents b": [(6,)],
    "SELECT b.year FROM (SELECT TIMESTAMP '2020-01-02 12:00' AS t) a ASOF JOIN documents b "
    "ON a.t >= b.made": [(1991,)],
    "SELECT count(*) FROM documents SEMI JOIN tokens USING (document)": [(5,)],
    "SELECT count(*) FROM documents ANTI JOIN tokens USING (document)": [(1,)],
    "SELECT count(*) FROM documents WHERE EXISTS (FROM tokens t WHERE t.document = "
    "documents.document)": [(5,)],
    "SELECT document, count(*) FROM tokens GROUP BY GROUPING SETS ((document), ()) "
    "ORDER BY 1 NULLS FIRST LIMIT 1": [(None, 100)],
    'SELECT string_agg(text, \',\' ORDER BY "row") FILTER (WHERE "row" < 2) FROM tokens': [
        ("w0,w1",)
    ],
    "SELECT max(COLUMNS('.*_id')), count(DISTINCT text) FROM tokens": [(10, 11)],
    "SELECT * EXCLUDE (made) REPLACE (year + 1 AS year) FROM documents ORDER BY 1 LIMIT 1": [
        (0, 1991)
    ],
    "SELECT CASE WHEN year > 1993 THEN 'new' ELSE 'old' END AS age, count(*) FROM documents "
    "GROUP BY 1 ORDER BY 1": [("new", 2), ("old", 4)],
    "SELECT TRY_CAST('x' AS INTEGER), TRY('x'::DATE), COALESCE(NULL, 3), 7::DECIMAL(4,1)::INT": [
        (None, None, 3, 7)
    ],
    "SELECT date_trunc('year', made), extract(month FROM made) FROM documents LIMIT 0": [],
    "SELECT json_extract_string('{\"a\": \"b\"}', '$.a'), '{\"a\": 1}'::JSON ->> 'a'": [("b", "1")],
    "SELECT value FROM json_each('[5]')": [("5",)],
    "SELECT arg_max(year, document), corr(year, document) FROM documents": [(1995, 1.0)],
    "SELECT ('WORD').lower().upper(), text.upper() FROM tokens ORDER BY \"row\" LIMIT 1": [
        ("WORD", "W0")
    ],
    "SELECT DISTINCT ON (document) document FROM tokens ORDER BY document, text LIMIT 40%": None,
    "SELECT random() < 1, now() > TIMESTAMPTZ '2020-01-01', current_date > DATE '2020-01-01'": [
        (True, True, True)
    ],
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'documents' "
    "AND data_type = 'INTEGER'": [("year",)],
    "SELECT table_name FROM information_schema.tables WHERE table_name LIKE '%ducklake%'": [],
    "DESCRIBE documents": None,
    "SUMMARIZE tokens": None,
    "SHOW TABLES": [("documents",), ("per_document",), ("tokens",)],
    "SELECT 1 -- a comment; DROP TABLE tokens": [(1,)],
    "/* first */ SELECT 'DROP TABLE tokens; --' AS text;": [("DROP TABLE tokens; --",)],
    "SELECT '{root}/read_text(1)' AS path, 'a.parquet' AS name": None,
    'SELECT * FROM documents AS "read_csv" WHERE "read_csv".year = 1990': None,
}


@pytest.mark.parametrize("sql", ORDINARY, ids=lambda sql: sql[:60])
def test_ordinary__runs_and_leaves_no_trace(
    sql: str, con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = fingerprint(root)
    rows = run_select(con, sql).rows()
    expected = ORDINARY[sql]
    if expected is None:
        assert rows
    else:
        assert rows == expected
    assert fingerprint(root) == before


def test_internal_views__cannot_be_read_by_name(con: duckdb.DuckDBPyConnection) -> None:
    names = (
        con.cursor()
        .execute("SELECT schema_name, view_name FROM duckdb_views() WHERE internal")
        .fetchall()
    )
    assert len(names) > 30
    allowed = []
    for schema, name in names:
        for sql in (f"FROM {name}", f"FROM {schema}.{name}"):
            try:
                run_select(con, sql)
            except QueryError:
                continue
            allowed.append(sql)
    assert sorted(allowed) == ["FROM information_schema.columns", "FROM information_schema.tables"]


def test_function_lists__name_functions_of_this_duckdb_and_keep_volatile_apart(
    con: duckdb.DuckDBPyConnection,
) -> None:
    known: dict[str, set[str]] = {}
    unsteady = set()
    functions = (
        con.cursor()
        .execute("SELECT lower(function_name), function_type, stability FROM duckdb_functions()")
        .fetchall()
    )
    for name, kind, stability in functions:
        known.setdefault(name, set()).add(kind)
        if stability not in (None, "CONSISTENT"):
            unsteady.add(name)
    by_parser = {"->", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    listed = SCALARS | AGGREGATES | ROW_MAKERS | VOLATILE
    assert listed - known.keys() == by_parser
    assert {name for name in TABLE_FUNCTIONS if "table" not in known[name]} == set()
    assert {name for name in AGGREGATES if not known[name] & {"aggregate", "macro"}} == set()
    assert {name for name in SCALARS & known.keys() if "aggregate" in known[name]} == set()
    assert (SCALARS & unsteady) == {"error"}  # raises; gives no value


def test_every_other_function__is_refused(con: duckdb.DuckDBPyConnection) -> None:
    names = (
        con.cursor()
        .execute(
            "SELECT DISTINCT function_name, function_type FROM duckdb_functions() "
            "WHERE regexp_full_match(function_name, '\\w+')"
        )
        .fetchall()
    )
    for name, kind in names:
        lower = name.lower()
        if kind.startswith("table") and lower not in TABLE_FUNCTIONS:
            with pytest.raises(QueryError, match="refused here"):
                check_select(f'SELECT * FROM "{name}"()')
        if lower not in SCALARS | AGGREGATES | ROW_MAKERS | VOLATILE | TABLE_FUNCTIONS:
            with pytest.raises(QueryError, match="refused here"):
                check_select(f'SELECT "{name}"()')


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("EXPLAIN SELECT 1", "write the SELECT itself"),
        ("COPY tokens TO 'x'", "only SELECT may run here, not COPY"),
        ("SELECT 1; SELECT 2", "not 2 statements"),
        ("SELECT 1; DELETE FROM tokens", "not 2 statements"),
        ("PIVOT tokens ON text", "must list its columns"),
        ("", "empty"),
        ("SELECT ?", r"write \$name"),
        ("SELECT * FROM 'x.csv'", "only tables and views"),
        ("SELECT getenv('A')", "function getenv"),
        ("SELECT sum(token_id) EXPORT_STATE FROM tokens", "EXPORT_STATE is refused"),
        ("SELECT FROM", "syntax error"),
        ("SELECT yeer FROM documents", 'candidate bindings: "year"'),
        ("SELECT * FROM document", "did you mean .*documents"),
        ("SELECT 'x'::INTEGER", "convert string 'x'"),
    ],
)
def test_refusal__says_what_to_do(sql: str, hint: str, con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(QueryError, match=hint):
        run_select(con, sql).rows()


def test_parameters__are_named_and_complete(con: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT year FROM documents WHERE document = $document OR year = $year ORDER BY 1"
    assert run_select(con, sql, {"document": 0, "year": 1992}).rows() == [(1990,), (1992,)]
    with pytest.raises(QueryError, match=r"\$year and no value"):
        run_select(con, sql, {"document": 0})
    with pytest.raises(QueryError, match=r"no parameter \$yer; it has \$document, \$year"):
        run_select(con, sql, {"document": 0, "year": 1, "yer": 1})
    with pytest.raises(QueryError, match=r"no parameter \$x; it has none"):
        run_select(con, "SELECT 1", {"x": 1})
    assert run_select(con, "SELECT $a", {"a": "'; DROP TABLE tokens; --"}).rows() == [
        ("'; DROP TABLE tokens; --",)
    ]


def test_results__of_one_connection_do_not_disturb_each_other(
    con: duckdb.DuckDBPyConnection,
) -> None:
    first = run_select(con, "SELECT i FROM range(200_000) t(i)").batches(1_000)
    rows = next(first).num_rows
    second = run_select(con, "SELECT count(*) FROM tokens")
    rows += sum(batch.num_rows for batch in first)
    assert rows == 200_000
    assert second.rows() == [(100,)]


def test_python_variables__are_not_tables(con: duckdb.DuckDBPyConnection) -> None:
    secret = run_select(con, "SELECT 1 AS a").arrow()
    assert secret.num_rows == 1
    with pytest.raises(QueryError, match="secret does not exist"):
        run_select(con, "SELECT * FROM secret")


def test_sandboxed__reads_no_file_outside_even_without_the_parser(
    con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    raw = con.cursor()
    for sql in (
        f"SELECT * FROM read_text({literal(root / 'lake.toml')})",
        "SELECT * FROM read_text('/etc/hostname')",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET allowed_directories = ['/']",
        "LOAD httpfs",
        "INSERT INTO lake.tokens VALUES (1, 1, 1, 'x')",
    ):
        with pytest.raises(duckdb.Error):
            raw.execute(sql)


@pytest.mark.parametrize("statement", ["VIEW evil AS SELECT 1", "MACRO evil(x) AS x"])
def test_sandboxed__refuses_a_lake_with_code_of_its_own(statement: str, tmp_path: Path) -> None:
    make_lake(tmp_path / "lake")
    con = connect(threads=1)
    attach_lake(con, tmp_path / "lake/catalog.sqlite", tmp_path / "lake/tables", read_only=False)
    con.execute(f"CREATE {statement}")
    with pytest.raises(FormatError, match="evil"):
        sandboxed(con, [tmp_path / "lake/tables"])
    con.close()


GOOD_PREDICATES = [
    "true",
    "token_id > 3",
    "NOT is_special AND position > 0",
    "token_id IN (1, 2, 3) OR text LIKE 'a%'",
    "text = 'a -- b; ) FROM tokens'",
    "(a) = (b)",
    "list_contains([1, 2], token_id)",
    "len(list_filter([1, 2], lambda x: x > 1)) = 1",
    "CASE WHEN a THEN b ELSE false END",
    "a BETWEEN 1 AND 2",
    "regexp_matches(text, '^\\s') /* spaces */",
    "a IS NOT NULL\n",
]
BAD_PREDICATES = [
    "",
    "--",
    "true --",
    "true /*",
    "true) OR (true",
    "true) UNION SELECT (true",
    "1) UNION SELECT 1 FROM documents --",
    "true FROM tokens --",
    "(true) FROM tokens --",
    "true FROM documents",
    "true) FROM documents --",
    "true FROM tokens WHERE true --",
    "true; DROP TABLE tokens",
    "true; --",
    "a, b",
    "a AS b",
    "DISTINCT a",
    "*",
    "COLUMNS(*)",
    "#1",
    "$x",
    "?",
    "(SELECT true)",
    "EXISTS (SELECT 1)",
    "a IN (SELECT 1)",
    "count(*) > 1",
    "sum(a) > 1",
    "row_number() OVER () = 1",
    "unnest([true])",
    "random() < 0.5",
    "now() > a",
    "current_date > a",
    "read_text('x') = 'y'",
    "getenv('HOME') = 'x'",
    "current_setting('x') = 'y'",
    "tokens.a",
    "lake.tokens.a",
    "a WHERE true",
    "a ORDER BY 1",
    "a LIMIT 1",
    "SELECT 1",
    "true\0",
]


@pytest.mark.parametrize("predicate", GOOD_PREDICATES)
def test_predicate__of_one_row_is_taken(predicate: str) -> None:
    check_predicate(predicate, "tokens")


@pytest.mark.parametrize("predicate", BAD_PREDICATES)
def test_predicate__of_anything_else_is_refused(predicate: str) -> None:
    with pytest.raises(QueryError):
        check_predicate(predicate, "tokens")


def test_predicate__is_bound_to_the_table(con: duckdb.DuckDBPyConnection) -> None:
    check_predicate("token_id > 3 AND text <> ''", "tokens", con=con)
    check_predicate("n > 3", "per_document", con=con)
    with pytest.raises(QueryError, match="token_id"):
        check_predicate("tokn_id > 3", "tokens", con=con)
    with pytest.raises(QueryError, match="is INTEGER, not BOOLEAN"):
        check_predicate("token_id", "tokens", con=con)
    with pytest.raises(QueryError, match="not the name of a table"):
        check_predicate("true", "tokens; DROP TABLE tokens")


PIECES = st.sampled_from(
    [sql for sql in (*HOSTILE, *ORDINARY) if len(sql) < 300]
    + [";", "(", ")", " UNION ALL ", "--", "/*", "*/", "'", '"', "$$", "\n", " FROM ", "SELECT "]
)


@st.composite
def spliced(draw: st.DrawFn) -> str:
    """Heads and tails of statements, cut anywhere and joined."""
    pieces = draw(st.lists(PIECES, min_size=1, max_size=5))
    return "".join(piece[: draw(st.integers(0, len(piece)))] for piece in pieces[:-1]) + pieces[-1]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sql=spliced())
def test_splices__never_change_the_lake(
    sql: str, con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = fingerprint(root)
    try:
        rows = run_select(con, sql.replace("{root}", str(root)), seconds=2).rows()
    except QueryError:
        rows = []
    assert SECRET not in str(rows)
    assert fingerprint(root) == before
