"""A dictionary's encoder in torch: the same codes, on every core, or on an accelerator."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Block, Dictionary, encoded
from actlake.analytics.dictionaries.selection import largest_positive
from actlake.storage.csr import Csr, index_dtype

__all__ = ["TorchEncoder"]

BLOCKS = 2
"""Encoded at once: they are multiplied into one place, of which numpy has a copy or two."""


class TorchEncoder:
    """What ``dictionary`` encodes with, held on ``device``; by one thread at a time.

    Its matrices are multiplied by another library than numpy's, so low bits may differ, and with
    them which of two features that are as good as equal is kept.
    """

    def __init__(self, dictionary: Dictionary, device: str = "cpu") -> None:
        self._dictionary, self._device = dictionary, device
        self._arrays = {
            name: torch.tensor(array, device=device) for name, array in dictionary.arrays.items()
        }
        self._kept = torch.empty((0, dictionary.n_features), device=device)

    def encode(self, rows: NDArray[Any], dtype: str = "float32") -> Csr:
        """As ``Dictionary.encode``, with its bounds and errors."""
        with torch.inference_mode():
            return encoded(self._dictionary, rows, dtype, self._block, BLOCKS)

    def _block(self, rows: NDArray[np.float32]) -> Block:
        x = torch.from_numpy(np.ascontiguousarray(rows)).to(self._device)
        if "W_enc" in self._arrays:
            x = torch.addmm(
                self._arrays["b_enc"],
                x - self._arrays["b_dec"],
                self._arrays["W_enc"],
                out=self._room(len(x)),
            )
        if "threshold" in self._arrays:
            mask = x > self._arrays["threshold"]  # values <= 0 go with the cast
            feature, value, length = mask.nonzero()[:, 1], x[mask], mask.sum(1)
        else:
            feature, value, length = self._largest(x)
        return (
            length.cpu().numpy(),
            feature.cpu().numpy().astype(index_dtype(self._dictionary.n_features)),
            value.cpu().numpy(),
        )

    def _room(self, rows: int) -> torch.Tensor:
        """Where so many rows of all features go: the same place for each block, since memory that
        is new is written to at a fraction of the speed."""
        if len(self._kept) < rows:
            shape = rows, self._dictionary.n_features
            self._kept = torch.empty(shape, device=self._device)
        return self._kept[:rows]

    def _largest(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The k largest entries > 0 of each row, ties to the lower feature: features, values, and
        how many each row has."""
        k, features = self._dictionary.k, x.shape[1]
        value, feature = x.topk(min(k + 1, features), dim=1)
        if k < features:
            # Of those that equal the smallest one kept, topk keeps any.
            tied = ((value[:, k] == value[:, k - 1]) & (value[:, k] > 0)).nonzero()[:, 0]
            value, feature = value[:, :k].clone(), feature[:, :k].clone()
            for row in tied.tolist():
                kept = largest_positive(x[row : row + 1].cpu().numpy(), k)[0].nonzero()[0]
                feature[row] = torch.from_numpy(kept).to(x.device)
                value[row] = x[row, feature[row]]
        feature, order = feature.sort(dim=1)
        value = value.gather(1, order)
        fires = value > 0
        return feature[fires], value[fires], fires.sum(1)
