"""Which module of which architecture holds each canonical site.

Within a block a site is ``module:side``; an empty module is the block itself. A site whose module
a block does not have is absent from that block: a mixture of experts has no one last matrix, so no
``mlp_act``, and its dense blocks have no ``router``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from transformers import PretrainedConfig

__all__ = ["ARCHITECTURES", "IMAGES", "Stack", "stacks"]

Sites = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stack:
    """Blocks that run one after the other on one residual stream."""

    path: str
    """Of the list of blocks in the base model."""
    sites: Sites
    prefix: str = ""
    """Before each alias: "decoder." in the second stack of an encoder-decoder."""
    attention: str = "self_attn"
    """Module in a block that returns the weights of its own attention."""


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
# The experts' output is the weighted sum of those that a token was sent to; what a shared expert
# adds is the rest of mlp_out.
_EXPERTS = _PRE_NORM | {"router": "mlp.gate:output", "expert_out": "mlp.experts:output"}
_GPT2 = _PRE_NORM | {
    "attn_out": "attn:output",
    "resid_mid": "ln_2:input",
    "mlp_act": "mlp.c_proj:input",
    "head_out": "attn.c_proj:input",
}
_NEOX = _PRE_NORM | {
    "attn_out": "attention:output",
    "mlp_act": "mlp.dense_4h_to_h:input",
    "head_out": "attention.dense:input",
}
_OPT = _PRE_NORM | {
    "resid_mid": "final_layer_norm:input",
    "mlp_in": "fc1:input",
    "mlp_act": "fc2:input",
    "mlp_out": "fc2:output",
    "head_out": "self_attn.out_proj:input",
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
_T5_ENCODER = {
    "resid_pre": ":input",
    "attn_out": "layer.0.SelfAttention:output",
    "resid_mid": "layer.1:input",
    "mlp_in": "layer.1.DenseReluDense:input",
    "mlp_act": "layer.1.DenseReluDense.wo:input",
    "mlp_out": "layer.1.DenseReluDense:output",
    "head_out": "layer.0.SelfAttention.o:input",
    "resid_post": ":output",
}
# Here resid_mid is what the MLP branch starts from, after both attentions.
_T5_DECODER = _T5_ENCODER | {
    "cross_out": "layer.1.EncDecAttention:output",
    "cross_head_out": "layer.1.EncDecAttention.o:input",
    "resid_mid": "layer.2:input",
    "mlp_in": "layer.2.DenseReluDense:input",
    "mlp_act": "layer.2.DenseReluDense.wo:input",
    "mlp_out": "layer.2.DenseReluDense:output",
}
_VIT = _PRE_NORM | {
    "attn_out": "attention:output",
    "resid_mid": "layernorm_after:input",
    "mlp_act": "mlp.fc2:input",
    "head_out": "attention.o_proj:input",
}
# What a branch adds comes after its layer scale.
_DINOV2 = _VIT | {
    "attn_out": "layer_scale1:output",
    "resid_mid": "norm2:input",
    "mlp_out": "layer_scale2:output",
}
_CLIP = _PRE_NORM | {
    "resid_mid": "layer_norm2:input",
    "mlp_act": "mlp.fc2:input",
    "head_out": "self_attn.out_proj:input",
}

ARCHITECTURES: Mapping[str, tuple[Stack, ...]] = {
    "llama": (Stack("layers", _PRE_NORM),),
    "mistral": (Stack("layers", _PRE_NORM),),
    "qwen2": (Stack("layers", _PRE_NORM),),
    "qwen3": (Stack("layers", _PRE_NORM),),
    "gemma": (Stack("layers", _PRE_NORM),),
    "gemma2": (Stack("layers", _NORM_ON_BOTH_SIDES),),
    "gemma3_text": (Stack("layers", _NORM_ON_BOTH_SIDES),),
    "mixtral": (Stack("layers", _EXPERTS),),
    "qwen2_moe": (Stack("layers", _EXPERTS),),
    "qwen3_moe": (Stack("layers", _EXPERTS),),
    "gpt2": (Stack("h", _GPT2, attention="attn"),),
    "gpt_neox": (Stack("layers", _NEOX, attention="attention"),),
    "opt": (Stack("decoder.layers", _OPT),),
    "bert": (Stack("encoder.layer", _POST_NORM, attention="attention.self"),),
    "roberta": (Stack("encoder.layer", _POST_NORM, attention="attention.self"),),
    "t5": (
        Stack("encoder.block", _T5_ENCODER, attention="layer.0.SelfAttention"),
        Stack("decoder.block", _T5_DECODER, "decoder.", "layer.0.SelfAttention"),
    ),
    "vit": (Stack("layers", _VIT, attention="attention"),),
    "dinov2": (Stack("encoder.layer", _DINOV2, attention="attention"),),
    "dinov2_with_registers": (Stack("encoder.layer", _DINOV2, attention="attention"),),
    "clip_vision_model": (Stack("encoder.layers", _CLIP),),
}
"""By model_type of the config, with the settings that most checkpoints of it have."""

IMAGES = frozenset({"vit", "dinov2", "dinov2_with_registers", "clip_vision_model"})
"""Architectures whose rows are patches, not tokens."""


def stacks(config: PretrainedConfig) -> tuple[Stack, ...]:
    """Where a model with this config has its sites; empty for an unknown architecture."""
    known = ARCHITECTURES.get(config.model_type, ())
    changed = _changes(config)
    return tuple(
        replace(
            stack,
            sites={name: place for name, place in {**stack.sites, **changed}.items() if place},
        )
        for stack in known
    )


def _changes(config: PretrainedConfig) -> dict[str, str]:
    """What settings of one checkpoint move; "" for a site that they take away."""
    match config.model_type:
        case "gpt_neox" if config.use_parallel_residual:
            return {"resid_mid": ""}  # both branches start from the same residual
        case "opt" if not config.do_layer_norm_before:
            return {"resid_mid": "self_attn_layer_norm:output"}
        case "dinov2" | "dinov2_with_registers" if config.use_swiglu_ffn:
            return {"mlp_act": "mlp.down_proj:input"}
    return {}
