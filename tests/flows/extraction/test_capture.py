from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from actlake.flows.extraction.architectures import stacks
from actlake.flows.extraction.capture import capture, pool
from actlake.flows.extraction.models import LoadedModel, load_model
from actlake.flows.extraction.sites import canonical_sites, is_pooled
from actlake.flows.extraction.tokens import DocumentRows, tokenize_documents
from actlake.flows.extraction.windows import Window, windows_of_rows
from actlake.storage.errors import InputError, ModelError
from tests.flows.extraction.steps import apply, steps

ModelMaker = Callable[[str], Path]
TokenizerMaker = Callable[[int, int], PreTrainedTokenizerBase]
Rows = NDArray[np.float32]

EXPERTS = ("mixtral", "qwen2_moe", "qwen3_moe")
LLAMAS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", *EXPERTS)
PRE_NORM = (*LLAMAS, "gpt2", "gpt_neox", "gpt_neox_sequential", "opt", "t5", "t5_gated")
ARCHITECTURES = (*PRE_NORM, "bert", "roberta", "opt_post_norm")
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
    model: Any = case.loaded.module
    if case.loaded.facts.architecture == "t5":
        model = model.encoder
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
    norm = final_norm(case.loaded.module)
    assert worst(apply(norm, last) if norm else last, final) <= 1e-5
    if norm and architecture != "opt_post_norm":
        assert worst(last, final) > 1e-2  # before the norm is another place


def final_norm(model: Any) -> Any:
    """The module after the last block; None where there is none."""
    names = {"norm", "ln_f", "final_layer_norm", "project_out"}
    inner = getattr(model, "encoder" if model.config.model_type == "t5" else "decoder", model)
    return next((module for name, module in inner.named_children() if name in names), None)


@pytest.mark.parametrize("architecture", PRE_NORM)
def test_branches__add_up_to_the_residual_stream(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    rows = captured(architecture).rows
    for i in range(LAYERS):
        middle = rows[f"resid_pre.{i}"] + rows[f"attn_out.{i}"]
        if architecture != "gpt_neox":  # its branches are parallel: there is no middle
            assert worst(middle, rows[f"resid_mid.{i}"]) <= 1e-5
        assert worst(middle + rows[f"mlp_out.{i}"], rows[f"resid_post.{i}"]) <= 1e-5


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_site__follows_from_the_weights(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    """Each site in a branch gives the next one by the weights between them, step by step."""
    case = captured(architecture)
    model: Any = case.loaded.module
    seen = {"embed"}  # and the ends of the chain, which the hidden states hold
    for stack in stacks(model.config):
        seen.add(f"{stack.prefix}embed")
        for i, block in enumerate(model.get_submodule(stack.path)):
            rows = {
                name: case.rows[f"{stack.prefix}{name}.{i}"]
                for name in stack.sites
                if f"{stack.prefix}{name}.{i}" in case.rows
            }
            right = steps(block, rows, model.config)
            for site, expected in right.items():
                assert worst(rows[site], expected) <= 1e-5, (i, site)
            given = {"resid_pre", "head_out"} | ({"cross_head_out"} & set(rows))
            assert set(right) | given == set(rows)  # no cell of the table without a check
            seen |= {f"{stack.prefix}{name}.{i}" for name in rows}
    assert seen == set(case.rows)


@pytest.mark.parametrize("architecture", ["t5", "t5_gated"])
def test_decoder__sees_the_window_one_step_late(
    captured: Callable[[str], Captured], architecture: str
) -> None:
    case = captured(architecture)
    model: Any = case.loaded.module
    parts = []
    for window in case.windows:
        ids = torch.from_numpy(window.token_ids)[None]
        with torch.no_grad():
            output = model(
                input_ids=ids,
                decoder_input_ids=model._shift_right(ids),
                output_hidden_states=True,
            )
        parts.append([state[0].numpy()[window.kept] for state in output.decoder_hidden_states])
    states = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    assert worst(case.rows["decoder.embed"], states[0]) <= 1e-5
    for layer in range(LAYERS):
        assert worst(case.rows[f"decoder.resid_pre.{layer}"], states[layer]) <= 1e-5
    last = case.rows[f"decoder.resid_post.{LAYERS - 1}"]
    assert worst(apply(model.decoder.final_layer_norm, last), states[-1]) <= 1e-5


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
    sites = [s for s in case.rows if not s.endswith(".2") and not s.startswith("decoder.")]
    rows = capture(
        short, sites, case.windows, row_start=0, row_stop=len(case.rows["embed"]), token_budget=40
    )
    assert len(sites) >= 1 + 2 * 7
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
