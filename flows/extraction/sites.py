"""Where in a network: the site table, and the module that each name stands for.

A site is an alias such as ``resid_post.3``, one meaning over all architectures of the table, or a
module path and its side, such as ``layers.3.self_attn.q_proj:output``, in any architecture. An
alias names the value that the residual stream gains or holds, so a pre-norm block keeps
``resid_post = resid_pre + attn_out + mlp_out`` whatever norms its branches have.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actlake.flows.extraction.forward import Point, Side, forward
from actlake.storage.errors import ModelError

POOLED = ("pooled.mean", "pooled.last", "pooled.cls", "pooled.max")
"""Sites of documents: from the last block, after the final norm."""

# Within a block: alias -> module and side; "" is the block itself.
_PRE_NORM = {
    "resid_pre": ":input",
    "attn_out": "self_attn:output",
    "resid_mid": "post_attention_layernorm:input",
    "mlp_in": "mlp:input",
    "mlp_act": "mlp.down_proj:input",
    "mlp_out": "mlp:output",
    "head_out": "self_attn.o_proj:input",
    "resid_post": ":output",
}
# Each branch ends in a norm of its own, and what the residual gains comes after it.
_NORM_ON_BOTH_SIDES = _PRE_NORM | {
    "attn_out": "post_attention_layernorm:output",
    "resid_mid": "pre_feedforward_layernorm:input",
    "mlp_out": "post_feedforward_layernorm:output",
}
_GPT2 = _PRE_NORM | {
    "attn_out": "attn:output",
    "resid_mid": "ln_2:input",
    "mlp_act": "mlp.c_proj:input",
    "head_out": "attn.c_proj:input",
}
# `output` modules add the residual and normalise; their `dense` gives the branch alone.
_POST_NORM = {
    "resid_pre": ":input",
    "attn_out": "attention.output.dense:output",
    "resid_mid": "attention.output:output",
    "mlp_in": "intermediate.dense:input",
    "mlp_act": "output.dense:input",
    "mlp_out": "output.dense:output",
    "head_out": "attention.output.dense:input",
    "resid_post": ":output",
}
# Architecture (model_type of the config) -> path of the blocks in the base model, and their sites.
_TABLE = {
    "llama": ("layers", _PRE_NORM),
    "mistral": ("layers", _PRE_NORM),
    "qwen2": ("layers", _PRE_NORM),
    "qwen3": ("layers", _PRE_NORM),
    "gemma": ("layers", _PRE_NORM),
    "gemma2": ("layers", _NORM_ON_BOTH_SIDES),
    "gemma3_text": ("layers", _NORM_ON_BOTH_SIDES),
    "gpt2": ("h", _GPT2),
    "bert": ("encoder.layer", _POST_NORM),
    "roberta": ("encoder.layer", _POST_NORM),
}


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in a model."""

    alias: str
    """As asked for: an alias or a module path with its side."""
    module: str
    """Path in the base model; "" is the base model itself."""
    side: Side
    layer: int | None
    """The block that has to run for it; None where the whole model has to."""
    width: int


def is_pooled(site: str) -> bool:
    """Whether ``site`` belongs to documents rather than tokens."""
    return site.startswith("pooled.")


def canonical_sites(model: PreTrainedModel) -> list[str]:
    """Every alias that ``model`` has, in the order of computation; pooled ones last."""
    entry = _TABLE.get(model.config.model_type)
    if entry is None:
        return list(POOLED)
    layers = range(len(blocks(model)))
    return ["embed", *(f"{name}.{layer}" for layer in layers for name in entry[1]), *POOLED]


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of a model whose architecture is in the site table."""
    return cast(nn.ModuleList, model.get_submodule(_TABLE[model.config.model_type][0]))


def has_blocks(model: PreTrainedModel) -> bool:
    """Whether the architecture is in the site table."""
    return model.config.model_type in _TABLE


def resolve_site(model: PreTrainedModel, site: str) -> Site:
    """Where ``site`` is in ``model``, and how wide; as resolve_sites."""
    return resolve_sites(model, [site])[0]


def resolve_sites(model: PreTrainedModel, sites: Sequence[str]) -> list[Site]:
    """Where each of ``sites`` is in ``model``, and how wide.

    Widths come from one small forward pass; on the meta device it computes nothing.
    Raises ModelError for a name that is unknown, or is not reached exactly once in a pass.
    """
    points = {site: find_point(model, site) for site in sites if not is_pooled(site)}
    widths: dict[str, int] = {}

    def keep(site: str, value: Tensor) -> None:
        widths[site] = value.shape[-1]

    if points:
        tokens = torch.zeros(2, 3, dtype=torch.long, device=model.device)
        with torch.no_grad():
            forward(model, {"input_ids": tokens}, points, keep)
    found = []
    for site in sites:
        if site in POOLED:
            width = model.config.get_text_config().hidden_size
            found.append(Site(site, "", "output", None, width))
        elif is_pooled(site):
            raise ModelError(f"no site {site}; choose one of {', '.join(POOLED)}")
        else:
            path, side = points[site]
            found.append(Site(site, path, side, _layer_of(model, path), widths[site]))
    return found


def last_layer(sites: Sequence[Site]) -> int | None:
    """The last block that ``sites`` need; None where one of them needs the whole model."""
    layers = [site.layer for site in sites]
    return None if not layers or None in layers else max(cast(list[int], layers))


def find_point(model: PreTrainedModel, site: str) -> Point:
    """Module path in the base model, and side, of ``site``."""
    path, colon, side = site.rpartition(":")
    if not colon:
        return _find_alias(model, site)
    if side not in ("input", "output"):
        raise ModelError(f"site {site} has no side {side!r}; end it with :input or :output")
    modules = [name for name, _ in model.named_modules()]
    stripped = path.removeprefix(f"{model.base_model_prefix}.")
    for candidate in (path, stripped):
        if candidate in modules:
            return candidate, cast(Side, side)
    near = [f"{name}:{side}" for name in _nearest(stripped, modules)]
    raise ModelError(_unknown(model, site, near))


def _find_alias(model: PreTrainedModel, site: str) -> Point:
    architecture = model.config.model_type
    if architecture not in _TABLE:
        raise ModelError(
            f"no aliases are known for the architecture {architecture}, so no site {site}; name a "
            "module path and its side, such as "
            f"{[name for name, _ in model.named_modules()][-1]}:output"
        )
    prefix, table = _TABLE[architecture]
    name, _, layer = site.partition(".")
    if site == "embed":
        return f"{prefix}.0", "input"
    if name not in table:
        raise ModelError(_unknown(model, site, _nearest(site, canonical_sites(model))))
    count = len(blocks(model))
    if layer not in map(str, range(count)):
        raise ModelError(
            f"site {site} has no such layer in this {architecture} model of {count} layers; choose "
            f"{name}.0 to {name}.{count - 1}"
        )
    path, _, side = table[name].partition(":")
    return f"{prefix}.{layer}.{path}".rstrip("."), cast(Side, side)


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5)


def _unknown(model: PreTrainedModel, site: str, near: Sequence[str]) -> str:
    advice = f"did you mean {' or '.join(near)}" if near else "name a module path and its side"
    return f"no site {site} in this {model.config.model_type} model; {advice}"


def _layer_of(model: PreTrainedModel, path: str) -> int | None:
    if not has_blocks(model):
        return None
    prefix = f"{_TABLE[model.config.model_type][0]}."
    return int(path.removeprefix(prefix).split(".")[0]) if path.startswith(prefix) else None
