"""SQL in values: every parameter of everything public that takes text is tried with it.

The parameters come from the signatures, so that a new one is tried as soon as it is there.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from actlake import sql
from actlake.storage import Document, Lake
from actlake.storage.corpora import Value
from actlake.storage.errors import LakeError
from tests.security.attempts import SQL
from tests.storage.conftest import Planted, content

GOOD: Mapping[str, Mapping[str, Any]] = {
    "tensor": {"name": "t:float32"},
    "codes": {"name": "d@c"},
    "rowset": {"name": "c@w"},
    "dictionary": {"name": "d"},
    "mask": {"name": "all"},
    "partials": {"codes": "d@c", "mask": "all", "code_version": "1"},
    "contexts": {"codes": "d@c", "feature": 0, "mask": "all"},
    "contexts_of": {"codes": "d@c", "features": [0, 1], "mask": "all"},
    "query": {"name": "lineage"},
    "table": {"name": "tokens"},
    "committed_shards": {"owner": "x"},
    "corpus_fingerprint": {"corpus": "c"},
    "create_mask": {"name": "new", "predicate": "true"},
    "create_corpus": {"name": "new", "documents": [Document("a", "text")], "source": "here"},
    "create_rowset": {
        "name": "new",
        "corpus": "c",
        "columns": {"document": np.arange(7)},
        "kind": "document",
        "tokenizer": None,
    },
    "create_tensor": {
        "name": "new",
        "rowset": "c@w",
        "width": 2,
        "model": "m",
        "site": "s",
        "dtype": "float16",
    },
}
"""Arguments with which each method of a lake would do its work."""

FREE = {("create_corpus", "source"), ("create_tensor", "site")}
"""Text that is stored and shown as it is given: see ``test_stored_text``."""

TRIED = SQL[::3]

OTHER = {"sql", "run", "open", "create", "pin"}
"""Methods whose text is SQL itself, names a flow of ours, a path, or is stored as it is."""


def takers() -> Iterator[tuple[str, str]]:
    """Every method of a lake and each of its parameters that takes text."""
    for name, method in vars(Lake).items():
        if name.startswith("_") or not callable(method):
            continue
        for one in signature(getattr(Lake, name)).parameters.values():
            if one.annotation in (str, "str", "str | None", str | None):
                yield name, one.name
            for options in get_args(one.annotation) if one.kind == Parameter.VAR_KEYWORD else ():
                kinds = get_type_hints(options)
                yield from ((name, option) for option, kind in kinds.items() if kind is str)


PAIRS = [pair for pair in takers() if pair[0] not in OTHER]


def test_methods__that_take_text_have_a_row() -> None:
    assert {method for method, _ in PAIRS} == set(GOOD)
    for method, arguments in GOOD.items():
        required = {
            name
            for name, one in signature(getattr(Lake, method)).parameters.items()
            if one.default is Parameter.empty and one.kind != Parameter.VAR_KEYWORD
        }
        assert required - {"self"} <= set(arguments)


@pytest.mark.parametrize(("method", "parameter"), [one for one in PAIRS if one not in FREE])
def test_text__with_sql_in_it_names_nothing(method: str, parameter: str, planted: Planted) -> None:
    before = content(planted.lake)
    for text in TRIED:
        arguments = {**GOOD[method], parameter: text}
        assert not _found(partial(getattr(planted.lake, method), **arguments)), text
    assert content(planted.lake) == before


def _found(call: Callable[[], object]) -> object:
    """What ``call`` returns, or None where it is refused in one line."""
    try:
        return call()
    except LakeError as error:
        return None if len(str(error).splitlines()) == 1 else str(error)


def test_stored_text__comes_back_as_it_was_given(bench: Lake) -> None:
    for number, text in enumerate((*SQL, "\x1b[31m", "<script>", "\u202e", "é\n")):
        name = f"injected{number}"
        values: dict[str, Value] = {"label": text, "n": number}
        bench.create_corpus(name, [Document(text, text, values)], source=text)
        asked: dict[str, Any] = {"corpus": name}
        query = "SELECT source_id, text FROM documents WHERE corpus = $corpus"
        assert bench.sql(query, **asked).rows() == [(text, text)]
        query = "SELECT value_text FROM labels WHERE corpus = $corpus AND label = 'label'"
        assert bench.sql(query, **asked).rows() == [(text,)]
        assert bench.sql("SELECT source FROM corpora WHERE source = $s", s=text).rows()
        assert bench.sql("SELECT $text", text=text).rows() == [(text,)]
        if number == 5:  # a commit each: a few of each kind are enough
            break


@pytest.mark.parametrize("name", sql.names("queries"))
def test_queries__take_values_as_values(name: str, planted: Planted) -> None:
    """Each parameter in turn: what names nothing gives the rows, or the refusal, of any such."""
    before = content(planted.lake)
    wanted = _parameters(planted.lake, name)
    for chosen in wanted:
        nothing = _asked(planted.lake, name, {**dict.fromkeys(wanted, 1), chosen: "nothing"})
        found = _asked(planted.lake, name, {**dict.fromkeys(wanted, 1), chosen: SQL[0]})
        assert found == nothing, chosen
    assert content(planted.lake) == before


def _asked(lake: Lake, name: str, values: Mapping[str, Any]) -> object:
    try:
        return lake.query(name, **values).rows()
    except LakeError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either is right
        return type(error)


def _parameters(lake: Lake, name: str) -> list[str]:
    """What a query asks for, as its refusals say."""
    found: list[str] = []
    while True:
        try:
            lake.query(name, **dict.fromkeys(found, 1))
        except LakeError as error:
            message = str(error)
            if "there is no value for $" not in message:
                return found
            found.append(message.rpartition("$")[2].removesuffix("; give it"))
        else:
            return found
