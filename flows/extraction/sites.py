"""Where in a network: the module that each name of a site stands for.

A site is an alias such as ``resid_post.3``, one meaning over all architectures of the table
(``architectures``; docs/sites.md shows it), or a module path and its side, such as
``layers.3.self_attn.q_proj:output``, in any architecture. An alias names the value that the
residual stream gains or holds, so a pre-norm block keeps
``resid_post = resid_pre + attn_out + mlp_out`` whatever norms its branches have.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from actlake.flows.extraction.architectures import Stack, stacks
from actlake.flows.extraction.attention import statistic_of
from actlake.flows.extraction.experts import expert_number
from actlake.flows.extraction.forward import Point, forward, probe
from actlake.storage.errors import ModelError
from actlake.storage.site_columns import split_columns

POOLED = ("pooled.mean", "pooled.last", "pooled.cls", "pooled.max")
"""Sites of documents: from the last block, after the final norm."""


@dataclass(frozen=True, slots=True)
class Site:
    """A named place in a model."""

    alias: str
    """As asked for: an alias or a module path with its side."""
    module: str
    """Path in the base model; "" is the base model itself."""
    side: str
    layer: int | None
    """The block that has to run for it; None where the whole model has to."""
    width: int
    columns: tuple[int, ...] | None = None
    """Those that are wanted of the module's; None for all."""


def is_pooled(site: str) -> bool:
    """Whether ``site`` belongs to documents rather than tokens."""
    return site.startswith("pooled.")


def pooled_width(model: PreTrainedModel) -> int:
    """Of the last hidden state, which opt-350m projects down to the width of its embedding."""
    config = model.config.get_text_config()
    return int(getattr(config, "word_embed_proj_dim", config.hidden_size))


def canonical_sites(model: PreTrainedModel) -> list[str]:
    """Every alias that ``model`` has, in the order of computation; pooled ones last.

    Without statistics of attention, ``attn_entropy.0`` and so on, which every block has where the
    model's attention is eager, and without single experts, ``expert3_out.0``.
    """
    found = []
    for stack in stacks(model.config):
        found.append(f"{stack.prefix}embed")
        for layer, block in enumerate(_blocks(model, stack)):
            names = (name for name, place in stack.sites.items() if _has(block, place))
            found += [f"{stack.prefix}{name}.{layer}" for name in names]
    return [*found, *POOLED]


def truncate(model: PreTrainedModel, last_layer: int) -> None:
    """Drop the blocks after ``last_layer``, which counts through all stacks of the model.

    Raises ModelError where the architecture is in no table, or there is no such block.
    """
    lists = [_blocks(model, stack) for stack in stacks(model.config)]
    if not lists:
        raise ModelError(
            f"the architecture {model.config.model_type} cannot stop after a layer; load the "
            "whole model"
        )
    count = sum(map(len, lists))
    if not 0 <= last_layer < count:
        raise ModelError(f"no layer {last_layer}; choose 0 to {count - 1}")
    for blocks in lists:
        keep = min(len(blocks), last_layer + 1)
        last_layer -= len(blocks)
        del blocks[max(keep, 0) :]


def _blocks(model: PreTrainedModel, stack: Stack) -> nn.ModuleList:
    return cast(nn.ModuleList, model.get_submodule(stack.path))


def _has(block: nn.Module, place: str) -> bool:
    path = place.partition(":")[0]
    return not path or any(name == path for name, _ in block.named_modules())


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
        with torch.no_grad():
            forward(model, probe(model), points, keep, whole=True)
    found = []
    for site in sites:
        place, columns = split_columns(site)
        if place in POOLED:
            one = Site(site, "", "output", None, pooled_width(model), columns)
        elif is_pooled(site):
            raise ModelError(f"no site {site}; choose one of {', '.join(POOLED)}")
        else:
            path, side = points[site]
            one = Site(site, path, side, _layer_of(model, path), widths[site], columns)
        if columns is not None:
            if columns[-1] >= one.width:
                raise ModelError(
                    f"site {site} has no column {columns[-1]}; {place} has 0 to {one.width - 1}"
                )
            one = replace(one, width=len(columns))
        found.append(one)
    return found


def last_layer(sites: Sequence[Site]) -> int | None:
    """The last block that ``sites`` need; None where one of them needs the whole model."""
    layers = [site.layer for site in sites]
    return None if not layers or None in layers else max(cast(list[int], layers))


def find_point(model: PreTrainedModel, site: str) -> Point:
    """Module path in the base model, and side, of ``site``, whatever columns of it are wanted."""
    site, _ = split_columns(site)
    path, colon, side = site.rpartition(":")
    if not colon:
        return _find_alias(model, site)
    special = statistic_of(side) is not None or expert_number(side) is not None
    if side not in ("input", "output") and not special:
        raise ModelError(f"site {site} has no side {side!r}; end it with :input or :output")
    modules = [name for name, _ in model.named_modules()]
    stripped = path.removeprefix(f"{model.base_model_prefix}.")
    for candidate in (path, stripped):
        if candidate in modules:
            return candidate, side
    near = [f"{name}:{side}" for name in _nearest(stripped, modules)]
    raise ModelError(_unknown(model, site, near))


def _find_alias(model: PreTrainedModel, site: str) -> Point:
    architecture = model.config.model_type
    found = stacks(model.config)
    if not found:
        raise ModelError(
            f"no aliases are known for the architecture {architecture}, so no site {site}; name a "
            "module path and its side, such as "
            f"{[name for name, _ in model.named_modules()][-1]}:output"
        )
    stack = next(one for one in reversed(found) if site.startswith(one.prefix))
    name, _, layer = site.removeprefix(stack.prefix).partition(".")
    if (name, layer) == ("embed", ""):
        return f"{stack.path}.0", "input"
    place = _place(stack, name)
    if place is None and name.startswith("attn_lookback"):
        raise ModelError(
            f"site {site} does not say how many tokens are context; name it as "
            f"{stack.prefix}attn_lookback32.0, where the first 32 of the window are"
        )
    if place is None:
        raise ModelError(_unknown(model, site, _nearest(site, canonical_sites(model))))
    blocks = _blocks(model, stack)
    if layer not in map(str, range(len(blocks))):
        name = stack.prefix + name
        raise ModelError(
            f"site {site} has no such layer in this {architecture} model of {len(blocks)} layers; "
            f"choose {name}.0 to {name}.{len(blocks) - 1}"
        )
    if not _has(blocks[int(layer)], place):
        raise ModelError(_unknown(model, site, _nearest(site, canonical_sites(model))))
    path, _, side = place.partition(":")
    return f"{stack.path}.{layer}.{path}".rstrip("."), side


def _place(stack: Stack, name: str) -> str | None:
    """Module and side of ``name`` in a block, also of what ``canonical_sites`` leaves out."""
    about, _, what = name.partition("_")
    if name not in stack.sites and about == "attn" and statistic_of(what):
        return f"{stack.attention}:{what}"
    if what == "out" and expert_number(about) is not None and "expert_out" in stack.sites:
        return f"{stack.sites['expert_out'].partition(':')[0]}:{about}"
    return stack.sites.get(name)


def _nearest(name: str, known: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, known, n=3, cutoff=0.5)


def _unknown(model: PreTrainedModel, site: str, near: Sequence[str]) -> str:
    advice = f"did you mean {' or '.join(near)}" if near else "name a module path and its side"
    return f"no site {site} in this {model.config.model_type} model; {advice}"


def _layer_of(model: PreTrainedModel, path: str) -> int | None:
    before = 0
    for stack in stacks(model.config):
        if path.startswith(f"{stack.path}."):
            return before + int(path.removeprefix(f"{stack.path}.").split(".")[0])
        before += len(_blocks(model, stack))
    return None
