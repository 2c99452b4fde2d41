"""Small files that want much memory: one line, in a process that has 3 GiB to spend and no more."""

import gzip
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

BYTES = 3 << 30
CELL = "x" * (1 << 26)


def parquet_of_one_text_many_times(path: Path) -> None:
    """64 MiB of text that a dictionary holds once and 5,000 rows name."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), [CELL])
    pq.write_table(pa.table({"text": text}), path, compression="zstd")


def parquet_of_columns(path: Path) -> None:
    """As many values of a label, of which each is long."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 5_000, pa.int32()), [CELL])
    pq.write_table(pa.table({"text": ["a"] * 5_000, "label": text}), path, compression="zstd")


def packed(content: bytes, times: int, end: bytes = b"") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(times):
                file.write(content)
            file.write(end)

    return write


MIB = b"x" * (1 << 20)
BOMBS: dict[str, Callable[[Path], None]] = {
    "dictionary.parquet": parquet_of_one_text_many_times,
    "label.parquet": parquet_of_columns,
    "line.jsonl.gz": packed(MIB, 1 << 9),
    "text.txt.gz": packed(MIB, 1 << 9),
    "cell.csv.gz": packed(MIB, 1 << 9),
    "deep.jsonl.gz": packed(b"[" * (1 << 20), 8),
}
CODE = """
import sys
from actlake.flows.sources import Source, read
from actlake.storage.errors import CorpusError
try:
    for document in read(Source(path=sys.argv[1])):
        pass
except CorpusError as error:
    print(error)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_bomb__is_one_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    BOMBS[name](path)
    assert path.stat().st_size < 16 << 20
    found = subprocess.run(
        [sys.executable, "-c", CODE, path],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES)),
        check=False,
    )
    assert found.returncode == 0, found.stderr[-500:]
    [line] = found.stdout.splitlines()
    assert name in line
