"""Sparse codes of rows by SAELens and by sparsify, with the weights that actlake has."""

import time

import torch
from answering import answer
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from safetensors.torch import load_file
from sparsify import SparseCoder, SparseCoderConfig

BLOCK = 2048


def _given(arrays: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    found = load_file(arrays)
    rows = found.pop("rows")
    return found, rows


@torch.inference_mode()
def saelens(arrays: str, k: int) -> float:
    """Dense codes, block by block, of which one is kept at a time."""
    weights, rows = _given(arrays)
    width, features = weights["W_enc"].shape
    coder = TopKSAE(TopKSAEConfig(d_in=width, d_sae=features, k=k))
    coder.load_state_dict(weights, strict=False)
    coder.encode(rows[:8].float())
    started = time.perf_counter()
    for first in range(0, len(rows), BLOCK):
        coder.encode(rows[first : first + BLOCK].float())
    return time.perf_counter() - started


@torch.inference_mode()
def sparsify(arrays: str, k: int) -> float:
    """The k largest and their places, block by block."""
    weights, rows = _given(arrays)
    width, features = weights["W_enc"].shape
    coder = SparseCoder(width, SparseCoderConfig(num_latents=features, k=k))
    coder.encoder.weight.data = weights["W_enc"].T.contiguous()
    coder.encoder.bias.data = weights["b_enc"]
    coder.b_dec.data = weights["b_dec"]
    coder.encode(rows[:8].float())
    started = time.perf_counter()
    for first in range(0, len(rows), BLOCK):
        coder.encode(rows[first : first + BLOCK].float())
    return time.perf_counter() - started


if __name__ == "__main__":
    answer({"saelens": saelens, "sparsify": sparsify})
