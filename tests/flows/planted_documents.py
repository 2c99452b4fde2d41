"""The same documents in a file of every format, and what is refused of a source."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from actlake.flows.sources import Source, read
from actlake.storage.corpora import Document
from actlake.storage.errors import CorpusError

Write = Callable[[list[dict[str, Any]], Path], Path]

ROWS: list[dict[str, Any]] = [
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
