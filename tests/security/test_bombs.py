"""Small files that want much memory: one line, in a process that has 3 GiB to spend and no more."""

import bz2
import gzip
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from tests.storage.conftest import Planted

pytestmark = pytest.mark.slow

BYTES = 3 << 30
PEAK = 2 << 10  # MiB that may ever be held of it
CELL = "x" * ((1 << 26) + 1)
MIB = b"x" * (1 << 20)


def repeated(text: str, times: int) -> pa.Table:
    """``text`` once, and as many rows that name it, as a column of texts and one of a label."""
    many = pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), [text])
    return pa.table({"id": ["a"] * times, "text": ["a"] * times, "label": many})


def parquet(path: Path, columns: Mapping[str, str]) -> None:
    pq.write_table(repeated(CELL, 5_000).select(list(columns)).rename_columns(columns), path)


def parquet_that_says_nothing_of_it(path: Path) -> None:
    """Its column is of plain texts, so that each row is a text of its own once it is read."""
    table = repeated(CELL, 5_000).select(["label"]).rename_columns(["text"])
    pq.write_table(table, path, store_schema=False)


def arrow(path: Path) -> None:
    """Its buffers are packed."""
    table = repeated(CELL, 5_000)
    options = ipc.IpcWriteOptions(compression="zstd")
    with ipc.new_file(path, table.schema, options=options) as file:
        file.write_table(table)


def packed(piece: bytes, times: int, start: bytes = b"") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = start + piece * times
        match path.suffix:
            case ".gz":
                path.write_bytes(gzip.compress(content, 1))
            case ".bz2":
                path.write_bytes(bz2.compress(content, 1))
            case _:
                path.write_bytes(pa.compress(content, "zstd", asbytes=True))

    return write


LINE = packed(MIB, 80)
TEXT = packed(MIB, 300)
CORPORA: Mapping[str, Callable[[Path], None]] = {
    "dictionary.parquet": lambda path: parquet(path, {"label": "text"}),
    "label.parquet": lambda path: parquet(path, {"text": "text", "label": "label"}),
    "plain.parquet": parquet_that_says_nothing_of_it,
    "packed.arrow": arrow,
    "line.jsonl.gz": LINE,
    "line.jsonl.bz2": LINE,
    "line.jsonl.zst": LINE,
    "text.txt.gz": TEXT,
    "text.txt.zst": TEXT,
    "cell.csv.gz": LINE,
    "cell.tsv.bz2": LINE,
    "row.csv.zst": packed(b'\n"' + b"," * (1 << 20) + b'"', 80, b'text\n"'),
    "deep.jsonl.gz": packed(b"[" * (1 << 20), 8),
    "objects.jsonl.zst": packed(b"{}," * (1 << 20), 30, b'{"text": "a", "n": ['),
}
METADATA: Mapping[str, Callable[[Path], None]] = {
    "label.parquet": lambda path: parquet(path, {"id": "id", "label": "label"}),
    "packed.arrow": arrow,
    "line.jsonl.gz": LINE,
    "cell.csv.zst": LINE,
    "row.tsv.bz2": packed(b'\n"' + b"\t" * (1 << 20) + b'"', 80, b'id\n"'),
}
CODE = """
import resource, sys
from actlake.flows.sources import Source, read
from actlake.storage.errors import CorpusError
given = {"path": sys.argv[1]}
if len(sys.argv) > 2:
    given = {"path": sys.argv[2], "id": "id", "metadata": sys.argv[1], "metadata_key": "id"}
try:
    for document in read(Source(**given)):
        pass
except CorpusError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


def bounded(code: str, *words: object) -> list[str]:
    """What Python writes that runs ``code`` in 3 GiB: its lines, the last of them its peak."""
    found = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES)),
        check=False,
    )
    assert found.returncode == 0, found.stderr[-500:]
    *lines, held = found.stdout.splitlines()
    assert int(held) < PEAK
    return [*lines, *found.stderr.splitlines()]


QUICK = ("plain.parquet", "packed.arrow", "line.jsonl.zst", "text.txt.gz", "row.csv.zst")
"""One of each kind; the rest is of the soak."""


def rows(table: Mapping[str, object], *quick: str) -> list[object]:
    return [
        pytest.param(name, marks=[] if name in quick else pytest.mark.soak, id=name)
        for name in table
    ]


@pytest.mark.parametrize("name", rows(CORPORA, *QUICK))
def test_corpus__that_is_a_bomb_is_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    CORPORA[name](path)
    assert path.stat().st_size < 4 << 20
    [line] = bounded(CODE, path)
    assert name in line
    assert "; " in line


@pytest.mark.parametrize("name", rows(METADATA, "label.parquet"))
def test_metadata__that_are_a_bomb_are_one_line(name: str, tmp_path: Path) -> None:
    path, documents = tmp_path / name, tmp_path / "documents.jsonl"
    documents.write_text('{"id": "a", "text": "a"}\n', "utf-8")
    METADATA[name](path)
    [line] = bounded(CODE, path, documents)
    assert name in line
    assert "; " in line


@pytest.mark.soak
def test_long_texts__of_which_a_file_holds_one_are_read_one_by_one(tmp_path: Path) -> None:
    """Together they are more than may be held."""
    path = tmp_path / "texts.parquet"
    table = repeated(CELL[: 1 << 26], 20).select(["label"]).rename_columns(["text"])
    pq.write_table(table, path, store_schema=False)
    assert bounded(CODE, path) == []


COMMAND = """
import resource, sys
from actlake.flows.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code == 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""
OF_A_LAKE: Mapping[str, str] = {
    "verify": "bytes instead of",
    "sql": "; run `actlake verify`",
}


def test_table_of_a_lake__in_whose_place_a_bomb_is_put_is_told(
    planted: Planted, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(planted.root, tmp_path / "lake"))
    [file] = (root / "tables/main/documents").glob("*.parquet")
    schema, times = pq.read_schema(file), 5_000
    text = pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), [CELL])
    names = pa.DictionaryArray.from_arrays(pa.array([0] * times, pa.int32()), ["c"])
    columns = {"corpus": names, "document": range(times), "source_id": names, "text": text}
    table = pa.table([columns[name] for name in schema.names], schema.names)
    pq.write_table(table, file, compression="zstd", store_schema=False)
    assert file.stat().st_size < 1 << 20
    for command, said in OF_A_LAKE.items():
        words = ["SELECT max(text) FROM documents"] if command == "sql" else []
        assert said in " ".join(bounded(COMMAND, command, "--lake", root, *words)), command
