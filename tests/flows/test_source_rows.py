"""Records of files: what they hold, and faults with file and line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from actlake.flows import source_rows
from actlake.flows.sources import Source, read
from actlake.storage.corpora import Document
from tests.flows.planted_documents import (
    ROWS,
    refusal,
    write_feather,
    write_parquet,
    write_text,
)


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


def test_read__a_value_that_python_has_not_is_named(tmp_path: Path) -> None:
    late = pa.array([1, 1 << 24], pa.int32()).cast(pa.date32())
    pq.write_table(pa.table({"text": ["a", "b"], "day": late}), tmp_path / "a.parquet")
    assert "the column 'day' of" in refusal(Source(path=str(tmp_path / "a.parquet")))


def test_read__text_that_is_cut_inside_a_letter_is_refused(tmp_path: Path) -> None:
    column = pa.Array.from_buffers(
        pa.string(),
        2,
        [None, pa.array([0, 1, 2], pa.int32()).buffers()[1], pa.py_buffer(b"\xc3\xa9")],
    )
    with ipc.new_file(tmp_path / "a.arrow", pa.schema({"text": pa.string()})) as file:
        file.write_batch(pa.record_batch([column], names=["text"]))
    assert "a.arrow" in refusal(Source(path=str(tmp_path / "a.arrow")))


@pytest.mark.parametrize(("name", "what"), [("a.jsonl.gz", "a line"), ("a.txt.gz", "text")])
def test_read__a_small_file_that_unpacks_to_anything_is_refused(
    name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("_LONGEST_LINE", "_LONGEST_TEXT"):
        monkeypatch.setattr(source_rows, limit, 1 << 20)
    path = write_text(tmp_path / name, gzip.compress(b"x" * (1 << 21)))
    assert path.stat().st_size < 4096
    assert f"has {what} of more than 1 MiB" in refusal(Source(path=str(path)))


def test_read__csv_columns_are_numbers_only_where_all_cells_are(tmp_path: Path) -> None:
    text = (
        "text,whole,real,both,zip,mixed,truth,huge,either,empty\n"
        "a,1,0.5,1,007,1,true,12345678901234567890,1,\n"
        "b,-2,1e3,2.5,12,n/a,FALSE,1,true,\n"
        "c,,,,,,,,,\n"
    )
    found = [one.labels for one in read(Source(path=str(write_text(tmp_path / "a.csv", text))))]
    assert [repr(one) for one in found] == [
        repr(labels)
        for labels in (
            {"whole": 1, "real": 0.5, "both": 1.0, "zip": "007", "mixed": "1", "truth": True}
            | {"huge": "12345678901234567890", "either": "1", "empty": None},
            {"whole": -2, "real": 1e3, "both": 2.5, "zip": "12", "mixed": "n/a", "truth": False}
            | {"huge": "1", "either": "true", "empty": None},
            dict.fromkeys("whole real both zip mixed truth huge either empty".split()),
        )
    ]


def test_read__ids_of_csv_keep_their_spelling(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.csv", "n,text\n1.50,10\n-0,20\n")
    found = [(one.source_id, one.text) for one in read(Source(path=str(path), id="n"))]
    assert found == [("1.50", "10"), ("-0", "20")]


def test_read__holds_one_batch_in_memory(tmp_path: Path) -> None:
    """Ten rows are read of a thousand: the rest is never touched."""
    lines = [json.dumps({"text": "x", "n": n}) for n in range(1000)] + ["not JSON"]
    documents = read(Source(path=str(write_text(tmp_path / "a.jsonl", "\n".join(lines)))))
    assert [next(documents).labels["n"] for _ in range(10)] == list(range(10))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,n\r\nx,1\r\n\r\n"),
        ("a.tsv", "text\tn\nx\t1"),
        ("a.jsonl", '{"text": "x", "n": 1}\r\n\r\n'),
    ],
)
def test_read__takes_files_as_spreadsheets_save_them(
    name: str, content: str, tmp_path: Path
) -> None:
    """With a byte-order mark, Windows line ends, and blank or missing last lines."""
    path = write_text(tmp_path / name, f"\ufeff{content}")
    assert list(read(Source(path=str(path)))) == [Document("a#1", "x", {"n": 1})]
