"""What a model computes, by hooks and windows written out for the tests alone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actlake.storage.lake import Lake

Rows = NDArray[np.float32]
Windows = Iterable[tuple[list[int], list[int]]]
"""What the model sees of each window, and which of it are new rows."""
Taps = Mapping[str, tuple[torch.nn.Module, str]]
"""Alias to the module and side that hold it, written out for one block of one architecture."""


def llama_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.input_layernorm, "input"),
        "attn_out": (block.self_attn.o_proj, "output"),
        "resid_mid": (block.post_attention_layernorm, "input"),
        "mlp_in": (block.mlp.up_proj, "input"),
        "mlp_act": (block.mlp.down_proj, "input"),
        "mlp_out": (block.mlp.down_proj, "output"),
        "head_out": (block.self_attn.o_proj, "input"),
        "resid_post": (block, "output"),
    }


def gemma_taps(block: Any) -> Taps:
    return dict(llama_taps(block)) | {
        "attn_out": (block.post_attention_layernorm, "output"),
        "resid_mid": (block.pre_feedforward_layernorm, "input"),
        "mlp_out": (block.post_feedforward_layernorm, "output"),
    }


def gpt2_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.ln_1, "input"),
        "attn_out": (block.attn.c_proj, "output"),
        "resid_mid": (block.ln_2, "input"),
        "mlp_in": (block.mlp.c_fc, "input"),
        "mlp_act": (block.mlp.act, "output"),
        "mlp_out": (block.mlp.c_proj, "output"),
        "head_out": (block.attn.c_proj, "input"),
        "resid_post": (block, "output"),
    }


def bert_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.attention.self.query, "input"),
        "attn_out": (block.attention.output.dropout, "input"),
        "resid_mid": (block.attention.output.LayerNorm, "output"),
        "mlp_in": (block.intermediate, "input"),
        "mlp_act": (block.intermediate, "output"),
        "mlp_out": (block.output.dropout, "input"),
        "head_out": (block.attention.output, "input"),
        "resid_post": (block.output.LayerNorm, "output"),
    }


BLOCKS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Taps]]] = {
    "llama": (lambda model: model.layers, llama_taps),
    "gpt2": (lambda model: model.h, gpt2_taps),
    "bert": (lambda model: model.encoder.layer, bert_taps),
}


def windows(
    tokenizer: Any,
    texts: list[str],
    window: int,
    overlap: int,
    *,
    packed: bool,
    specials: tuple[int, int] = (1, 1),
) -> Windows:
    """What the model sees, and which of it are new rows, window by window in the order of rows.

    The tokenizer adds so many ``specials`` before and after a text.
    """
    contents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    before, after = _around(tokenizer, texts[0], specials)
    if packed:
        stream = [token for ids in contents for token in before + ids + after]
        for ids, carried in _pieces(stream, window, overlap):
            yield ids, list(range(carried, len(ids)))
        return
    for content in contents:
        for ids, carried in _pieces(content, window - sum(specials), overlap):
            new = [*range(len(before)), *range(len(before) + carried, len(ids) + sum(specials))]
            yield before + ids + after, new


def _around(tokenizer: Any, text: str, specials: tuple[int, int]) -> tuple[list[int], list[int]]:
    full = tokenizer(text)["input_ids"]
    return full[: specials[0]], full[len(full) - specials[1] :]


def _pieces(tokens: list[int], size: int, overlap: int) -> Iterator[tuple[list[int], int]]:
    for start in range(0, max(1, len(tokens) - overlap), size - overlap):
        yield tokens[start : start + size], overlap if start else 0


def reference(
    model: Any, blocks: Any, taps: Callable[[Any], Taps], layers: tuple[int, ...], seen: Windows
) -> dict[str, Rows]:
    """Every site of the layers by hooks of this test, one unpadded window at a time."""
    values: dict[str, torch.Tensor] = {}

    def hook(name: str, side: str) -> Callable[..., None]:
        def keep(_module: object, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            value = inputs[0] if side == "input" else output
            values[name] = value[0] if isinstance(value, tuple) else value

        return keep

    handles = [
        module.register_forward_hook(hook(f"{alias}.{layer}", side))
        for layer in layers
        for alias, (module, side) in taps(blocks[layer]).items()
    ]
    found: dict[str, list[Rows]] = {}
    for ids, new in seen:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        values["embed"] = output.hidden_states[0]
        for name, value in values.items():
            found.setdefault(name, []).append(value[0].numpy()[new])
        for layer in layers:  # a second witness, which owes nothing to hooks
            assert torch.equal(output.hidden_states[layer], values[f"resid_pre.{layer}"])
    for handle in handles:
        handle.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def worst(found: NDArray[Any], right: Rows) -> float:
    gap = np.linalg.norm(found.astype(np.float64) - right, axis=1)
    return float((gap / np.linalg.norm(right.astype(np.float64), axis=1)).max())


def steps_apart(found: NDArray[Any], right: NDArray[Any]) -> NDArray[np.int64]:
    """How many representable numbers lie between two float16 or bfloat16 arrays."""

    def ranks(values: NDArray[Any]) -> NDArray[np.int64]:
        bits = values.view(np.int16).astype(np.int64)
        return np.where(bits < 0, -32768 - bits, bits)

    apart: NDArray[np.int64] = np.abs(ranks(found) - ranks(right))
    return apart


def all_texts(lake: Lake) -> list[str]:
    rows = lake.sql("SELECT text FROM documents WHERE corpus = 'c' ORDER BY document").rows()
    return [str(text) for (text,) in rows]


def pooled_rows(
    model: Any, tokenizer: Any, texts: Sequence[str], size: int, specials: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Each pooled site's row of each text, from windows of ``size`` that are run one by one."""
    before, after = _around(tokenizer, texts[0], specials)
    room = size - len(before) - len(after)
    found: dict[str, list[NDArray[np.float32]]] = {}
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        parts = [before + ids[at : at + room] + after for at in range(0, len(ids), room)]
        with torch.inference_mode():
            hidden = [model(torch.tensor([one])).last_hidden_state[0].numpy() for one in parts]
        content = np.concatenate([rows[len(before) : len(rows) - len(after)] for rows in hidden])
        rows = (content.mean(axis=0), content.max(axis=0), content[-1], hidden[0][0])
        for kind, row in zip(("mean", "max", "last", "cls"), rows, strict=True):
            found.setdefault(f"pooled.{kind}", []).append(row)
    return {site: np.stack(rows) for site, rows in found.items()}
