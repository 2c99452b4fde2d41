"""Files of documents as people have them, whole or damaged, and how libraries read them."""

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]
FORMATS = ("jsonl", "csv", "tsv", "parquet", "feather", "txt")

WORDS = (
    *(
        "war",
        "peace",
        "naïve",
        "日本語",
        "👩‍🚀",
        "שלום",
        "\u202eterces",
        "a\tb",
        'say "so"',
        "1,5",
        "'",
    ),
    *(
        "line\nbreak",
        "cr\r\nlf",
        "NaN",
        "null",
        "007",
        "<script>",
        "{",
        "[",
        "\\",
        "\u2028",
        "\x85",
    ),
)
PIECES = (
    *(
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\r\n",
        b'"',
        b",",
        b"\t",
        b"{",
        b"}",
        b"[" * 3000,
    ),
    *(
        b"\\ud800",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\x1b[31m",
        b"x" * 70_000,
    ),
    *(
        b'"text":',
        b"text",
        b"\xf0\x9f",
        b"\x1f\x8b\x08",
        b"PAR1",
        b"ARROW1",
        b"99999999999999999999",
    ),
)


@dataclass(frozen=True, slots=True)
class Planted:
    """A file, and whether it was left as it was written."""

    path: Path
    format: str
    damaged: bool


def plant(folder: Path, random: np.random.Generator) -> Planted:
    """A file of one to six documents in any format; half of them damaged in one to three places."""
    format = str(random.choice(FORMATS))
    rows = _rows(random, typed=format in ("parquet", "feather"))
    path = folder / f"rows.{format}"
    content = _WRITERS[format](rows)
    damaged = bool(random.random() < 0.5)
    if damaged:
        for _ in range(random.integers(1, 4)):
            content = _damaged(content, random)
    path.write_bytes(content)
    return Planted(path, format, damaged)


def read_independently(planted: Planted) -> list[tuple[str, dict[str, Any]]]:
    """Text and other columns of each document, by libraries alone; raises whatever they raise."""
    return [(str(row.pop("text")), row) for row in _READERS[planted.format](planted.path)]


def same_label(ours: object, theirs: object) -> bool:
    """Whether a label is the value that a library read; a cell of CSV may have become a number."""
    if theirs == "" or (isinstance(theirs, float) and math.isnan(theirs)):
        return ours is None
    if isinstance(theirs, datetime | date):
        return ours == theirs.isoformat()
    if isinstance(theirs, Decimal):
        return ours == float(theirs)
    if isinstance(theirs, int) and not -(1 << 63) <= theirs < 1 << 63:
        return ours == str(theirs)
    if isinstance(theirs, str) and not isinstance(ours, str | None):
        return repr(ours) == repr(json.loads(theirs.lower())) or ours == json.loads(theirs.lower())
    return type(ours) is type(theirs) and ours == theirs


def _rows(random: np.random.Generator, *, typed: bool) -> Rows:
    def text() -> str:
        return " ".join([*random.choice(WORDS, random.integers(1, 6)), "end"])

    makers: dict[str, Callable[[], Any]] = {
        "whole": lambda: int(random.integers(-5, 5)),
        "real": lambda: float(random.normal()),
        "word": lambda: str(random.choice(WORDS)),
        "truth": lambda: bool(random.random() < 0.5),
    }
    if not typed:  # a column of anything, which a typed file cannot have
        kinds = [*makers.values()]
        makers["mixed"] = lambda: kinds[random.integers(len(kinds))]()
    if typed:
        makers |= {
            "day": lambda: date(2020, 1, int(random.integers(1, 28))),
            "moment": lambda: datetime(2020, 1, 1, int(random.integers(24))),
            "money": lambda: Decimal(int(random.integers(1000))) / 100,
        }
    kept = [name for name in makers if random.random() < 0.6]
    return [
        {"text": text()}
        | {name: None if random.random() < 0.15 else makers[name]() for name in kept}
        for _ in range(random.integers(1, 7))
    ]


def _damaged(content: bytes, random: np.random.Generator) -> bytes:
    at = int(random.integers(len(content) + 1))
    match random.integers(5):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes(random.integers(0, 256, 1, np.uint8)) + content[at + 1 :]
        case 2:
            stop = min(len(content), at + int(random.integers(1, 40)))
            return content[:stop] + content[at:]
        case _:
            piece = PIECES[random.integers(len(PIECES))]
            return content[:at] + piece + content[at:]


def _json_lines(rows: Rows) -> bytes:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()


def _separated(delimiter: str) -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        table.writeheader()
        table.writerows(rows)
        return text.getvalue().encode()

    return write


def _parquet(rows: Rows) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _feather(rows: Rows) -> bytes:
    sink = io.BytesIO()
    feather.write_feather(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _first_text(rows: Rows) -> bytes:
    return str(rows[0]["text"]).encode()


_WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": _json_lines,
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "parquet": _parquet,
    "feather": _feather,
    "txt": _first_text,
}


def _read_json(path: Path) -> Rows:
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [json.loads(line.decode()) for line in lines if line.decode().strip()]


def _read_separated(delimiter: str) -> Callable[[Path], Rows]:
    def read(path: Path) -> Rows:
        text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
        rows = [one for one in csv.reader(text, delimiter=delimiter, strict=True) if one]
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]

    return read


def _read_text(path: Path) -> Rows:
    text = path.read_bytes().decode("utf-8-sig")
    return [{"text": text.replace("\r\n", "\n").replace("\r", "\n")}]


_READERS: dict[str, Callable[[Path], Rows]] = {
    "jsonl": _read_json,
    "csv": _read_separated(","),
    "tsv": _read_separated("\t"),
    "parquet": lambda path: pq.ParquetFile(path).read().to_pylist(),
    "feather": lambda path: feather.read_table(path, memory_map=False).to_pylist(),
    "txt": _read_text,
}
