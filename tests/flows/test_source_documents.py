"""Ids, labels and metadata of documents."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actlake.flows.sources import Source, read
from tests.flows.planted_documents import (
    refusal,
    write_text,
)


def test_read__ids_must_be_there(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.jsonl", '{"text": "x", "n": 7}\n{"text": "y", "n": null}\n')
    assert "a.jsonl:2 has no id: 'n' is missing" in refusal(Source(path=str(path), id="n"))
    write_text(path, '{"text": "x", "n": true}\n')
    assert "a.jsonl:1 has no id: 'n' is a bool" in refusal(Source(path=str(path), id="n"))
    write_text(path, '{"text": "x", "n": 1.5}\n')
    assert "a.jsonl:1 has no id: 'n' is a float" in refusal(Source(path=str(path), id="n"))


def test_read__other_values_of_tables_become_what_a_label_can_hold(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["x"],
            "day": [date(2026, 2, 24)],
            "price": [Decimal("1.25")],
            "gap": [float("nan")],
            "kind": pa.array(["red"]).dictionary_encode(),
            "big": pa.array([2**64 - 1], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (found,) = read(Source(path=str(tmp_path / "a.parquet")))
    planted = {
        "day": "2026-02-24",
        "price": 1.25,
        "gap": None,
        "kind": "red",
        "big": str(2**64 - 1),
    }
    assert found.labels == planted


def test_read__values_without_a_place_in_a_label_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"], "raw": [b"\x00"]}), tmp_path / "a.parquet")
    assert "a.parquet row 1 is a bytes" in refusal(Source(path=str(tmp_path / "a.parquet")))


@pytest.fixture
def speeches(tmp_path: Path) -> Source:
    for name, text in {"1901-A": "x y", "1902-B": "z", "0007": "old"}.items():
        write_text(tmp_path / "texts" / f"{name}.txt", text)
    write_text(
        tmp_path / "meta.csv",
        "fileid,year,party\n1902-B,1902,D\n0007,7,\n1901-A,1901,R\nunused,1,R\n",
    )
    return Source(
        path=str(tmp_path / "texts"), metadata=str(tmp_path / "meta.csv"), metadata_key="fileid"
    )


def test_metadata__is_joined_by_id_not_by_order(speeches: Source) -> None:
    found = {one.source_id: one.labels for one in read(speeches)}
    assert found == {
        "0007": {"fileid": "0007", "year": 7, "party": None},
        "1901-A": {"fileid": "1901-A", "year": 1901, "party": "R"},
        "1902-B": {"fileid": "1902-B", "year": 1902, "party": "D"},
    }
    named = replace(speeches, labels=("year", "address=fileid"))
    assert [one.labels for one in read(named)][1] == {"year": 1901, "address": "1901-A"}


def test_metadata__every_document_has_exactly_one_row(speeches: Source, tmp_path: Path) -> None:
    write_text(tmp_path / "texts" / "1903-C.txt", "new")
    message = refusal(speeches)
    assert "meta.csv has fileid = '1903-C', the id of" in message
    with (tmp_path / "meta.csv").open("a") as file:
        file.write("1903-C,1903,R\n1903-C,1904,R\n")
    assert "meta.csv:7 is a second row of metadata for '1903-C'" in refusal(speeches)


def test_metadata__columns_that_are_nowhere_are_refused(speeches: Source, tmp_path: Path) -> None:
    assert "did you mean 'fileid'" in refusal(replace(speeches, metadata_key="file_id"))
    message = refusal(replace(speeches, labels=("yeer",)))
    assert "is text and has no column 'yeer'" in message
    assert "did you mean 'year'" in message
    rows = write_text(tmp_path / "rows.csv", "fileid,text,year\n0007,x,7\n")
    both = replace(speeches, path=str(rows), id="fileid")
    assert "rows.csv:2 and its metadata both have 'year'" in refusal(both)
    (one,) = read(replace(both, labels=("party", "year")))
    assert (one.source_id, one.labels) == ("0007", {"party": None, "year": 7})


def test_metadata__keys_keep_their_spelling(tmp_path: Path) -> None:
    for name in ("10", "1.50"):
        write_text(tmp_path / "texts" / f"{name}.txt", name)
    meta = write_text(tmp_path / "meta.csv", "n,year\n1.50,1902\n10,1901\n")
    source = Source(path=str(tmp_path / "texts"), metadata=str(meta), metadata_key="n")
    assert [one.labels for one in read(source)] == [
        {"n": "1.50", "year": 1902},
        {"n": "10", "year": 1901},
    ]
