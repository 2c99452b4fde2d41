"""Wherever a name is given, a hostile one is refused in one line, and nothing is written."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from actlake.storage import Document, Lake
from actlake.storage.codes_writer import plan_codes
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.errors import InputError
from tests.security.attempts import NAMES
from tests.storage.conftest import Planted, codes_plan, content

DOCUMENTS = [Document("a", "text")]
WEIGHTS = {"decoder": np.zeros((2, 2), np.float32)}


def _dictionary(lake: Lake, name: str) -> None:
    same: dict[str, Any] = {"method": "m", "tensor": "t:float32", "n_features": 2, "width": 2}
    with lake.run("test", {}, {}) as run:
        write_dictionary(
            run, name=name, config={}, arrays=WEIGHTS, fingerprint="f", tables={}, **same
        )


def _codes(lake: Lake, name: str) -> None:
    with lake.run("test", {}, {}) as run:
        plan_codes(run, codes_plan(name, lake.rowset("c@w")))


def _label(lake: Lake, name: str) -> None:
    lake.create_corpus("new", [Document("a", "text", {name: 1})])


PLACES: dict[str, Callable[[Lake, str], object]] = {
    "corpus": lambda lake, name: lake.create_corpus(name, DOCUMENTS),
    "label": _label,
    "rowset": lambda lake, name: lake.create_rowset(
        name, corpus="c", columns={"document": np.arange(7)}
    ),
    "tokenizer": lambda lake, name: lake.create_rowset(
        "new", corpus="c", columns={"document": np.arange(7)}, tokenizer=name
    ),
    "tensor": lambda lake, name: lake.create_tensor(name, rowset="c@w", width=2),
    "model": lambda lake, name: lake.create_tensor("new", rowset="c@w", width=2, model=name),
    "dictionary": _dictionary,
    "codes": _codes,
    "mask": lambda lake, name: lake.create_mask(name, "true"),
}
"""Whatever takes the name of something new."""

WITH_A_RUN = ("dictionary", "codes")
"""Here each attempt is a run with its commits, so that some of the names are enough."""

READERS: dict[str, Callable[[Lake, str], object]] = {
    "tensor": lambda lake, name: lake.tensor(name),
    "codes": lambda lake, name: lake.codes(name),
    "rowset": lambda lake, name: lake.rowset(name),
    "dictionary": lambda lake, name: lake.dictionary(name),
    "mask": lambda lake, name: lake.mask(name),
    "table": lambda lake, name: lake.table(name),
    "query": lambda lake, name: lake.query(name),
    "contexts": lambda lake, name: lake.contexts(name, 0),
    "corpus": lambda lake, name: lake.corpus_fingerprint(name),
}
"""Whatever takes the name of something there."""


@pytest.mark.parametrize("place", PLACES)
def test_name__of_something_new_that_is_hostile_is_refused(place: str, bench: Lake) -> None:
    before = {key: value for key, value in content(bench).items() if key != "tables"}
    things = _things(bench)
    for name in NAMES[:: 4 if place in WITH_A_RUN else 1]:
        with pytest.raises(InputError) as caught:
            PLACES[place](bench, name)
        assert len(str(caught.value).splitlines()) == 1
        assert "is no name for a" in str(caught.value)
    after = {key: value for key, value in content(bench).items() if key in before}
    assert after == before  # and so no new file outside the tables
    assert _things(bench) == things


@pytest.mark.parametrize("place", READERS)
def test_name__of_something_there_finds_nothing_where_it_is_hostile(
    place: str, planted: Planted
) -> None:
    before = content(planted.lake)
    for name in NAMES:
        with pytest.raises(InputError) as caught:
            READERS[place](planted.lake, name)
        assert "Traceback" not in str(caught.value)
    assert content(planted.lake) == before


def _things(lake: Lake) -> list[Any]:
    tables = ("corpora", "documents", "labels", "rowsets", "tensors", "dictionaries", "codes")
    return [lake.sql(f"SELECT count(*) FROM {one}").rows() for one in (*tables, "masks")]


def test_columns__of_a_result_that_are_hostile_are_shown_and_not_obeyed(planted: Planted) -> None:
    for name in NAMES[:9]:
        quoted = name.replace('"', '""')
        assert planted.lake.sql(f'SELECT 1 AS "{quoted}"').columns == (name,)
    assert isinstance(planted.lake.sql("SELECT 1 AS a").arrow(), pa.Table)
