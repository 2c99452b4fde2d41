"""Names of models, and GGUF files, become local directories."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFWriter

from actlake.flows.extraction import sources
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.storage.errors import ModelError


def test_package_source__is_found_without_importing_the_package(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "weights_of_somebody"
    shutil.copytree(folder, package / "small")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "secret").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    facts = inspect_model("package:weights_of_somebody/small")

    assert (facts.path, facts.name) == (package / "small", "small")
    assert facts.source == "package:weights_of_somebody/small"
    with pytest.raises(ModelError, match=r"no '../secret' in the package weights_of_somebody"):
        inspect_model("package:weights_of_somebody/../secret")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the model has no name; give a hub id"),
        ("nobody/no-such-model", "no model nobody/no-such-model on the hub or in its cache: .*"),
        ("two words//x", "no model two words//x on the hub"),
        ("./missing", "no model at ./missing; give a directory"),
        ("missing.gguf", "no model at missing.gguf; give a directory"),
        ("package:no_such_package/x", "no Python package 'no_such_package' for the model"),
        ("package:os.path/x", "no Python package 'os.path'"),
        ("package:json/x.gguf", "no 'x.gguf' in the package json; give a path that it holds"),
        ("package:json/decoder.py", "package:json/decoder.py is no model; give a directory"),
    ],
)
def test_missing_models__are_one_line(source: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        inspect_model(source)
    assert "\n" not in str(caught.value)


def write_gguf(file: Path) -> None:
    """A llama of one layer, d 8, with a byte-pair tokenizer of four tokens."""
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(1)
    writer.add_context_length(16)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(12)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(4)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["a", "b", "ab", "<end>"])
    writer.add_token_types([1, 1, 1, 3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(3)
    writer.add_eos_token_id(3)
    rng = np.random.default_rng(0)
    square, wide = (8, 8), (12, 8)
    shapes = {
        "token_embd.weight": (4, 8),
        "output_norm.weight": (8,),
        "blk.0.attn_norm.weight": (8,),
        "blk.0.ffn_norm.weight": (8,),
        **{f"blk.0.attn_{name}.weight": square for name in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{name}.weight": wide for name in ("gate", "up")},
        "blk.0.ffn_down.weight": (8, 12),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACTLAKE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "tiny.Q8.gguf"
    write_gguf(file)
    return file


def test_gguf__is_converted_once(
    gguf: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    facts = inspect_model(str(gguf))
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert facts.path == gguf.parent / "cache" / "models" / digest
    assert (facts.name, facts.layers, facts.width, facts.window_limit) == ("tiny.Q8", 1, 8, 16)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in facts.path.parent.iterdir()] == [digest]

    def again(gguf: Path, folder: Path) -> None:
        raise AssertionError("converted twice")

    monkeypatch.setattr(sources, "_convert", again)
    renamed = gguf.rename(gguf.with_name("other.gguf"))
    assert inspect_model(str(renamed)).fingerprint == facts.fingerprint
    module: Any = load_model(facts).module
    weights = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    np.testing.assert_array_equal(module.embed_tokens.weight.numpy(), weights)


def test_gguf__conversion_that_dies_leaves_nothing_that_is_taken_for_whole(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sources._convert

    def crash(gguf: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise KeyboardInterrupt

    monkeypatch.setattr(sources, "_convert", crash)
    with pytest.raises(KeyboardInterrupt):
        inspect_model(str(gguf))
    monkeypatch.setattr(sources, "_convert", whole)
    assert inspect_model(str(gguf)).layers == 1


def test_gguf__of_two_that_convert_at_once_one_wins(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sources._convert
    inner: list[str] = []

    def interrupted(file: Path, folder: Path) -> None:
        monkeypatch.setattr(sources, "_convert", whole)
        inner.append(inspect_model(str(gguf)).fingerprint)  # another process gets there first
        whole(file, folder)

    monkeypatch.setattr(sources, "_convert", interrupted)
    outer = inspect_model(str(gguf))
    assert inner == [outer.fingerprint]
    assert [path.name for path in outer.path.parent.iterdir()] == [outer.path.name]


def test_gguf__that_is_none_is_named(gguf: Path) -> None:
    gguf.write_bytes(b"GGUF nonsense" * 10)
    with pytest.raises(
        ModelError, match=r"tiny.Q8.gguf cannot be converted: .*; give the model in"
    ):
        inspect_model(str(gguf))
    assert list((gguf.parent / "cache" / "models").iterdir()) == []
