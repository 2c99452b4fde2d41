"""What is kept of an attention map: a few numbers for each head and query, never the map.

A map gives, for each head and query, how much weight falls on each key; the weights of a query add
up to 1. Where heads look, and how narrowly, is told so in Clark et al. 2019 (arXiv:1906.04341,
sections 3 and 4) and Vig and Belinkov 2019 (arXiv:1906.04284, sections 4.2 and 4.3); the share of
the first token is the attention sink of Xiao et al. 2023 (arXiv:2309.17453), and the lookback
ratio that of Chuang et al. 2024 (arXiv:2407.07071, section 2).
"""

import re
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

__all__ = ["STATISTICS", "Statistic", "attention_statistic", "statistic_of"]

Statistic = Callable[[Tensor], Tensor]
"""Of weights, (windows, heads, queries, keys), to (windows, heads, queries)."""


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


def _lookback(context: int, weights: Tensor) -> Tensor:
    """How much a query looks back on the first ``context`` tokens, from 0 to 1.

    Its mean weight on a key of these, over the sum of that and its mean weight on a key after them,
    up to and with its own, as in the authors' code. Means, so that it is 0.5 where all keys weigh
    the same, however many there are of each. Later keys, on which models that read both ways put
    weight, and padding are in neither. A query that is in the context has no key after it: 1.
    0.5, no preference, where all weight is on later keys.

    The trap: weight that a head drops on the first token, the sink, counts as context.
    """
    tokens = weights.shape[-1]
    seen = weights.tril()
    keys = torch.arange(1, tokens + 1, device=weights.device)
    before = seen[..., :context].sum(-1) / keys.clamp(max=context)
    after = seen[..., context:].sum(-1) / (keys - context).clamp(min=1)
    total = before + after
    neither = torch.where(keys > context, 0.5, 1.0).to(weights.dtype)
    # Asked so, NaN stays NaN, which storage refuses.
    return torch.where(total == 0, neither, before / total)


STATISTICS: Mapping[str, Statistic] = {
    "entropy": _entropy,
    "first": _first,
    "self": _self,
    "previous": _previous,
    "max": _max,
}
"""By name, all but those with a number in it."""


def statistic_of(name: str) -> Statistic | None:
    """One of STATISTICS, or for ``lookback32`` the ratio with 32 tokens of context, 1 at least.

    None for any other name.
    """
    found = re.fullmatch(r"lookback([1-9][0-9]{0,6})", name)
    return partial(_lookback, int(found[1])) if found else STATISTICS.get(name)


def attention_statistic(statistic: Statistic, output: object) -> Tensor | None:
    """The statistic, (windows, tokens, heads), of what an attention module returned.

    None where it has no weights of tokens on tokens, as other implementations than eager do not
    return any. In float32, or in float64 where the model computes so.
    """
    last = output[-1] if isinstance(output, tuple) else None
    if not isinstance(last, Tensor) or last.ndim != 4 or last.shape[-1] != last.shape[-2]:
        return None
    weights = last.to(torch.promote_types(last.dtype, torch.float32))
    return statistic(weights).transpose(-1, -2)
