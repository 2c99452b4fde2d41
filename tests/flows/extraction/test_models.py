import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from actlake.flows.extraction.devices import choose_device, set_threads
from actlake.flows.extraction.models import (
    inspect_model,
    load_model,
    load_tokenizer,
)
from actlake.flows.extraction.skeletons import skeleton
from actlake.storage.errors import InputError, ModelError

ModelMaker = Callable[[str], Path]


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_facts__are_those_of_the_config(tiny_model: ModelMaker) -> None:
    folder = tiny_model("llama")
    facts = inspect_model(str(folder))
    assert (facts.name, facts.tokenizer, facts.path) == ("tiny-llama", "tiny-llama", folder)
    assert (facts.architecture, facts.layers, facts.width) == ("llama", 3, 16)
    assert (facts.vocabulary, facts.window_limit, facts.default_window) == (27, 32, 32)
    assert facts.revision is None
    assert inspect_model(str(folder), name="mine").name == "mine"


def test_window_limit__of_roberta_leaves_out_the_positions_up_to_padding(
    tiny_model: ModelMaker,
) -> None:
    facts = inspect_model(str(tiny_model("roberta")))
    assert facts.window_limit == 32 - 1  # padding is token 0, so positions start at 1
    model = load_model(facts).module
    model(input_ids=torch.full((1, 31), 5))
    with pytest.raises((IndexError, RuntimeError), match="index"):
        model(input_ids=torch.full((1, 32), 5))


def test_window_limit__may_be_absent(folder: Path) -> None:
    bloom = {"model_type": "bloom", "n_layer": 3, "hidden_size": 16, "vocab_size": 27}
    (folder / "config.json").write_text(json.dumps(bloom))
    facts = inspect_model(str(folder))
    assert (facts.window_limit, facts.default_window) == (None, 1024)


def test_fingerprint__is_of_the_files_and_the_revision(folder: Path, tmp_path: Path) -> None:
    before = inspect_model(str(folder))
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
    (moved / "README.md").write_text("not part of the model")
    assert inspect_model(str(moved)).fingerprint == before.fingerprint
    assert inspect_model(str(moved), revision="v2").fingerprint != before.fingerprint

    weights = load_file(folder / "model.safetensors")
    weights["norm.weight"] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    heavier = inspect_model(str(folder))
    assert heavier.fingerprint != before.fingerprint
    assert heavier.tokenizer_fingerprint == before.tokenizer_fingerprint

    (folder / "special_tokens_map.json").write_text("{}")
    other = inspect_model(str(folder))
    assert other.fingerprint != heavier.fingerprint
    assert other.tokenizer_fingerprint != before.tokenizer_fingerprint


def test_fingerprint__by_hand(folder: Path) -> None:
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors", "tokenizer.json"):
            file.unlink()
    names = ["config.json", "model.safetensors", "tokenizer.json"]
    parts = [(name, hashlib.sha256((folder / name).read_bytes()).hexdigest()) for name in names]
    text = "".join(f"{name}\0{value}\n" for name, value in sorted([*parts, ("revision", "")]))
    assert inspect_model(str(folder)).fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", "no config.json in .*copy for the model"),
        ("model.safetensors", "no weights in .*copy for the model .*; add model.safetensors"),
        ("tokenizer.json", "no tokenizer in .*copy for the model .*; add its tokenizer.json"),
    ],
)
def test_missing_files__are_named(folder: Path, missing: str, message: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=message):
        inspect_model(str(folder))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "the config of .*copy cannot be read: .*; check .*config.json"),
        ("tokenizer.json", "the tokenizer of .*copy cannot be read: .*; check its files"),
        ("model.safetensors", "the model .*copy cannot be loaded: .*; check its files"),
    ],
)
def test_broken_files__are_named(folder: Path, file: str, message: str) -> None:
    (folder / file).write_text("{ broken")
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)


def test_architectures_that_cannot_be_extracted__are_refused(folder: Path) -> None:
    edit_config(folder, model_type="nonesuch")
    with pytest.raises(ModelError, match=r"the config of .* cannot be read"):
        inspect_model(str(folder))
    edit_config(folder, model_type="vit")
    with pytest.raises(ModelError, match=r"no image processor in .*; add its preprocessor_config"):
        inspect_model(str(folder))


def test_weights_that_the_checkpoint_lacks__are_refused(folder: Path) -> None:
    """transformers fills them with random numbers, and goes on."""
    weights = load_file(folder / "model.safetensors")
    del weights["layers.1.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights, such as layers.1.mlp.down_proj.weight"):
        load_model(str(folder))


def test_encoder_without_pooler_weights__has_no_pooler(
    tiny_model: ModelMaker, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model("bert"), tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    model: Any = load_model(str(folder)).module
    assert model.pooler is None
    assert model(input_ids=torch.ones(1, 2, dtype=torch.long)).last_hidden_state.shape[-1] == 16


def test_load__is_ready_to_run(tiny_model: ModelMaker) -> None:
    loaded = load_model(str(tiny_model("llama")), device="cpu", attention="eager")
    assert not loaded.module.training
    assert not any(weight.requires_grad for weight in loaded.module.parameters())
    assert not loaded.module.config.use_cache
    assert (loaded.device, loaded.compute_dtype, loaded.attention) == ("cpu", "float32", "eager")
    assert type(loaded.module).__name__ == "LlamaModel"
    assert load_model(loaded.facts).attention == "sdpa"
    assert load_tokenizer(loaded.facts).get_vocab() == loaded.tokenizer.get_vocab()


def test_skeleton__has_modules_and_no_weights(tiny_model: ModelMaker) -> None:
    facts = inspect_model(str(tiny_model("gpt2")))
    bare, full = skeleton(facts), load_model(facts).module
    assert {weight.device.type for weight in bare.parameters()} == {"meta"}
    assert [name for name, _ in bare.named_modules()] == [name for name, _ in full.named_modules()]


def test_load__refuses_what_it_does_not_have(tiny_model: ModelMaker) -> None:
    facts = inspect_model(str(tiny_model("llama")))
    with pytest.raises(InputError, match=r"no device 'tpu9' here: .*; choose auto or cpu"):
        load_model(facts, device="tpu9")
    with pytest.raises(InputError, match="no compute dtype 'int8'; choose one of float32"):
        load_model(facts, compute_dtype="int8")
    with pytest.raises(ModelError, match="attention implementation nonesuch"):
        load_model(facts, attention="nonesuch")
    for layer in (-1, 3):
        with pytest.raises(ModelError, match=f"no layer {layer}; choose 0 to 2"):
            load_model(facts, last_layer=layer)


@pytest.mark.parametrize(
    ("cuda", "mps", "best"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_device__is_cuda_before_mps_before_cpu(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, best: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == best
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_device_that_is_not_here__is_named(device: str) -> None:
    kind = torch.backends.mps if device == "mps" else torch.cuda
    if kind.is_available():
        pytest.skip(f"{device} may be here")
    with pytest.raises(InputError, match=f"no device '{device}' here: .*; choose auto") as caught:
        choose_device(device)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["meta", "hpu", "privateuseone", "abacus"])
def test_device_that_computes_nothing__is_refused(device: str) -> None:
    with pytest.raises(InputError, match=f"device '{device}' .*; choose auto or cpu") as caught:
        choose_device(device)
    assert len(str(caught.value)) < 300


def test_set_threads__is_what_torch_uses() -> None:
    before = torch.get_num_threads()
    try:
        set_threads(2)
        assert torch.get_num_threads() == 2
    finally:
        set_threads(before)
    with pytest.raises(InputError, match="torch cannot run on 0 threads"):
        set_threads(0)
