"""Models as an attacker would hand them over: each a copy of a good one, with one thing changed."""

import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch


class Evil:
    """Whoever unpickles this makes the file that it names."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def _config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def _no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path, mark: Path) -> None:
    _no_safetensors(folder)
    with (folder / "pytorch_model.bin").open("wb") as file:
        pickle.dump(Evil(mark), file)


def pickled_by_torch(folder: Path, mark: Path) -> None:
    _no_safetensors(folder)
    torch.save(
        {"embed_tokens.weight": torch.zeros(2, 2), "x": Evil(mark)}, folder / "pytorch_model.bin"
    )


def zipped_pickle(folder: Path, mark: Path) -> None:
    _no_safetensors(folder)
    with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil(mark)))
        archive.writestr("archive/version", "3\n")


def own_code(folder: Path, mark: Path) -> None:
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    (folder / "modeling_evil.py").write_text(code, "utf-8")
    names = {"AutoConfig": "modeling_evil.Config", "AutoModel": "modeling_evil.Model"}
    _config(folder, auto_map=names, model_type="evil")


def own_code_of_tokenizer(folder: Path, mark: Path) -> None:
    code = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n"
    (folder / "tokenization_evil.py").write_text(code, "utf-8")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text("utf-8"))
    settings |= {
        "tokenizer_class": "EvilTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_evil.EvilTokenizer", None]},
    }
    path.write_text(json.dumps(settings), "utf-8")
    _config(folder, tokenizer_class="EvilTokenizer")


def _header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def huge_tensor(folder: Path, mark: Path) -> None:
    del mark

    def change(header: dict[str, Any]) -> None:
        first = next(name for name in header if name != "__metadata__")
        header[first]["shape"] = [1 << 40, 1 << 20]

    _header(folder, change)


def tensor_of_petabytes(folder: Path, mark: Path) -> None:
    """Its shape and its offsets agree; the file has no such bytes."""
    del mark

    def change(header: dict[str, Any]) -> None:
        last = max(
            (n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"]
        )
        start = header[last]["data_offsets"][0]
        header[last] = {"dtype": "F32", "shape": [1 << 30, 1 << 20]}
        header[last]["data_offsets"] = [start, start + (1 << 52)]

    _header(folder, change)


def offsets_beyond_the_file(folder: Path, mark: Path) -> None:
    del mark

    def change(header: dict[str, Any]) -> None:
        last = max(
            (n for n in header if n != "__metadata__"), key=lambda n: header[n]["data_offsets"]
        )
        header[last]["data_offsets"][1] += 1 << 40

    _header(folder, change)


def header_beyond_the_file(folder: Path, mark: Path) -> None:
    del mark
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + path.read_bytes()[8:])


def header_that_is_no_json(folder: Path, mark: Path) -> None:
    del mark
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 100) + b"[" * 100)


def _weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors"
    weights = {name: rows.copy() for name, rows in safetensors.numpy.load_file(path).items()}
    change(weights)
    safetensors.numpy.save_file(weights, path, {"format": "pt"})


def other_shapes(folder: Path, mark: Path) -> None:
    del mark
    _weights(folder, lambda weights: weights.update({"norm.weight": np.zeros(17, np.float32)}))


def weights_that_are_nan(folder: Path, mark: Path) -> None:
    del mark
    _weights(folder, lambda weights: [rows.fill(np.nan) for rows in weights.values()])


def empty_weights(folder: Path, mark: Path) -> None:
    del mark
    (folder / "model.safetensors").write_bytes(b"")


def index_that_leaves_the_folder(folder: Path, mark: Path) -> None:
    del mark
    shutil.move(folder / "model.safetensors", folder.parent / "outside.safetensors")
    names = safetensors.numpy.load_file(folder.parent / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../outside.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")


def huge_config(folder: Path, mark: Path) -> None:
    del mark
    _config(folder, hidden_size=1 << 40, num_hidden_layers=1 << 20)


def wrong_config(folder: Path, mark: Path) -> None:
    del mark
    _config(folder, hidden_size="many", num_attention_heads=0)


def nested_config(folder: Path, mark: Path) -> None:
    del mark
    (folder / "config.json").write_text('{"a": ' + "[" * 100_000, "utf-8")


def config_that_is_a_list(folder: Path, mark: Path) -> None:
    del mark
    (folder / "config.json").write_text("[1, 2]", "utf-8")


def nested_tokenizer(folder: Path, mark: Path) -> None:
    del mark
    path, deep = folder / "tokenizer.json", 100_000
    settings = json.loads(path.read_text("utf-8")) | {"normalizer": "here"}
    nested = '{"type":"Sequence","normalizers":[' * deep + "]}" * deep
    path.write_text(json.dumps(settings).replace('"here"', nested), "utf-8")


def tokenizer_that_is_no_json(folder: Path, mark: Path) -> None:
    del mark
    (folder / "tokenizer.json").write_text("{" * 1000, "utf-8")


ATTEMPTS = (
    pickled,
    pickled_by_torch,
    zipped_pickle,
    own_code,
    own_code_of_tokenizer,
    huge_tensor,
    tensor_of_petabytes,
    offsets_beyond_the_file,
    header_beyond_the_file,
    header_that_is_no_json,
    other_shapes,
    weights_that_are_nan,
    empty_weights,
    index_that_leaves_the_folder,
    huge_config,
    wrong_config,
    nested_config,
    config_that_is_a_list,
    nested_tokenizer,
    tokenizer_that_is_no_json,
)
