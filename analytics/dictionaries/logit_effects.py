"""What a feature's decoder direction adds to the logits of every token, were it read at the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actlake.storage.errors import InputError

BLOCK_VALUES = 1 << 22
"""Effects held at once: 32 MiB of float64, and a few of that for what is made of them."""


@dataclass(frozen=True, slots=True)
class Unembedding:
    """How a model reads tokens from its residual stream."""

    weight: NDArray[np.float32]
    """Shape (vocabulary, width)."""
    scale: NDArray[np.float32]
    """Of the final norm, shape (width,); ones without one."""
    centres: bool
    """Whether the final norm takes the mean of a row away first."""


def logit_effects(
    decoder: NDArray[np.float32], unembedding: Unembedding, k: int
) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
    """Columns of features and of feature_logits, block by block of features.

    Effects are ``(w ⊙ scale) Wᵀ`` for each row w of ``decoder``, shape (features, width): what a
    value of 1 adds, up to the norm of the row, which the final norm divides by, and apart from all
    later layers. Of features: mean, and std, skew, excess kurtosis and maximum about it, and the
    entropy in bits of softmax(effects). Of feature_logits: the ``k`` tokens raised and lowered
    most, with their effects less the mean. A direction that is 0 has NaN skew and kurtosis.

    Never holds features × vocabulary: blocks of 32 MiB, of float64 sums over float32 products.

    Source: nostalgebraist (2020), "interpreting GPT: the logit lens"; Elhage et al. (2021), "A
    mathematical framework for transformer circuits", for the direct path.
    """
    vocabulary = len(unembedding.weight)
    if decoder.shape[1] != unembedding.weight.shape[1]:
        raise InputError(
            f"directions of width {decoder.shape[1]} are no rows of a residual stream of width "
            f"{unembedding.weight.shape[1]}, so they have no effects on logits"
        )
    k = min(k, vocabulary)
    weight = torch.from_numpy(unembedding.weight)
    many = max(BLOCK_VALUES // vocabulary, 1)
    for start in range(0, len(decoder), many):
        rows = decoder[start : start + many]
        if unembedding.centres:
            rows = rows - rows.mean(axis=1, keepdims=True)
        effects = torch.from_numpy(rows * unembedding.scale) @ weight.T
        feature = np.arange(start, start + len(rows))
        yield {"feature": feature, **_shape(effects)}, _extremes(feature, effects, k)


def _shape(effects: torch.Tensor) -> dict[str, NDArray[np.float64]]:
    wide = effects.double()
    mean = wide.mean(dim=1, keepdim=True)
    log_share = torch.log_softmax(wide, dim=1)
    entropy = -(log_share.exp() * log_share).sum(dim=1) / np.log(2)
    wide = wide - mean
    square = wide * wide
    variance = square.mean(dim=1)
    spread = torch.where(variance > 0, variance, torch.nan)
    return {
        name: values.numpy()
        for name, values in {
            "logit_mean": mean[:, 0],
            "logit_std": variance.sqrt(),
            "logit_skew": (square * wide).mean(dim=1) / spread**1.5,
            "logit_kurtosis": (square * square).mean(dim=1) / spread**2 - 3,
            "logit_max": wide.amax(dim=1),
            "logit_entropy": entropy,
        }.items()
    }


def _extremes(feature: NDArray[np.int64], effects: torch.Tensor, k: int) -> dict[str, NDArray[Any]]:
    mean = effects.double().mean(dim=1, keepdim=True).numpy()
    parts = []
    for kind, largest in (("top", True), ("bottom", False)):
        values, tokens = (one.numpy() for one in effects.topk(k, dim=1, largest=largest))
        # torch leaves equal ones in any order.
        order = np.lexsort((tokens, -values if largest else values), axis=1)
        values = np.take_along_axis(values, order, axis=1) - mean
        tokens = np.take_along_axis(tokens, order, axis=1)
        parts.append(
            {
                "feature": np.repeat(feature, k),
                "kind": np.full(len(feature) * k, kind),
                "rank": np.tile(np.arange(1, k + 1), len(feature)),
                "token_id": tokens.ravel(),
                "effect": values.ravel(),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
