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
    check_predicate,
    check_select,
    run_select,
    sandboxed,
)
from actlake.storage.sqlite_database import SqliteDatabase
from tests.storage.statements import (
    BAD_PREDICATES,
    GOOD_PREDICATES,
    HOSTILE,
    ORDINARY,
    SECRET,
)


def make_lake(root: Path) -> None:
    """Tables ``tokens`` (120 rows of 6 documents) and ``documents``, in several snapshots."""
    (root / "tables").mkdir(parents=True)
    con = connect(extensions=SqliteDatabase.extensions, threads=1)
    attach_lake(con, SqliteDatabase(root), f"{root}/tables", read_only=False)
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
    con = connect(extensions=SqliteDatabase.extensions, memory_limit="500MB", threads=1)
    attach_lake(con, SqliteDatabase(root), f"{root}/tables", read_only=True)
    con.execute("SET search_path = 'memory.main,lake.main'")
    con.execute("CREATE VIEW per_document AS SELECT document, count(*) AS n FROM tokens GROUP BY 1")
    con.execute("SET search_path = 'lake.main,memory.main'")
    yield sandboxed(con, [f"{root}/tables"])
    con.close()


def own(con: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A handle for one result."""
    handle = con.cursor()
    handle.execute("SET search_path = 'lake.main,memory.main'")
    return handle


def fingerprint(root: Path) -> dict[str, str]:
    """Every file of the lake and around it, by content; SQLite's shared memory holds only locks."""
    return {
        str(path.relative_to(root.parent)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.parent.rglob("*"))
        if path.is_file() and path.suffix != ".sqlite-shm"
    }


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: sql[:60])
def test_hostile__is_refused_in_one_line_and_leaves_no_trace(
    sql: str, con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = fingerprint(root)
    sql = sql.replace("{root}", str(root))
    with pytest.raises(QueryError):
        check_select(sql)
    with pytest.raises(QueryError) as caught:
        run_select(own(con), sql, seconds=5).arrow()
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert SECRET not in message
    assert fingerprint(root) == before


@pytest.mark.parametrize("sql", ORDINARY, ids=lambda sql: sql[:60])
def test_ordinary__runs_and_leaves_no_trace(
    sql: str, con: duckdb.DuckDBPyConnection, root: Path
) -> None:
    before = fingerprint(root)
    rows = run_select(own(con), sql).rows()
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
                run_select(own(con), sql)
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
        run_select(own(con), sql).rows()


def test_parameters__are_named_and_complete(con: duckdb.DuckDBPyConnection) -> None:
    sql = "SELECT year FROM documents WHERE document = $document OR year = $year ORDER BY 1"
    assert run_select(own(con), sql, {"document": 0, "year": 1992}).rows() == [(1990,), (1992,)]
    with pytest.raises(QueryError, match=r"and there is no value for \$year"):
        run_select(own(con), sql, {"document": 0})
    with pytest.raises(
        QueryError, match=r"no parameter \$yer, it has \$document, \$year; leave it out"
    ):
        run_select(own(con), sql, {"document": 0, "year": 1, "yer": 1})
    with pytest.raises(QueryError, match=r"no parameter \$x, it has none; leave it out"):
        run_select(own(con), "SELECT 1", {"x": 1})
    assert run_select(own(con), "SELECT $a", {"a": "'; DROP TABLE tokens; --"}).rows() == [
        ("'; DROP TABLE tokens; --",)
    ]


def test_results__of_one_connection_do_not_disturb_each_other(
    con: duckdb.DuckDBPyConnection,
) -> None:
    first = run_select(own(con), "SELECT i FROM range(200_000) t(i)").batches(1_000)
    rows = next(first).num_rows
    second = run_select(own(con), "SELECT count(*) FROM tokens")
    rows += sum(batch.num_rows for batch in first)
    assert rows == 200_000
    assert second.rows() == [(100,)]


def test_python_variables__are_not_tables(con: duckdb.DuckDBPyConnection) -> None:
    secret = run_select(own(con), "SELECT 1 AS a").arrow()
    assert secret.num_rows == 1
    with pytest.raises(QueryError, match="secret does not exist"):
        run_select(own(con), "SELECT * FROM secret")


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
    con = connect(extensions=SqliteDatabase.extensions, threads=1)
    attach_lake(con, SqliteDatabase(tmp_path / "lake"), f"{tmp_path}/lake/tables", read_only=False)
    con.execute(f"CREATE {statement}")
    with pytest.raises(FormatError, match="evil"):
        sandboxed(con, [f"{tmp_path}/lake/tables"])
    con.close()


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
        rows = run_select(own(con), sql.replace("{root}", str(root)), seconds=2).rows()
    except QueryError:
        rows = []
    assert SECRET not in str(rows)
    assert fingerprint(root) == before
