"""What is kept of an attention map: a few numbers for each head and query, never the map.

A map gives, for each head and query, how much weight falls on each key; the weights of a query add
up to 1. Where heads look, and how narrowly, is told so in Clark et al. 2019 (arXiv:1906.04341,
sections 3 and 4) and Vig and Belinkov 2019 (arXiv:1906.04284, sections 4.2 and 4.3); the share of
the first token is the attention sink of Xiao et al. 2023 (arXiv:2309.17453).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["STATISTICS", "attention_statistic"]


def _entropy(weights: Tensor) -> Tensor:
    """In nats: 0 where all weight is on one key, ln n where n keys share it equally."""
    entropies: Tensor = torch.special.entr(weights).sum(-1)
    return entropies


def _first(weights: Tensor) -> Tensor:
    """Weight on the first token of the window, which most tokenizers make a special one."""
    return weights[..., 0]


def _self(weights: Tensor) -> Tensor:
    """Weight on the query's own token."""
    return weights.diagonal(dim1=-2, dim2=-1)


def _previous(weights: Tensor) -> Tensor:
    """Weight on the token before; 0 of the first one, which has none."""
    before = weights.diagonal(offset=-1, dim1=-2, dim2=-1)
    return torch.nn.functional.pad(before, (1, 0))


def _max(weights: Tensor) -> Tensor:
    """The largest weight."""
    return weights.amax(-1)


STATISTICS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "entropy": _entropy,
    "first": _first,
    "self": _self,
    "previous": _previous,
    "max": _max,
}
"""By name: of weights, (windows, heads, queries, keys), to (windows, heads, queries)."""


def attention_statistic(name: str, output: object) -> Tensor | None:
    """One of ``STATISTICS``, (windows, tokens, heads), of what an attention module returned.

    None where it has no weights of tokens on tokens, as other implementations than eager do not
    return any. In float32, or in float64 where the model computes so.
    """
    last = output[-1] if isinstance(output, tuple) else None
    if not isinstance(last, Tensor) or last.ndim != 4 or last.shape[-1] != last.shape[-2]:
        return None
    weights = last.to(torch.promote_types(last.dtype, torch.float32))
    return STATISTICS[name](weights).transpose(-1, -2)
