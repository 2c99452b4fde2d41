"""Spans of documents: as they were planted, whatever holds them, or a line that says where not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from actlake.flows.ingest import ingest
from actlake.flows.sources import Source, read
from actlake.storage import Document, Lake, Span
from actlake.storage.corpora import examine_documents
from actlake.storage.errors import CorpusError, InputError
from tests.flows.planted_documents import refusal, write_text

TEXT = "Ada 🙂 met Bo in Łódź."
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "text": TEXT,
        "year": 1901,
        "ner": [
            {"start": 0, "stop": 3, "value": "person"},
            {"start": 16, "stop": 20, "value": "place"},
        ],
    },
    {"id": "b", "text": "Nobody", "year": 1902, "ner": []},
    {"id": "c", "text": "Ada", "year": 1903, "ner": None},
]
PLANTED = [
    {"ner": (Span(0, 3, "person"), Span(16, 20, "place"))},
    {"ner": ()},
    {},
]


def write_jsonl(rows: list[dict[str, Any]], folder: Path) -> Path:
    return write_text(folder / "rows.jsonl", "\n".join(json.dumps(row) for row in rows))


def write_parquet(rows: list[dict[str, Any]], folder: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return folder / "rows.parquet"


def write_feather(rows: list[dict[str, Any]], folder: Path) -> Path:
    feather.write_feather(pa.Table.from_pylist(rows), folder / "rows.feather")
    return folder / "rows.feather"


def one(folder: Path, item: object, **more: Any) -> Source:
    """A source of the document ``a`` with ``item`` in its column ``ner``."""
    path = write_jsonl([{"id": "a", "text": TEXT, "ner": item}], folder)
    return Source(path=str(path), id="id", **{"spans": ("ner",), **more})


@pytest.mark.parametrize("writer", [write_jsonl, write_parquet, write_feather])
def test_read__gives_the_spans_that_were_planted(
    writer: Callable[[list[dict[str, Any]], Path], Path], tmp_path: Path
) -> None:
    path = str(writer(ROWS, tmp_path))
    for labels, kept in ((None, {"year"}), (("year",), {"year"}), ((), set())):
        found = [*read(Source(path=path, id="id", spans=("ner",), labels=labels))]
        assert [one.spans for one in found] == PLANTED
        assert {name for one in found for name in one.labels} == kept
    [first, *_] = read(Source(path=path, id="id", spans=("names=ner",)))
    assert [TEXT[span.start : span.stop] for span in first.spans["names"]] == ["Ada", "Łódź"]


def test_read__takes_the_words_of_other_tools(tmp_path: Path) -> None:
    item = [{"start": 0, "end": 3, "label": "PER", "score": 0.5}, {"start": 4, "stop": 5}]
    [found] = read(one(tmp_path, item))
    assert found.spans == {"ner": (Span(0, 3, "PER"), Span(4, 5, True))}
    rows = [{"text": TEXT, "ner": [{"start": 0, "stop": 3, "value": 2}, {"start": 0, "stop": 1}]}]
    [found] = read(Source(path=str(write_parquet(rows, tmp_path)), spans=("ner",)))
    assert found.spans == {"ner": (Span(0, 3, 2), Span(0, 1, True))}  # NULL is no value


def test_read__finds_spans_in_the_metadata(tmp_path: Path) -> None:
    write_text(tmp_path / "texts" / "a.txt", "Ada met Bo")
    table = write_text(
        tmp_path / "spans.jsonl", json.dumps({"id": "a", "ner": [{"start": 8, "stop": 10}]})
    )
    source = Source(
        path=str(tmp_path / "texts"), metadata=str(table), metadata_key="id", spans=("ner",)
    )
    [found] = read(source)
    assert found.spans == {"ner": (Span(8, 10),)}
    assert "ner" not in found.labels


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ([{"start": 3, "stop": 3}], "the span from 3 to 3 of the label 'ner' is not in document"),
        ([{"start": 5, "stop": 3}], "the span from 5 to 3"),
        ([{"start": -1, "stop": 3}], "the span from -1 to 3"),
        ([{"start": 0, "stop": 22}], "'a' of .*rows.jsonl:1, which has 21 characters; count code"),
        ([{"start": 0, "stop": 1 << 80}], "which has 21 characters"),
        ([{"start": 0}], "span 1 of the label 'ner' of document 'a' .*has nothing for 'stop'"),
        ([{"start": 0, "stop": 1}, {"stop": 1}], "span 2 of the label 'ner' .*nothing for 'start'"),
        ([{"start": 0.0, "stop": 1}], "has a float for 'start', which is a whole number; give a"),
        ([{"start": "0", "stop": 1}], "has text for 'start'"),
        ([{"start": True, "stop": 1}], "has a bool for 'start'"),
        ([{"start": 0, "stop": 1, "end": 1}], "has both 'stop' and 'end'"),
        ([{"start": 0, "stop": 1, "value": "x", "label": "y"}], "has both 'value' and 'label'"),
        ([{"start": 0, "stop": 1, "value": ["x"]}], "the label 'value' of span 1 .* is a list"),
        ([{"start": 0, "stop": 1, "value": "\ud800"}], "half a surrogate pair"),
        ([[0, 3, "PER"]], "span 1 .* is a list; give a list of {start, stop, value}, which JSON"),
        ([None], "is a NoneType"),
        ("PER", "the label 'ner' of document 'a' .*rows.jsonl:1. is text, not spans; give a list"),
        ({"start": 0, "stop": 1}, "is a structure, not spans"),
        (7, "is a int, not spans"),
    ],
)
def test_read__refuses_what_is_no_span_of_the_text(
    item: object, message: str, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=message) as told:
        list(read(one(tmp_path, item)))
    assert "\n" not in str(told.value)
    assert "; " in str(told.value)


def test_read__refuses_columns_that_hold_no_spans(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", 'text,ner\nw,"[{""start"": 0, ""stop"": 1}]"\n')
    assert "is text, not spans" in refusal(Source(path=str(tmp_path / "a.csv"), spans=("ner",)))
    write_text(tmp_path / "b.txt", "w")
    assert "has no column 'ner'" in refusal(
        Source(path=str(tmp_path / "b.txt"), spans=("ner",), labels=())
    )
    for name in ("a.csv", "b.txt"):
        assert "'other'" in refusal(Source(path=str(tmp_path / name), spans=("other",)))
    listed = one(tmp_path, [{"start": 0, "stop": 1}], spans=())
    assert "a list of spans with spans" in refusal(listed)
    with pytest.raises(InputError, match="two labels are called 'x'; name each once"):
        Source(path="a", labels=("x",), spans=("x=y",))


@pytest.mark.parametrize("unit", ["paragraph", "line"])
def test_units__have_the_parts_of_the_spans_that_are_in_them(unit: str, tmp_path: Path) -> None:
    text = "  one two\n\n \nthree\n\nfour five \n\n\n"
    words = {word: (text.index(word), text.index(word) + len(word)) for word in text.split()}
    item = [
        {"start": words["two"][0], "stop": words["three"][1], "value": "long"},
        {"start": words["five"][0], "stop": words["five"][1] + 2, "value": "end"},
        {"start": words["one"][1] + 4, "stop": words["three"][0], "value": "between"},
        {"start": 0, "stop": len(text), "value": "all"},
    ]
    path = write_jsonl([{"id": "a", "text": text, "ner": item}], tmp_path)
    found = [*read(Source(path=str(path), id="id", spans=("ner",), unit=unit))]  # type: ignore[arg-type]
    assert [one.text for one in found] == ["one two", "three", "four five"]
    parts = [
        [(one.value, document.text[one.start : one.stop]) for one in document.spans["ner"]]
        for document in found
    ]
    assert parts == [
        [("long", "two"), ("all", "one two")],
        [("long", "three"), ("all", "three")],
        [("end", "five"), ("all", "four five")],
    ]
    examine_documents(found, source="units")


def test_corpus__refuses_spans_that_are_none_and_labels_that_are_two_things() -> None:
    def told(*documents: Document) -> str:
        with pytest.raises(CorpusError) as caught:
            examine_documents(documents, source="here")
        return str(caught.value)

    inside = "not in document 'a' of here, which has 3 characters; count code points"
    for start, stop in ((0, 4), (2, 2), (-1, 1)):
        assert inside in told(Document("a", "Ada", spans={"ner": [Span(start, stop)]}))
    for odd in (0.0, True, np.int64(0)):
        span = Span(odd, 3)  # type: ignore[arg-type]
        assert f"is from {odd!r} to 3; give both as int" in told(
            Document("a", "Ada", spans={"ner": [span]})
        )
    both = "the label 'ner' of here is of whole documents and of spans, the second as of document"
    whole, part = Document("a", "Ada", {"ner": "x"}), Document("b", "Ada", spans={"ner": []})
    assert both in told(whole, part)
    assert both in told(part, whole)
    examine_documents([Document("a", "Ada", {"ner": None}), part], source="here")
    with pytest.raises(InputError, match="is no name for a label"):
        examine_documents([Document("a", "Ada", spans={"a/b": []})], source="here")


def test_corpus__has_the_fingerprint_of_its_documents_and_spans() -> None:
    def fingerprint(**spans: list[Span]) -> str:
        documents = [Document("a", "Ada met Bo", {"year": 1901}, spans)]
        return examine_documents(documents, source="here").fingerprint

    # Of a release before there were spans: what a lake has stays what it was.
    assert fingerprint() == "a9dfab64b389a3afeddfa303444c2d94"
    given: list[dict[str, list[Span]]] = [
        {},
        {"x": []},
        {"y": []},
        {"x": [Span(0, 3)]},
        {"x": [Span(0, 2)]},
        {"x": [Span(0, 3, "true")]},
        {"x": [Span(0, 3), Span(8, 10)]},
    ]
    assert len({fingerprint(**one) for one in given}) == len(given)


def test_ingest__keeps_spans_beside_other_corpora(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    path = write_jsonl(ROWS, tmp_path)
    ingest(lake, corpus="c", source=Source(path=str(path), id="id", spans=("ner",)))
    newest = lake.newest_snapshot()
    ingest(lake, corpus="c", source=Source(path=str(path), id="id", spans=("ner",)))
    assert lake.newest_snapshot() == newest
    (tmp_path / "more").mkdir()
    more = write_jsonl([{**ROWS[0], "id": "z"}], tmp_path / "more")
    ingest(lake, corpus="d", source=Source(path=str(more), id="id", spans=("ner",)))
    query = """
        SELECT corpus, document, char_start, char_stop, value_text FROM labels
        WHERE label = 'ner' ORDER BY ALL
    """
    spans = [(0, 0, 3, "person"), (0, 16, 20, "place")]
    assert [*lake.sql(query).rows()] == [
        *(("c", *one) for one in spans),
        ("c", 1, 0, 0, None),
        *(("d", *one) for one in spans),
    ]
    assert [*lake.verify()] == []
