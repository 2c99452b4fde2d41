from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from actlake.flows.extraction.capture import capture, pool
from actlake.flows.extraction.models import LoadedModel, load_model
from actlake.flows.extraction.sites import canonical_sites, is_pooled
from actlake.flows.extraction.tokens import DocumentRows, tokenize_documents
from actlake.flows.extraction.windows import Window, windows_of_rows
from actlake.storage.errors import InputError, ModelError

ModelMaker = Callable[[str], Path]
TokenizerMaker = Callable[[int, int], PreTrainedTokenizerBase]
Rows = NDArray[np.float32]

PRE_NORM = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "gemma2", "gemma3_text")
ARCHITECTURES = (*PRE_NORM, "bert", "roberta")
LAYERS = 3
# Shorter than the window of 12, exactly one, and several; two specials a window.
LENGTHS = (3, 10, 1, 25, 41)


@dataclass
class Captured:
    """All sites of a small corpus by our code, and the inputs that it had."""

    loaded: LoadedModel
    windows: list[Window]
    rows: dict[str, Rows]


@pytest.fixture(scope="module")
def captured(tiny_model: ModelMaker, make_tokenizer: TokenizerMaker) -> Callable[[str], Captured]:
    known: dict[str, Captured] = {}

    def make(architecture: str) -> Captured:
        if architecture not in known:
            # The tokenizer again: transformers changes that of a directory by its architecture.
            loaded = replace(
                load_model(str(tiny_model(architecture))), tokenizer=make_tokenizer(1, 1)
            )
            windows, rows = windows_of_corpus(loaded)
            sites = [site for site in canonical_sites(loaded.module) if not is_pooled(site)]
            arrays = capture(loaded, sites, windows, row_start=0, row_stop=rows, token_budget=40)
            known[architecture] = Captured(loaded, windows, arrays)
        return known[architecture]

    return make


def corpus(loaded: LoadedModel) -> list[DocumentRows]:
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 20, n)) for n in LENGTHS]
    return list(tokenize_documents(loaded.tokenizer, texts, window=12, overlap=3))


def windows_of_corpus(
    loaded: LoadedModel, start: int = 0, stop: int | None = None
) -> tuple[list[Window], int]:
    documents = corpus(loaded)

    def read(name: str, first: int, last: int) -> NDArray[np.generic]:
        return np.concatenate([getattr(rows, name) for rows in documents])[first:last]

    rows = sum(document.rows for document in documents)
    return windows_of_rows(read, rows, start, stop or rows, windowing="document"), rows


def hidden_states(case: Captured) -> tuple[list[Rows], Rows]:
    """Residual stream before each block, and after the last norm, one unpadded window at a time."""
    model = case.loaded.module
    parts, finals = [], []
    for window in case.windows:
        with torch.no_grad():
            output = model(
                input_ids=torch.from_numpy(window.token_ids)[None], output_hidden_states=True
            )
        states = [state[0].numpy()[window.kept] for state in output.hidden_states]
        parts.append(states[:-1])
        finals.append(states[-1])
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)], np.concatenate(finals)


def worst(found: Rows, right: Rows) -> float:
    """The largest relative L2 distance of a row."""
    gap = np.linalg.norm(found.astype(np.float64) - right, axis=1)
    return float((gap / np.linalg.norm(right.astype(np.float64), axis=1)).max())


def apply(module: Any, values: Rows) -> Rows:
    with torch.no_grad():
        result: Rows = module(torch.from_numpy(values)).numpy()
    return result


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_residual_stream__is_the_models_own(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    case = captured(architecture)
    states, final = hidden_states(case)
    assert worst(case.rows["embed"], states[0]) <= 1e-5
    for layer in range(LAYERS):
        assert worst(case.rows[f"resid_pre.{layer}"], states[layer]) <= 1e-5
    for layer in range(LAYERS - 1):
        assert worst(case.rows[f"resid_post.{layer}"], states[layer + 1]) <= 1e-5
    last = case.rows[f"resid_post.{LAYERS - 1}"]
    model: Any = case.loaded.module
    norm = getattr(model, "norm", None) or getattr(model, "ln_f", None)
    assert worst(apply(norm, last) if norm else last, final) <= 1e-5
    if norm:
        assert worst(last, final) > 1e-2  # before the norm is another place


@pytest.mark.parametrize("architecture", PRE_NORM)
def test_branches__add_up_to_the_residual_stream(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    rows = captured(architecture).rows
    for i in range(LAYERS):
        middle = rows[f"resid_pre.{i}"] + rows[f"attn_out.{i}"]
        assert worst(middle, rows[f"resid_mid.{i}"]) <= 1e-5
        assert worst(middle + rows[f"mlp_out.{i}"], rows[f"resid_post.{i}"]) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_branches__follow_from_the_weights(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    """Each site in a branch gives the next one by the weights between them, step by step."""
    case = captured(architecture)
    model: Any = case.loaded.module
    for i in range(LAYERS):
        rows = {name.split(".")[0]: case.rows[name] for name in case.rows if name.endswith(f".{i}")}
        steps = {"gpt2": gpt2_steps, "bert": bert_steps, "roberta": bert_steps}
        for site, right in steps.get(architecture, llama_steps)(model, i, rows).items():
            assert worst(rows[site], right) <= 1e-5, site


def llama_steps(model: Any, layer: int, rows: Mapping[str, Rows]) -> dict[str, Rows]:
    block = model.layers[layer]
    both = model.config.model_type in ("gemma2", "gemma3_text")
    before = block.pre_feedforward_layernorm if both else block.post_attention_layernorm
    gate, up = apply(block.mlp.gate_proj, rows["mlp_in"]), apply(block.mlp.up_proj, rows["mlp_in"])
    attn_out = apply(block.self_attn.o_proj, rows["head_out"])
    mlp_out = apply(block.mlp.down_proj, rows["mlp_act"])
    if both:
        attn_out = apply(block.post_attention_layernorm, attn_out)
        mlp_out = apply(block.post_feedforward_layernorm, mlp_out)
    return {
        "attn_out": attn_out,
        "mlp_in": apply(before, rows["resid_mid"]),
        "mlp_act": apply(block.mlp.act_fn, gate) * up,
        "mlp_out": mlp_out,
    }


def gpt2_steps(model: Any, layer: int, rows: Mapping[str, Rows]) -> dict[str, Rows]:
    block = model.h[layer]
    return {
        "attn_out": apply(block.attn.c_proj, rows["head_out"]),
        "mlp_in": apply(block.ln_2, rows["resid_mid"]),
        "mlp_act": apply(block.mlp.act, apply(block.mlp.c_fc, rows["mlp_in"])),
        "mlp_out": apply(block.mlp.c_proj, rows["mlp_act"]),
    }


def bert_steps(model: Any, layer: int, rows: Mapping[str, Rows]) -> dict[str, Rows]:
    block = model.encoder.layer[layer]
    attention, output = block.attention.output, block.output
    inner = apply(block.intermediate.dense, rows["mlp_in"])
    return {
        "attn_out": apply(attention.dense, rows["head_out"]),
        "resid_mid": apply(attention.LayerNorm, rows["attn_out"] + rows["resid_pre"]),
        "mlp_in": rows["resid_mid"],
        "mlp_act": apply(block.intermediate.intermediate_act_fn, inner),
        "mlp_out": apply(output.dense, rows["mlp_act"]),
        "resid_post": apply(output.LayerNorm, rows["mlp_out"] + rows["resid_mid"]),
    }


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "bert"])
def test_shards__hold_the_rows_of_the_whole(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    """Windows that straddle an edge are run by both neighbours, each keeping its own rows."""
    case = captured(architecture)
    rows = len(case.rows["resid_post.1"])
    for start in range(0, rows, 16):
        stop = min(start + 16, rows)
        windows, _ = windows_of_corpus(case.loaded, start, stop)
        part = capture(
            case.loaded, ["resid_post.1"], windows, row_start=start, row_stop=stop, token_budget=30
        )["resid_post.1"]
        assert part.shape == (stop - start, 16)
        assert worst(part, case.rows["resid_post.1"][start:stop]) <= 1e-5


def test_same_plan__same_bits_and_only_the_sites_asked_for(
    captured: Callable[[str], Captured],
) -> None:
    case = captured("llama")
    rows = len(case.rows["embed"])
    again = capture(
        case.loaded, ["mlp_act.0"], case.windows, row_start=0, row_stop=rows, token_budget=40
    )
    assert list(again) == ["mlp_act.0"]
    assert again["mlp_act.0"].dtype == np.float32
    assert again["mlp_act.0"].tobytes() == case.rows["mlp_act.0"].tobytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_truncated_model__gives_the_bits_of_the_whole(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    case = captured(architecture)
    short = load_model(case.loaded.facts, last_layer=1)
    sites = [site for site in case.rows if not site.endswith(".2")]
    rows = capture(
        short, sites, case.windows, row_start=0, row_stop=len(case.rows["embed"]), token_budget=40
    )
    assert len(sites) == 1 + 2 * 8
    for site in sites:
        assert rows[site].tobytes() == case.rows[site].tobytes(), site
    with pytest.raises(ModelError, match=r"loaded up to layer 1; load the whole model"):
        pool(short, [case.windows], ["pooled.mean"], token_budget=40)


def test_module_input__may_come_by_keyword(captured: Callable[[str], Captured]) -> None:
    case = captured("llama")
    rows = len(case.rows["embed"])
    site = "layers.1.self_attn:input"
    found = capture(case.loaded, [site], case.windows, row_start=0, row_stop=rows, token_budget=40)
    model: Any = case.loaded.module
    right = apply(model.layers[1].input_layernorm, case.rows["resid_pre.1"])
    assert worst(found[site], right) <= 1e-5


def test_tokens_in_one_long_list__come_back_in_order(captured: Callable[[str], Captured]) -> None:
    """The MLP of opt sees (windows × tokens, width); alone, each window is its own reference."""
    case = captured("opt")
    rows = sum(len(window.kept) for window in case.windows)
    site = "decoder.layers.1.fc1:output"
    batched, alone = (
        capture(case.loaded, [site], case.windows, row_start=0, row_stop=rows, token_budget=budget)[
            site
        ]
        for budget in (60, 1)
    )
    assert worst(batched, alone) <= 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_compute_dtype__is_used_and_comes_back_as_float32(
    captured: Callable[[str], Captured], dtype: Any
) -> None:
    case = captured("llama")
    loaded = load_model(case.loaded.facts, compute_dtype=dtype)
    rows = len(case.rows["embed"])
    found = capture(
        loaded, ["resid_post.0"], case.windows, row_start=0, row_stop=rows, token_budget=40
    )["resid_post.0"]
    assert found.dtype == np.float32
    values = torch.from_numpy(found)
    assert torch.equal(values.to(getattr(torch, dtype)).float(), values)  # all of that precision
    assert 1e-5 < worst(found, case.rows["resid_post.0"]) < 0.1


def test_windows__must_hold_each_row_once(captured: Callable[[str], Captured]) -> None:
    case = captured("llama")
    rows, windows = len(case.rows["embed"]), case.windows

    def refused(windows: list[Window], message: str, start: int = 0) -> None:
        with pytest.raises(InputError, match=message):
            capture(
                case.loaded, ["embed"], windows, row_start=start, row_stop=rows, token_budget=40
            )

    refused(windows[:-1], f"the windows end at row {windows[-1].start} and not at {rows}")
    refused(windows[1:], "no window holds row 0 of")
    refused(windows[:2] + windows[3:], f"no window holds row {windows[2].start} of")
    refused([*windows, windows[0]], "two windows hold row 0 of")
    refused(windows, f"no rows from {rows} to {rows}", start=rows)


def test_windows_longer_than_the_model__are_refused(captured: Callable[[str], Captured]) -> None:
    case = captured("llama")
    many = np.arange(33)
    window = Window(0, 33, many % 20, many, many < 0)
    with pytest.raises(InputError, match="33 tokens is longer than the 32 positions of tiny-llama"):
        capture(case.loaded, ["embed"], [window], row_start=0, row_stop=33, token_budget=40)
