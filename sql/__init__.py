"""The SQL of a lake, as files: schema, views, queries and checks.

Each file is one statement named for what it returns. `schema` is applied in the order of its
numbers and never edited, `views` are made on each connection, `queries` take ``$parameters``,
and a row returned by one of the `checks` is a fault.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Literal, get_args

Kind = Literal["schema", "views", "queries", "checks"]

KINDS: tuple[Kind, ...] = get_args(Kind)


def names(kind: Kind) -> list[str]:
    """The names of all statements of ``kind``, sorted; those of `schema` keep their numbers."""
    return list(_statements(kind))


def text(kind: Kind, name: str) -> str:
    """The statement ``name`` of ``kind`` with its header, as in the file.

    Raises KeyError, offering the nearest names, if there is none.
    """
    statements = _statements(kind)
    if name not in statements:
        near = get_close_matches(name, statements, cutoff=0.4) or list(statements)
        known = f"did you mean {' or '.join(near)}" if near else "there are none yet"
        raise KeyError(f"no {name!r} in sql/{kind}; {known}")
    return statements[name]


@cache
def _statements(kind: Kind) -> Mapping[str, str]:
    if kind not in KINDS:
        raise KeyError(f"no kind {kind!r} of SQL; there are {', '.join(KINDS)}")
    folder = files(__name__) / kind
    found = sorted(
        (file.name.removesuffix(".sql"), file.read_text(encoding="utf-8"))
        for file in (folder.iterdir() if folder.is_dir() else ())
        if file.name.endswith(".sql")
    )
    return MappingProxyType(dict(found))
