"""What a feature's decoder direction adds to the logits of every token, were it read at the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actlake.analytics.dictionaries.enrichment import enrichment
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


@dataclass(frozen=True, slots=True)
class TokenSets:
    """Sets of tokens to look for in effects, among the tokens that a vocabulary names."""

    token_id: NDArray[np.int64]
    """Rows of the unembedding that stand for a token, shape (tokens,)."""
    members: NDArray[np.bool_]
    """Shape (sets, tokens); each set holds one token at least, and not all."""


@dataclass(frozen=True, slots=True)
class Effects:
    """What is told of the effects of a block of features."""

    features: dict[str, NDArray[Any]]
    """Columns of the table features."""
    tokens: dict[str, NDArray[Any]]
    """Columns of feature_logits."""
    scores: NDArray[np.float64]
    """``enrichment`` of each feature and set, shape (features, sets)."""


def logit_effects(
    decoder: NDArray[np.float32],
    unembedding: Unembedding,
    k: int,
    sets: TokenSets | None = None,
) -> Iterator[Effects]:
    """Columns of features and of feature_logits and scores of ``sets``, block by block of features.

    Effects are ``(w ⊙ scale) Wᵀ`` for each row w of ``decoder``, shape (features, width): what a
    value of 1 adds, up to the norm of the row, which the final norm divides by, and apart from all
    later layers. Of features: mean, and std, skew, excess kurtosis and maximum about it, and the
    entropy in bits of softmax(effects). Of feature_logits: the ``k`` tokens raised and lowered
    most, with their effects less the mean. A direction that is 0 has NaN skew and kurtosis.

    Never holds features × vocabulary: blocks of 32 MiB, of float64 sums over float32 products.

    Source: nostalgebraist (2020), "interpreting GPT: the logit lens"; Elhage et al. (2021), "A
    mathematical framework for transformer circuits", for the direct path.
    """
    k = min(k, len(unembedding.weight))
    for feature, effects in _blocks(decoder, unembedding):
        yield Effects(
            {"feature": feature, **_shape(effects)},
            _extremes(feature, effects, k),
            _scores(effects, sets),
        )


def random_scores(
    unembedding: Unembedding, sets: TokenSets, *, directions: int, seed: int
) -> NDArray[np.float64]:
    """``enrichment`` of random directions, shape (directions, sets): what no feature need mean.

    Tokens of a set are often alike in the unembedding, so that any direction raises or lowers many
    of them together; a random set of tokens would not tell that.
    """
    width = unembedding.weight.shape[1]
    drawn = np.random.default_rng(seed).standard_normal((directions, width)).astype(np.float32)
    found = [_scores(effects, sets) for _, effects in _blocks(drawn, unembedding)]
    return np.concatenate(found)


def _scores(effects: torch.Tensor, sets: TokenSets | None) -> NDArray[np.float64]:
    if sets is None:
        return np.zeros((len(effects), 0))
    parts = np.array_split(effects.numpy()[:, sets.token_id], torch.get_num_threads())
    with ThreadPoolExecutor(len(parts)) as pool:  # as many as torch itself would use here
        return np.concatenate([*pool.map(lambda part: enrichment(part, sets.members), parts)])


def _blocks(
    decoder: NDArray[np.float32], unembedding: Unembedding
) -> Iterator[tuple[NDArray[np.int64], torch.Tensor]]:
    """Features and their effects, shape (features, vocabulary)."""
    if decoder.shape[1] != unembedding.weight.shape[1]:
        raise InputError(
            f"directions of width {decoder.shape[1]} are no rows of a residual stream of width "
            f"{unembedding.weight.shape[1]}, so they have no effects on logits; "
            "take a dictionary of its residual stream"
        )
    weight = torch.from_numpy(unembedding.weight)
    many = max(BLOCK_VALUES // len(weight), 1)
    for start in range(0, len(decoder), many):
        rows = decoder[start : start + many]
        if unembedding.centres:
            rows = rows - rows.mean(axis=1, keepdims=True)
        effects = torch.from_numpy(rows * unembedding.scale) @ weight.T
        yield np.arange(start, start + len(rows)), effects


def _shape(effects: torch.Tensor) -> dict[str, NDArray[np.float64]]:
    wide = effects.double()
    most = wide.amax(dim=1)
    share = torch.exp(wide - most[:, None])
    total = share.sum(dim=1)
    entropy = (most + total.log() - torch.linalg.vecdot(share, wide) / total) / np.log(2)
    mean = wide.mean(dim=1)
    wide -= mean[:, None]
    square = torch.mul(wide, wide, out=share)
    variance = square.mean(dim=1)
    spread = torch.where(variance > 0, variance, torch.nan)
    count = wide.shape[1]
    return {
        name: values.numpy()
        for name, values in {
            "logit_mean": mean,
            "logit_std": variance.sqrt(),
            "logit_skew": torch.linalg.vecdot(square, wide) / count / spread**1.5,
            "logit_kurtosis": torch.linalg.vecdot(square, square) / count / spread**2 - 3,
            "logit_max": most - mean,
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
