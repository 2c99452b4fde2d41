"""The questions in ``sql/queries``: what they take, and whether what they name is there."""

from collections.abc import Mapping

import duckdb

from actlake import sql
from actlake.storage.duck import first_row
from actlake.storage.errors import NotFoundError
from actlake.storage.keys import sought

__all__ = ["asked_query", "query_parameters"]

NAMES = {
    "codes": ("codes", "codes"),
    "others": ("codes", "codes"),
    "mask": ("masks", "mask"),
    "label": ("labels", "label"),
}
"""Table and column that have the name which a parameter of a query gives."""


def _text(name: str) -> str:
    try:
        return sql.text("queries", name)
    except KeyError as error:
        raise NotFoundError(error.args[0]) from None


def query_parameters(name: str) -> str:
    """What the query of that name takes, in the words of its header; empty if nothing."""
    reads = _text(name).split("\n")[1].removeprefix("-- in:").strip()
    return reads.partition("; ")[2]


def asked_query(
    connection: duckdb.DuckDBPyConnection,
    root: object,
    name: str,
    parameters: Mapping[str, object],
) -> str:
    """The SELECT of that name.

    NotFoundError, which offers near names, if there is none, and if there are no such codes, mask
    or label as ``parameters`` name: an answer without rows would look like one about them.
    """
    text = _text(name)
    for parameter in NAMES.keys() & parameters.keys():
        (table, column), value = NAMES[parameter], parameters[parameter]
        if isinstance(value, str):
            query = f"SELECT count(*) FROM {table} WHERE {column} = $name"  # noqa: S608 - ours
            if first_row(connection.execute(query, {"name": sought(value)})) == (0,):
                raise NotFoundError(f"no {column} {value!r} in {root}; see `actlake ls {table}`")
    return text
