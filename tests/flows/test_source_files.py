"""Which files a source names, and what its documents are called."""

import bz2
import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from actlake.flows.source_files import find_files
from actlake.flows.sources import Source, read
from actlake.storage.corpora import Document
from tests.flows.planted_documents import (
    ROWS,
    refusal,
    write_saved_dataset,
    write_text,
)


def test_read__text_files_are_documents_named_by_their_path(tmp_path: Path) -> None:
    write_text(tmp_path / "b.txt", "\ufeffTwo\r\nlines\r")
    write_text(tmp_path / "a" / "c.d.txt", "Deeper é")
    write_text(tmp_path / "a" / "z.md", "Markdown")
    write_text(tmp_path / ".hidden.txt", "no")
    write_text(tmp_path / ".git" / "x.txt", "no")
    write_text(tmp_path / "other.bin", b"\xff\xfe")
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
    monkeypatch.setitem(sys.modules, "specless", ModuleType("specless"))
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
        "package:specless/a.txt": "no Python package 'specless'",
        "package:": "no Python package ''",
        "package:carrier/data/b.txt": "no file or folder package:carrier/data/b.txt (there is a",
    }.items():
        assert message in refusal(Source(path=path))


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
