"""What each site in a block must be, from the weights and the site before it, by architecture.

The chain is anchored at both ends: ``resid_pre`` and ``resid_post`` are held against the model's
own hidden states, and each site in between gives the next one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Rows = NDArray[np.float32]
Block = Mapping[str, Rows]
"""Rows of one block's sites, by name without layer."""


def apply(module: Any, values: Rows) -> Rows:
    with torch.no_grad():
        result: Rows = module(torch.from_numpy(values)).numpy()
    return result


def steps(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    """Every site but ``resid_pre`` and ``head_out``, computed from those before it."""
    of = {
        "gpt2": gpt2,
        "gpt_neox": neox,
        "opt": opt,
        "bert": bert,
        "roberta": bert,
        "t5": t5,
        "vit": vit,
        "dinov2": vit,
        "dinov2_with_registers": vit,
        "clip_vision_model": vit,
    }
    right = of.get(config.model_type, llama)(block, rows, config)
    if "resid_post" not in right:
        branches = [rows[name] for name in ("attn_out", "cross_out", "mlp_out") if name in rows]
        right["resid_post"] = rows["resid_pre"] + np.sum(branches, axis=0)
    if "resid_mid" in rows and "resid_mid" not in right:
        right["resid_mid"] = rows["resid_pre"] + rows["attn_out"]
    return right


def gated(mlp: Any, values: Rows) -> Rows:
    return apply(mlp.act_fn, apply(mlp.gate_proj, values)) * apply(mlp.up_proj, values)


def llama(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    both = config.model_type in ("gemma2", "gemma3_text")
    before = block.pre_feedforward_layernorm if both else block.post_attention_layernorm
    right = {
        "attn_out": apply(block.self_attn.o_proj, rows["head_out"]),
        "mlp_in": apply(before, rows["resid_mid"]),
    }
    if "router" in rows:
        return right | experts(block.mlp, rows["mlp_in"], config)
    right |= {
        "mlp_act": gated(block.mlp, rows["mlp_in"]),
        "mlp_out": apply(block.mlp.down_proj, rows["mlp_act"]),
    }
    if both:
        right["attn_out"] = apply(block.post_attention_layernorm, right["attn_out"])
        right["mlp_out"] = apply(block.post_feedforward_layernorm, right["mlp_out"])
    return right


def expert_shares(mlp: Any, values: Rows, config: Any) -> tuple[Rows, Rows]:
    """Logits of the router, and what each expert adds, (experts, rows, width).

    A row at a time, each through the experts that it chooses; arXiv:2401.04088, section 2.1.
    """
    logits = values @ mlp.gate.weight.numpy().T
    odds = np.exp(logits - logits.max(1, keepdims=True))
    odds /= odds.sum(1, keepdims=True)
    added = np.zeros((logits.shape[1], *values.shape), np.float32)
    act = mlp.experts.act_fn
    for row, value in enumerate(values):
        chosen = np.argsort(-odds[row], kind="stable")[: config.num_experts_per_tok]
        shares = odds[row, chosen]
        if config.model_type == "mixtral" or config.norm_topk_prob:
            shares = shares / shares.sum()
        for expert, share in zip(chosen, shares, strict=True):
            both = mlp.experts.gate_up_proj[expert].numpy() @ value
            gate, up = np.split(both, 2)
            inner = apply(act, gate) * up
            added[expert, row] = share * (mlp.experts.down_proj[expert].numpy() @ inner)
    return logits, added


def experts(mlp: Any, values: Rows, config: Any) -> dict[str, Rows]:
    logits, added = expert_shares(mlp, values, config)
    total = mixed = added.sum(0)
    if config.model_type == "qwen2_moe":
        shared = apply(mlp.shared_expert, values)
        total = mixed + shared / (1 + np.exp(-apply(mlp.shared_expert_gate, values)))
    return {"router": logits, "expert_out": mixed, "mlp_out": total}


def gpt2(block: Any, rows: Block, _config: Any) -> dict[str, Rows]:
    return {
        "attn_out": apply(block.attn.c_proj, rows["head_out"]),
        "mlp_in": apply(block.ln_2, rows["resid_mid"]),
        "mlp_act": apply(block.mlp.act, apply(block.mlp.c_fc, rows["mlp_in"])),
        "mlp_out": apply(block.mlp.c_proj, rows["mlp_act"]),
    }


def neox(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    before = rows["resid_pre" if config.use_parallel_residual else "resid_mid"]
    return {
        "attn_out": apply(block.attention.dense, rows["head_out"]),
        "mlp_in": apply(block.post_attention_layernorm, before),
        "mlp_act": apply(block.mlp.act, apply(block.mlp.dense_h_to_4h, rows["mlp_in"])),
        "mlp_out": apply(block.mlp.dense_4h_to_h, rows["mlp_act"]),
    }


def opt(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    right = {
        "attn_out": apply(block.self_attn.out_proj, rows["head_out"]),
        "mlp_in": apply(block.final_layer_norm, rows["resid_mid"]),
        "mlp_act": apply(block.activation_fn, apply(block.fc1, rows["mlp_in"])),
        "mlp_out": apply(block.fc2, rows["mlp_act"]),
    }
    if not config.do_layer_norm_before:
        middle = apply(block.self_attn_layer_norm, rows["resid_pre"] + rows["attn_out"])
        after = apply(block.final_layer_norm, rows["resid_mid"] + rows["mlp_out"])
        right |= {"resid_mid": middle, "mlp_in": rows["resid_mid"], "resid_post": after}
    return right


def bert(block: Any, rows: Block, _config: Any) -> dict[str, Rows]:
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


def t5(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    mlp = block.layer[-1]
    dense = mlp.DenseReluDense
    if config.is_gated_act:
        gate, up = apply(dense.wi_0, rows["mlp_in"]), apply(dense.wi_1, rows["mlp_in"])
        act = apply(dense.act, gate) * up
    else:
        act = apply(dense.act, apply(dense.wi, rows["mlp_in"]))
    right = {
        "attn_out": apply(block.layer[0].SelfAttention.o, rows["head_out"]),
        "mlp_in": apply(mlp.layer_norm, rows["resid_mid"]),
        "mlp_act": act,
        "mlp_out": apply(dense.wo, rows["mlp_act"]),
    }
    if "cross_out" in rows:
        cross = block.layer[1].EncDecAttention
        right["cross_out"] = apply(cross.o, rows["cross_head_out"])
        right["resid_mid"] = rows["resid_pre"] + rows["attn_out"] + rows["cross_out"]
    return right


def vit(block: Any, rows: Block, config: Any) -> dict[str, Rows]:
    dinov2, clip = (config.model_type.startswith(name) for name in ("dinov2", "clip"))
    attention = block.self_attn.out_proj if clip else block.attention.o_proj
    norm = block.norm2 if dinov2 else block.layer_norm2 if clip else block.layernorm_after
    if dinov2 and config.use_swiglu_ffn:
        act, last = gated(block.mlp, rows["mlp_in"]), block.mlp.down_proj
    else:
        inner = apply(block.mlp.fc1, rows["mlp_in"])
        act, last = apply(block.mlp.activation_fn, inner), block.mlp.fc2
    right = {
        "attn_out": apply(attention, rows["head_out"]),
        "mlp_in": apply(norm, rows["resid_mid"]),
        "mlp_act": act,
        "mlp_out": apply(last, rows["mlp_act"]),
    }
    if dinov2:
        right["attn_out"] = apply(block.layer_scale1, right["attn_out"])
        right["mlp_out"] = apply(block.layer_scale2, right["mlp_out"])
    return right
