"""Files of every format that a command takes, most of them faulty, for ``refused_files``."""

import bz2
import gzip
import json
import shutil
import struct
from collections.abc import Callable, Mapping
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
PNG = b"\x89PNG\r\n\x1a\n"
IMAGES = ("bmp", "gif", "jpeg", "jpg", "tif", "tiff", "webp")
"""Suffixes of images, beside png."""
LONG = b"text\n" + b"".join(b"w%d\n" % (n * n) for n in range(1000))
PACKED: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "zst": lambda data: bytes(pa.compress(data, "zstd", asbytes=True)),
}


def _named(name: str, rest: bytes) -> bytes:
    """A key or a tensor of GGUF."""
    return struct.pack("<Q", len(name)) + name.encode() + rest


def _word(value: str) -> bytes:
    return struct.pack("<IQ", 8, len(value)) + value.encode()


def _gguf(tensors: int, keys: Mapping[str, bytes], *, version: int = 3, more: int = 0) -> bytes:
    """A GGUF file up to its tensors, which says that there are ``more`` keys than there are."""
    start = struct.pack("<IQQ", version, tensors, len(keys) + more)
    return b"GGUF" + start + b"".join(_named(*one) for one in keys.items())


MANY = 1 << 62
LLAMA = {
    "general.architecture": _word("llama"),
    **{
        f"llama.{name}": struct.pack("<II", 4, value)
        for name, value in {
            "block_count": 1,
            "context_length": 16,
            "embedding_length": 8,
            "feed_forward_length": 12,
            "attention.head_count": 2,
            "vocab_size": 4,
        }.items()
    },
}
CONTENT: dict[str, bytes | str] = {
    "good.jsonl": "\n".join(map(json.dumps, GOOD)),
    "empty.jsonl": "",
    "blank.jsonl": '{"text": "w1"}\n{"text": " \\n"}\n',
    "latin.jsonl": '{"text": "w1"}\n{"text": "é"}\n'.encode("latin-1"),
    "array.jsonl": '["text", "w1"]\n',
    "nan.jsonl": '{"text": "w1", "n": NaN}\n',
    "deep.jsonl": '{"text": ' + "[" * 100_000,
    "list.jsonl": '{"text": "w1", "tags": ["a"]}\n',
    "far-spans.jsonl": '{"text": "w1 w2", "ner": [{"start": 3, "stop": 9}]}\n',
    "back-spans.jsonl": '{"text": "w1 w2", "ner": [{"start": 2, "stop": 1}]}\n',
    "pair-spans.jsonl": '{"text": "w1 w2", "ner": [[0, 2]]}\n',
    "open-spans.jsonl": '{"text": "w1 w2", "ner": [{"start": 0}]}\n',
    "text-spans.csv": "text,ner\nw1,0-2\n",
    "surrogate.jsonl": '{"text": "\\ud800"}\n',
    "png.ndjson": PNG,
    "empty.text": "",
    "blank.md": " \n",
    "utf16.txt": "\ufeffa text".encode("utf-16"),
    "empty.csv": "",
    "header.csv": "id,text\n",
    "ragged.csv": "id,text\na,w1\nb,w2,w3\n",
    "twice.csv": "text,n,text\na,1,b\n",
    "names.csv": "text,../x\nw1,2\n",
    "empty.tsv": "",
    "header.tsv": "id\ttext\n",
    "blank.tsv": "id\ttext\na\tw1\nb\t\n",
    "ragged.tsv": "id\ttext\na\tw1\nb\tw2\tw3\n",
    "twice.tsv": "text\tn\ttext\na\t1\tb\n",
    "quote.tsv": 'id\ttext\na\tw1\nb\t"w2\nc\tw3\n',
    "commas.tsv": "id,text\na,w1\n",
    "latin.tsv": "text\nw1\né\n".encode("latin-1"),
    "utf16.tsv": "\ufefftext\nw1\n".encode("utf-16"),
    "names.tsv": "text\t../x\nw1\t2\n",
    "empty.parquet": "",
    "packed.parquet.gz": gzip.compress(LONG),
    "empty.arrow": "",
    "png.arrow": PNG,
    "png.feather": PNG,
    "picture.png": PNG,
    **{f"cut.{suffix}": PNG[:4] for suffix in IMAGES},
    "cut.npy": b"\x93NUMPY",
    **{f"cut.csv.{kind}": pack(LONG)[:-20] for kind, pack in PACKED.items()},
    **{f"plain.tsv.{kind}": LONG for kind in PACKED},
    **{f"other.csv.{kind}": PACKED["bz2" if kind == "gz" else "gz"](LONG) for kind in PACKED},
    **{f"tail.jsonl.{kind}": pack(b'{"text": "w1"}\n') + LONG for kind, pack in PACKED.items()},
    **{f"latin.txt.{kind}": pack(b"w1\n\xe9") for kind, pack in PACKED.items()},
    **{f"empty.tsv.{kind}": "" for kind in PACKED},
    **{f"hollow.jsonl.{kind}": pack(b"") for kind, pack in PACKED.items()},
    "unkeyed.csv": "name,author\ng0,A\n",
    "doubled.csv": "id,author\ng0,A\ng1,B\ng0,C\n",
    "lacking.tsv": "id\tauthor\ng0\tA\ng1\tB\ng2\tC\n",
    "both.jsonl": "\n".join(json.dumps({"id": one["id"], "n": 1}) for one in GOOD),
    "named.csv": "id,../x\n" + "".join(f"{one['id']},A\n" for one in GOOD),
    "tagged.jsonl": "\n".join(json.dumps({"id": one["id"], "tags": [1]}) for one in GOOD),
    "latin.csv": "id,author\ng0,é\n".encode("latin-1"),
    "sets.toml": "digits = [1, 2]",
    "text.toml": 'digits = "1"',
    "nan.toml": "digits = [nan]",
    "hollow.toml": "digits = []",
    "doubled.toml": 'digits = ["1"]\ndigits = ["2"]',
    "latin.toml": 'accents = ["é"]'.encode("latin-1"),
    "blank.toml": "",
    "broken.toml": "[corpus\nname = ",
    "deep.toml": "a = " + "[" * 100_000,
    "good.toml": PIPELINE,
    "nameless.toml": PIPELINE.replace('name = "new"', ""),
    "twice.toml": PIPELINE + "[corpus]\n",
    "unknown.toml": PIPELINE + '[corpus.sourse]\npath = "x"\n',
    "wrong.toml": PIPELINE + "[summary]\nmasks = 3\n",
    "shape.toml": PIPELINE + '[models]\nname = "m"\n',
    "huge.toml": PIPELINE + f"[export]\nfeatures = -1{'0' * 400}\n",
    "inf.toml": PIPELINE + '[[dictionaries]]\nmethod = "topk"\ntensor = "t"\nlearning_rate = inf\n',
    "name.toml": PIPELINE.replace('"new"', '"../new"'),
    "empty.gguf": "",
    "zip.gguf": b"PK\3\4" + bytes(100),
    "short.gguf": _gguf(1, LLAMA)[:10],
    "newer.gguf": _gguf(0, LLAMA, version=99),
    "keyless.gguf": _gguf(0, {}),
    "unknown.gguf": _gguf(0, {"general.architecture": _word("abacus")}),
    "cut.gguf": _gguf(0, LLAMA)[:-20],
    "keys.gguf": _gguf(0, LLAMA, more=MANY),
    "tensors.gguf": _gguf(MANY, LLAMA),
    "array.gguf": _gguf(0, {"a": struct.pack("<IIQ", 9, 4, MANY)}),
    "kind.gguf": _gguf(0, {"a": struct.pack("<I", 99)}),
    "layers.gguf": _gguf(0, LLAMA | {"llama.block_count": struct.pack("<II", 4, 10_000)}),
    "lacking.gguf": _gguf(0, LLAMA),
    "half.gguf": _gguf(1, LLAMA) + _named("output_norm.weight", struct.pack("<IQIQ", 1, 8, 0, 0)),
    "shape.gguf": _gguf(1, LLAMA)
    + _named("output_norm.weight", struct.pack("<IQQIQ", 2, 1 << 30, 1 << 30, 0, 0)),
}
MODELS: Mapping[str, tuple[str, bytes | None]] = {
    "bare-model": ("config.json", None),
    "odd-config": ("config.json", b"{"),
    "unknown-config": ("config.json", b'{"model_type": "abacus"}'),
    "huge-config": ("config.json", b'{"model_type": "llama", "num_hidden_layers": 10000}'),
    "odd-tokenizer": ("tokenizer.json", b"{"),
    "odd-index": ("model.safetensors.index.json", b"[]"),
    "part-index": ("model.safetensors.index.json", b'{"weight_map": {"w": "model-2.safetensors"}}'),
    "odd-weights": ("model.safetensors", struct.pack("<Q", MANY)),
}
"""A folder of a model, and which of its files holds what; None for one that is not there."""
_STATE = {
    "odd": "{",
    "wrong": "[]",
    "deep": "[" * 100_000,
    "part": '{"_data_files": [{"filename": "part-saved.arrow"}]}',
}
SAVED = {f"{one}-saved": ("state.json", text) for one, text in _STATE.items()} | {
    "split-saved": ("dataset_dict.json", "{}")
}


def write_bad_files(folder: Path, model: Path) -> None:
    """Every file, and models of that name: of another tokenizer in ``other``, changed weights."""
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    _write_tables(folder)
    for name, (file, text) in SAVED.items():
        (folder / name).mkdir()
        (folder / name / file).write_text(text, "utf-8")
    for name, (file, bad) in MODELS.items():
        place = shutil.copytree(model, folder / name) / file
        place.unlink(missing_ok=True) if bad is None else place.write_bytes(bad)
    cut = shutil.copytree(model, folder / "cut-weights") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    other = save_model("llama", folder / "other" / model.name)
    tokenizer = other / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"w0"', '"v0"'), "utf-8")
    changed = shutil.copytree(model, folder / "changed" / model.name) / "model.safetensors"
    weights = changed.read_bytes()
    changed.write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    (folder / "export").mkdir()


def _write_tables(folder: Path) -> None:
    """Those of Parquet and Arrow."""
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
    twice = pa.table([["w1"], ["w2"]], ["text", "text"])
    pq.write_table(twice, folder / "twice.parquet")
    with pa.ipc.new_file(folder / "twice.arrow", twice.schema) as arrow:
        arrow.write_table(twice)
    letters = pa.array([b"\xe9"]).view(pa.string())  # which is no UTF-8
    pq.write_table(pa.table({"text": letters}), folder / "latin.parquet")
