"""SQL from people: exactly one SELECT over the lake's tables, denied by default.

DuckDB's settings alone are no sandbox: a read-only attach with external access off still lets
``COPY`` write into the folders it may read, ``ATTACH`` open any SQLite file, and table functions
such as ``ducklake_cleanup_old_files`` delete data. So a statement is parsed by DuckDB itself
(``json_serialize_sql``, which takes nothing but SELECT), and its tree is walked: every kind of
node, every function and every kind of table name must be on a list here. What is new in a later
DuckDB is refused until somebody has read what it does. ``sandboxed`` is the second wall.

What this does not stop: a statement may use the memory, threads and seconds that it is given, and
a call that never looks up runs on after its time and takes memory that DuckDB does not count. Those
that make much of little are refused; a ``replace`` in a ``replace`` can still. Data that strangers
send belongs in a child process with limits of its own. Whoever can write the catalog is trusted:
tables are what it says. With a catalog in Postgres, a role that may only SELECT is the wall behind
these two.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import duckdb
import numpy as np

from actlake.storage import functions
from actlake.storage.duck import LAKE, literal, one_line
from actlake.storage.errors import FormatError, QueryError
from actlake.storage.handle import first_row
from actlake.storage.results import Result, TimeLimit

__all__ = ["QUERY_SECONDS", "check_predicate", "check_select", "run_select", "sandboxed"]

QUERY_SECONDS = 300.0
LONGEST_SQL = 100_000
_INSTEAD = "write a SELECT over tables and views of the lake"

_PREDICATE_NODES = frozenset(
    "BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA "
    "OPERATOR".split()
)
_EXPRESSIONS = _PREDICATE_NODES | frozenset(
    "PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY WINDOW".split()
)
_TABLES = frozenset(
    "BASE_TABLE EMPTY EXPRESSION_LIST JOIN PIVOT SHOW_REF SUBQUERY TABLE_FUNCTION".split()
)
_PARTS = frozenset(
    "SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE LIMIT_MODIFIER DISTINCT_MODIFIER "
    "LIMIT_PERCENT_MODIFIER ORDER_MODIFIER ORDER_DEFAULT ASCENDING DESCENDING".split()
)

_CALLABLE = functions.SCALARS | functions.AGGREGATES | functions.ROW_MAKERS | functions.VOLATILE
_NAME = re.compile(r"[^\W\d]\w*")
_SYSTEM_TABLE = re.compile(r"(duckdb_|ducklake_|pg_|pragma_|sqlite_|__)", re.IGNORECASE)
_SCHEMAS = {("", ""), ("", "main"), ("", LAKE), (LAKE, "main")}
_INFORMATION = {"columns", "tables"}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_UNBINDABLE = re.compile(r"[\x00\ud800-\udfff]")  # see ``keys.sought``

Node = dict[str, Any]


def check_select(sql: str) -> None:
    """``sql`` is one SELECT (or DESCRIBE, SUMMARIZE, SHOW TABLES) that may run on a lake.

    Raises QueryError that says what is refused and what to write instead.
    """
    _checked(sql)


def check_predicate(
    predicate: str, table: str, *, con: duckdb.DuckDBPyConnection | None = None
) -> None:
    """``predicate`` is one expression over the columns of a row of ``table``, and only that.

    It means the same wherever it is put between parentheses, and depends on the row alone: no
    subquery, aggregate, window, parameter, clock or chance. With ``con``, which must hold
    ``table``, its columns must exist and its type must be BOOLEAN. Raises QueryError.
    """
    shown = f"the predicate {predicate!r}"
    if not _NAME.fullmatch(table):
        raise QueryError(f"{table!r} is not the name of a table; name one of the lake's")
    # As it stands and in parentheses it must be the same tree, so that nothing is before, behind or
    # around it: `true) OR (true` does not parse as it stands, `a FROM t --` not in parentheses.
    try:
        plain, inner = _over(table, predicate), _over(table, f"({predicate})")
    except QueryError as error:
        why = str(error).partition("; ")[0]
        raise QueryError(f"{shown} is not one expression: {why}; write one condition") from error
    if plain != inner:
        raise QueryError(f"{shown} is not one expression over {table}; write one condition")
    for node in _nodes(plain["select_list"]):
        kind = node.get("class", "FUNCTION")
        if kind not in _PREDICATE_NODES:
            raise QueryError(
                f"{shown} holds a {_words(kind)}, which it cannot; "
                "write a condition over the columns of a row"
            )
        if str(node.get("function_name", "+")).casefold() not in functions.SCALARS:
            raise QueryError(f"a predicate cannot call {node['function_name']}; it sees one row")
        path = [str(name).casefold() for name in node.get("column_names", ())]
        if path[1:] and path[0] in (LAKE, table.casefold()):
            raise QueryError(f"{shown} names a table; name its column alone")
        if path[:1] and path[0] in functions.VOLATILE and path[0].startswith(("current", "local")):
            raise QueryError(f"a predicate cannot depend on {path[0]}; it sees one row")
    if con is not None:
        try:
            bound = con.sql(f"SELECT ({predicate}) FROM {table}")  # noqa: S608 checked
        except duckdb.Error as error:
            raise QueryError(f"{shown} fails: {one_line(error)}; mend it") from error
        if str(bound.types[0]) != "BOOLEAN":
            raise QueryError(f"{shown} is {bound.types[0]}, not BOOLEAN; write a condition")


def _over(table: str, expression: str) -> Node:
    node: Node = _statement(f"SELECT {expression} FROM {table}")["node"]  # noqa: S608 parsed only
    return node


_STORED_TEXT = f"""
    SELECT name FROM (
        SELECT view_name AS name, begin_snapshot, end_snapshot
        FROM __ducklake_metadata_{LAKE}.ducklake_view
        UNION ALL
        SELECT macro_name AS name, begin_snapshot, end_snapshot
        FROM __ducklake_metadata_{LAKE}.ducklake_macro
    ), {LAKE}.current_snapshot() AS now
    WHERE begin_snapshot <= now.id AND (end_snapshot IS NULL OR end_snapshot > now.id)
"""  # noqa: S608 - a constant; DuckDB's own listing of functions takes forty milliseconds


def sandboxed(con: duckdb.DuckDBPyConnection, allowed: Iterable[str]) -> duckdb.DuckDBPyConnection:
    """``con``, from now on reading files in the folders ``allowed`` only, its settings locked.

    Attach the lake and make views (in ``memory``) before. Raises FormatError for a lake that brings
    views or macros of its own: their text would run without ever being checked.
    """
    stored = first_row(con.execute(_STORED_TEXT))
    if stored is not None:
        raise FormatError(f"the lake's catalog holds {stored[0]}, a view or macro; drop it first")
    folders = ", ".join(literal(f"{folder}/") for folder in allowed)
    con.execute("SET GLOBAL python_enable_replacements = false")
    con.execute("SET GLOBAL autoinstall_known_extensions = false")
    con.execute("SET GLOBAL autoload_known_extensions = false")
    con.execute(f"SET GLOBAL allowed_directories = [{folders}]")
    con.execute("SET GLOBAL enable_external_access = false")
    con.execute("SET GLOBAL lock_configuration = true")
    return con


def run_select(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    params: Mapping[str, object] | None = None,
    *,
    seconds: float = 60.0,
    fetched: Callable[[duckdb.DuckDBPyConnection], None] = duckdb.DuckDBPyConnection.close,
) -> Result:
    """The rows of one checked SELECT, with a value for each ``$name`` in it, within ``seconds``.

    ``con`` is the result's own until its last row is fetched, since another query on it would end
    them; it is given to ``fetched`` then. Raises QueryError when the statement is refused or
    fails, a parameter is missing or not used, or the time is up.
    """
    # A number out of an array is none that DuckDB knows.
    given = params or {}
    values = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in given.items()
    }
    names = _parameters(_checked(sql))
    for name in sorted(names - values.keys()):
        known = ", ".join(f"${known}" for known in sorted(names))
        raise QueryError(f"the query takes {known}, and there is no value for ${name}; give it")
    for name in sorted(values.keys() - names):
        known = ", ".join(f"${known}" for known in sorted(names)) or "none"
        raise QueryError(f"the query has no parameter ${name}, it has {known}; leave it out")
    for name, value in values.items():
        if isinstance(value, str) and _UNBINDABLE.search(value):
            raise QueryError(f"${name} holds a zero byte or half a surrogate pair; leave that out")
    limit = TimeLimit(con, seconds)
    with limit.step():
        con.execute(sql, values) if values else con.execute(sql)
    return Result(con, limit, fetched)


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    # Without access: to parse IMPORT DATABASE, DuckDB opens the files that it names.
    return duckdb.connect(config={"threads": 1, "enable_external_access": "false"})


def _statement(sql: str) -> Node:
    """The tree of the one SELECT in ``sql``, without positions; QueryError if it is not that."""
    if len(sql) > LONGEST_SQL:
        raise QueryError(
            f"the query is longer than {LONGEST_SQL:,} characters; cut it into several"
        )
    if _CONTROL.search(sql):
        raise QueryError("the query holds control characters; write it as plain text")
    con = _parser().cursor()
    row = first_row(con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]))
    try:
        tree: Node = json.loads(row[0] if row else "", object_pairs_hook=_without_position)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply; write it in fewer levels") from error
    if tree["error"]:
        raise QueryError(_refusal(con, sql, tree["error_message"]))
    statements: list[Node] = tree["statements"]
    if not statements:
        raise QueryError("the query is empty; write one SELECT")
    if len(statements) > 1:
        raise QueryError(f"one SELECT at a time, not {len(statements)} statements; run them singly")
    return statements[0]


def _without_position(pairs: list[tuple[str, Any]]) -> Node:
    return {key: value for key, value in pairs if key != "query_location"}


def _refusal(con: duckdb.DuckDBPyConnection, sql: str, message: str) -> str:
    try:
        kinds = [str(one.type).rpartition(".")[2] for one in con.extract_statements(sql)]
    except duckdb.Error:
        kinds = []
    if kinds == ["EXPLAIN"]:
        return "EXPLAIN is refused here; write the SELECT itself"
    if kinds[:1] == ["CREATE"] and re.search(r"\bPIVOT", sql, re.IGNORECASE):
        return "one SELECT at a time; a PIVOT must list its columns: PIVOT t ON c IN (…) USING …"
    if len(kinds) > 1:
        return f"one SELECT at a time, not {len(kinds)} statements; run them singly"
    if kinds and kinds != ["SELECT"]:
        return f"only SELECT may run here, not {_words(kinds[0]).upper()}; {_INSTEAD}"
    if message.startswith("Only SELECT"):
        return f"only SELECT may run here; {_INSTEAD}"
    return f"{one_line(duckdb.Error(message))}; mend it there"


def _checked(sql: str) -> Node:
    statement = _statement(sql)
    of_tables: set[int] = set()
    for node in _nodes(statement["node"]):  # each before what is in it
        kind, part = node.get("class"), node.get("type")
        if id(node) in of_tables:
            _check_function(node, functions.TABLE_FUNCTIONS, "the table function")
        elif kind is not None:
            _check_expression(node)
        elif isinstance(part, str):
            if part not in _TABLES | _PARTS and not part.endswith("_TYPE_INFO"):
                raise QueryError(f"{_words(part)} is refused here; {_INSTEAD}")
            if part == "BASE_TABLE":
                _check_table(node)
            elif part == "TABLE_FUNCTION":
                of_tables.add(id(node["function"]))
            elif part == "SHOW_REF" and not node["query"] and node["table_name"] != '"tables"':
                raise QueryError(
                    "only tables are shown here; write SHOW TABLES or DESCRIBE and a name"
                )
    return statement


def _nodes(tree: object) -> Iterator[Node]:
    """Every object of the tree but constants, whose content is data."""
    rest = [tree]
    while rest:
        node = rest.pop()
        if isinstance(node, list):
            rest.extend(node)
        elif isinstance(node, dict) and "is_null" not in node:
            yield node
            rest.extend(value for value in node.values() if isinstance(value, dict | list))


def _check_expression(node: Node) -> None:
    kind = node["class"]
    if kind not in _EXPRESSIONS:
        raise QueryError(f"{_words(kind)} is refused here; {_INSTEAD}")
    if kind in ("FUNCTION", "WINDOW"):
        if node.get("export_state"):
            raise QueryError(f"EXPORT_STATE is refused here; {_INSTEAD}")
        _check_function(node, _CALLABLE, "the function")
    if kind == "PARAMETER" and not _NAME.fullmatch(node["identifier"]):
        raise QueryError("parameters have names here; write $name, not ? or $1")


def _check_function(node: Node, allowed: frozenset[str], what: str) -> None:
    name = str(node.get("function_name"))
    if name.casefold() not in allowed:
        if name.casefold() in functions.GIANTS:
            raise QueryError(
                f"{what} {name} is refused here, since one call can fill the memory; take rows "
                "FROM range(n) instead"
            )
        raise QueryError(
            f"{what} {name} is refused here; only functions of their arguments may run"
        )


def _check_table(node: Node) -> None:
    name, schema, catalog = node["table_name"], node["schema_name"], node["catalog_name"]
    if not _NAME.fullmatch(name) or _SYSTEM_TABLE.match(name):
        raise QueryError(f"{name!r} is refused here; only tables and views of the lake may be read")
    place = catalog.casefold(), schema.casefold()
    information = place == ("", "information_schema") and name.casefold() in _INFORMATION
    if place not in _SCHEMAS and not information:
        where = ".".join(part for part in (catalog, schema) if part)
        raise QueryError(f"{where}.{name} is refused here; only tables of the lake may be read")


def _parameters(statement: Node) -> set[str]:
    nodes = _nodes(statement["node"])
    return {node["identifier"] for node in nodes if node.get("class") == "PARAMETER"}


def _words(kind: str) -> str:
    return kind.lower().replace("_", " ")
