"""A compiled model: the same rows but for low bits, whatever is looked at inside."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from actlake.flows.extract import extract
from actlake.flows.extraction.compiled import compile_around
from actlake.flows.extraction.models import load_model
from actlake.flows.repair import repair
from actlake.storage.errors import ModelError
from actlake.storage.lake import Lake

SITES = ["resid_post.1", "attn_out.0", "mlp_act.1", "embed"]


@pytest.mark.soak  # a C++ compiler is at work for half a minute
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # their own
def test_extract__of_a_compiled_model_gives_its_rows(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # or processes stay behind
    model = str(tiny("llama"))
    given = {"source": model, "sites": SITES, "corpus": "c", "dtype": "float32"}
    plain = extract(lake, **given)  # type: ignore[arg-type]  # mixed

    compiled = extract(lake, **given, model="fast", rowset="c@tiny-llama", compiled=True)  # type: ignore[arg-type]

    for one, other in zip(plain, compiled, strict=True):
        np.testing.assert_allclose(lake.tensor(one)[:], lake.tensor(other)[:], atol=1e-5)
    attributes = lake.tensor(compiled[0]).attributes()
    assert attributes["compiled"]
    chunk = lake.tensor(compiled[2]).folder / "c.1.0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-9] + bytes(9))
    assert [one.done for one in repair(lake, models=[f"fast={model}"])] == [True]
    assert chunk.read_bytes() == whole


def test_compile_around__takes_the_largest_modules_that_hold_no_site(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_model(str(tiny("llama")), device="cpu").module
    taken: list[object] = []

    def compiled(forward: Callable[..., object], *, dynamic: bool) -> Callable[..., object]:
        assert dynamic
        taken.append(forward.__self__)  # type: ignore[attr-defined]  # of a bound method
        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    compile_around(module, ["layers.0.mlp.down_proj", "layers.1", "layers.2"])

    names = {id(one): name for name, one in module.named_modules()}
    assert [names[id(one)] for one in taken] == [
        "layers.0.self_attn",
        "layers.0.mlp.gate_proj",
        "layers.0.mlp.up_proj",
        "layers.0.mlp.down_proj",
        "layers.0.input_layernorm",
        "layers.0.post_attention_layernorm",
        "layers.1",
        "layers.2",
        "norm",
    ]


def test_compile_around__says_in_one_line_what_torch_says(
    tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_model(str(tiny("llama")), device="cpu").module

    def broken(forward: Callable[..., object], *, dynamic: bool) -> Callable[..., object]:
        def call(*_given: object, **_named: object) -> object:
            raise RuntimeError("no working C++ compiler\nwas found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ModelError, match=r"compile LlamaModel: no working C\+\+ compiler; leave"):
        compile_around(module, ["layers.1"])
