"""Files of every format that a command takes, most of them faulty, as ``bad_values`` names them."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.flows.tiny import save_model

GOOD = [
    {"id": f"g{n}", "text": f"w1 w2 w{n}", "n": n, "same": "x", "real": 0.5, "side": "ab"[n % 2]}
    for n in range(4)
]
PIPELINE = """
[corpus]
name = "new"
[corpus.source]
path = "good.jsonl"
"""
CONTENT: dict[str, bytes | str] = {
    "good.jsonl": "\n".join(map(json.dumps, GOOD)),
    "empty.jsonl": "",
    "empty.csv": "",
    "header.csv": "id,text\n",
    "blank.jsonl": '{"text": "w1"}\n{"text": " \\n"}\n',
    "utf16.txt": "\ufeffa text".encode("utf-16"),
    "latin.jsonl": '{"text": "w1"}\n{"text": "é"}\n'.encode("latin-1"),
    "array.jsonl": '["text", "w1"]\n',
    "nan.jsonl": '{"text": "w1", "n": NaN}\n',
    "deep.jsonl": '{"text": ' + "[" * 100_000,
    "list.jsonl": '{"text": "w1", "tags": ["a"]}\n',
    "surrogate.jsonl": '{"text": "\\ud800"}\n',
    "ragged.csv": "id,text\na,w1\nb,w2,w3\n",
    "twice.csv": "text,n,text\na,1,b\n",
    "cut.csv.gz": gzip.compress(b"text\n" + b"w1 w2\n" * 10_000)[:40],
    "names.csv": "text,../x\nw1,2\n",
    "picture.png": b"\x89PNG\r\n\x1a\n",
    "good.toml": PIPELINE,
    "sets.toml": "digits = [1, 2]",
    "hollow.toml": "digits = []",
    "blank.toml": "",
    "png.arrow": b"\x89PNG\r\n\x1a\n",
    "broken.toml": "[corpus\nname = ",
    "deep.toml": "a = " + "[" * 100_000,
    "unknown.toml": PIPELINE + '[corpus.sourse]\npath = "x"\n',
    "wrong.toml": PIPELINE + "[summary]\nmasks = 3\n",
    "name.toml": PIPELINE.replace('"new"', '"../new"'),
}


def write_bad_files(folder: Path, model: Path) -> None:
    """Every file, and under ``other`` a model of the same name with another tokenizer."""
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    table = pa.table({"text": ["w1"] * 100})
    pq.write_table(table, folder / "cut.parquet")
    with pa.ipc.new_file(folder / "cut.arrow", table.schema) as arrow:
        arrow.write_table(table)
    for name in ("cut.parquet", "cut.arrow"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pa.ipc.new_stream(folder / "short.arrow", table.schema) as stream:
        stream.write_table(table)
    short = folder / "short.arrow"
    short.write_bytes(short.read_bytes()[: short.stat().st_size // 2])
    pq.write_table(pa.table({"text": [1, 2]}), folder / "numbers.parquet")
    other = save_model("llama", folder / "other" / model.name)
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"w0"', '"v0"'), "utf-8")
    (folder / "export").mkdir()
