"""Selecting and decoding sparse codes with gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


@dataclass(frozen=True, slots=True)
class SparseCodes:
    """Selected values of a batch, row after row; a selected value may be 0, and does not fire."""

    values: Tensor
    """Shape (selected,), >= 0, with gradient to the selected pre-activations only."""
    features: Tensor
    """Shape (selected,), int64."""
    starts: Tensor
    """Shape (rows,), int64: where each row begins."""


def select_rows(activations: Tensor, k: int) -> SparseCodes:
    """The ``k`` largest of each row of ``activations``, shape (rows, features), all >= 0."""
    values, features = torch.topk(activations, k, dim=1, sorted=False)
    starts = torch.arange(0, features.numel(), k, device=features.device)
    return SparseCodes(values.reshape(-1), features.reshape(-1), starts)


def select_batch(activations: Tensor, k: int) -> SparseCodes:
    """The k·rows largest of the whole batch, so that a hard row may use more than an easy one.

    Source: Bussmann, Leask & Nanda (2024), "BatchTopK sparse autoencoders", arXiv 2412.06410.
    """
    rows, width = activations.shape
    flat = torch.topk(activations.reshape(-1), k * rows, sorted=False).indices.sort().values
    row = flat // width
    counts = torch.bincount(row, minlength=rows)
    return SparseCodes(activations.reshape(-1)[flat], flat % width, counts.cumsum(0) - counts)


def decode(codes: SparseCodes, atoms: Tensor) -> Tensor:
    """Σ value·atom of each row, shape (rows, width); cost grows with k, not with the features."""
    return embedding_bag(
        codes.features, atoms, codes.starts, per_sample_weights=codes.values, mode="sum"
    )


def aux_loss(activations: Tensor, residual: Tensor, atoms: Tensor, dead: Tensor, k: int) -> Tensor:
    """How badly dead features alone rebuild ``residual``, as a fraction of its variance.

    activations
        Shape (rows, features), >= 0; only the ``dead`` columns, a boolean mask, are used, so the
        gradient reaches no live feature.
    residual
        Shape (rows, width), detached: what the live features leave.
    returns
        A scalar >= 0; 0 if nothing is dead or the residual is constant.

    Source: Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093, A.2.
    """
    index = dead.nonzero().squeeze(1)
    variance = (residual - residual.mean(dim=0)).square().sum()
    if len(index) == 0 or variance.item() == 0:
        return residual.new_zeros(())
    codes = select_rows(activations[:, index], min(k, len(index)))
    return (residual - decode(codes, atoms[index])).square().sum() / variance


def smallest_kept(codes: SparseCodes) -> float | None:
    """The smallest selected value > 0, from which the inference threshold is averaged."""
    positive = codes.values[codes.values > 0]
    return positive.min().item() if len(positive) else None
