"""The questions in ``sql/queries``, and what they take."""

from actlake import sql
from actlake.storage.errors import NotFoundError

__all__ = ["query_parameters", "query_text"]


def query_text(name: str) -> str:
    """The SELECT of that name; NotFoundError, which offers near ones, if there is none."""
    try:
        return sql.text("queries", name)
    except KeyError as error:
        raise NotFoundError(error.args[0]) from None


def query_parameters(name: str) -> str:
    """What the query of that name takes, in the words of its header; empty if nothing."""
    reads = query_text(name).split("\n")[1].removeprefix("-- in:").strip()
    return reads.partition("; ")[2]
