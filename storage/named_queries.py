"""The questions in ``sql/queries``: what they take, and whether what they name is there."""

from collections.abc import Callable, Mapping

from actlake import sql
from actlake.storage.errors import NotFoundError
from actlake.storage.keys import sought
from actlake.storage.results import Result

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
    ask: Callable[..., Result], root: object, name: str, parameters: Mapping[str, object]
) -> str:
    """The SELECT of that name; ``ask(select, **parameters)`` asks the lake at ``root``.

    NotFoundError, which offers near names, if there is none, and if there are no such codes, mask
    or label as ``parameters`` name: an answer without rows would look like one about them.
    """
    text = _text(name)
    for parameter in NAMES.keys() & parameters.keys():
        (table, column), value = NAMES[parameter], parameters[parameter]
        if isinstance(value, str):
            query = f"SELECT 1 FROM {table} WHERE {column} = $name LIMIT 1"  # noqa: S608 - ours
            if not ask(query, name=sought(value)).rows():
                raise NotFoundError(f"no {column} {value!r} in {root}; see `actlake ls {table}`")
    return text
