"""Rows by split, and how well a dictionary rebuilds those that it was not trained on."""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.activations.gram import Gram
from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.pca import pca, pca_fvu
from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.analytics.evaluation.split import SPLITS, split_of
from actlake.analytics.statistic import merge_in_order
from actlake.storage.batches import Batches
from actlake.storage.errors import InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.tensors import Tensor

__all__ = ["SplitRows", "score_table"]

SCORED = ("train", "holdout")
BLOCK_BYTES = 1 << 24
"""Of rows in float32 that are looked at together, unless there are more columns than rows."""


class SplitRows:
    """The rows of a tensor under a mask, by the split that their documents fall into."""

    def __init__(self, lake: Lake, tensor: Tensor, mask: Mask) -> None:
        self._lake = lake
        self.tensor = tensor
        self.mask = mask
        self._kept: dict[tuple[str, int], NDArray[np.uint8]] = {}
        """A bit a row, asked for again in every epoch and by every baseline."""

    def keep(self, split: str) -> Callable[[int, int], NDArray[np.bool_]]:
        """Which rows [start, stop) of a shard are under the mask and in the split."""
        wanted = SPLITS.index(split)

        def keep(start: int, stop: int) -> NDArray[np.bool_]:
            if (split, start) not in self._kept:
                document = self.tensor.rowset.column("document", start, stop)
                masked = self._lake.mask_rows(self.mask, self.tensor.rowset, start, stop)
                self._kept[split, start] = np.packbits(masked & (split_of(document) == wanted))
            return np.unpackbits(self._kept[split, start], count=stop - start).astype(np.bool_)

        return keep

    def batches(self, split: str, size: int, *, seed: int, epochs: int = 1) -> Batches:
        """Shuffled batches of the split."""
        return Batches([self.tensor], size, seed=seed, epochs=epochs, keep=self.keep(split))

    def sample(self, size: int) -> NDArray[np.float32]:
        """At most ``size`` shuffled training rows."""
        return self.batches("train", size, seed=0)[0].values[0].astype(np.float32)

    def blocks(self, split: str) -> Iterator[NDArray[np.float32]]:
        """The rows of the split, in order, some of a shard at a time."""
        keep = self.keep(split)
        # Of fewer rows than columns, a scatter is larger than what it is of.
        most = max(self.tensor.width, BLOCK_BYTES // (4 * self.tensor.width))
        for shard in range(len(self.tensor.grid)):
            rows = self.tensor.shard(shard)
            kept = np.flatnonzero(keep(*self.tensor.grid.span(shard)))
            for first in range(0, len(kept), most):
                yield np.asarray(rows[kept[first : first + most]], np.float32)

    def counts(self, split: str) -> dict[int, int]:
        """Rows of the split in each shard that has any."""
        keep, grid = self.keep(split), self.tensor.grid
        found = {shard: int(keep(*grid.span(shard)).sum()) for shard in range(len(grid))}
        return {shard: n for shard, n in found.items() if n}

    def gram(self, split: str) -> Gram:
        """Mean and scatter of the split."""
        return merge_in_order(Gram.of(block) for block in self.blocks(split))

    def require_documents(self) -> None:
        """InputError unless both training and held-out rows exist."""
        for split in SCORED:
            if not self.counts(split):
                raise InputError(
                    f"no row of tensor {self.tensor.name} under the mask {self.mask.name} falls "
                    f"into the {split} split; a dictionary needs more documents"
                )


def score_table(
    run: str,
    dictionary: str,
    split: SplitRows,
    learned: Dictionary,
    random: Dictionary | None,
) -> pa.Table:
    """Rows of ``evaluations``: the dictionary's metrics, and ``fvu_*`` of the baselines.

    Baselines are measured where there is ``random``, a dictionary of random directions.
    ``fvu_pca`` is that of the first k principal axes, k numbers a row; ``fvu_pca_topk`` keeps the
    k largest coefficients of each row; ``fvu_random`` is that of ``random``.
    """
    trained = None if random is None else split.gram("train")
    rows = []
    for name in SCORED:
        metrics = _metrics(split, name, learned)
        n = int(metrics.pop("n_rows"))
        if random is not None and trained is not None:
            metrics["fvu_random"] = _metrics(split, name, random)["fvu"]
            width = len(trained.mean)
            k = min(learned.k, width)
            measured = trained if name == "train" else split.gram(name)
            metrics["fvu_pca"] = pca_fvu(trained, k, measured)
            metrics["fvu_pca_topk"] = _metrics(split, name, pca(trained, width, k))["fvu"]
        rows += [
            {
                "dictionary": dictionary,
                "tensor": split.tensor.name,
                "mask": split.mask.name,
                "split": name,
                "metric": metric,
                "value": value,
                "n": n,
                "run": run,
            }
            for metric, value in metrics.items()
        ]
    return pa.Table.from_pylist(rows, arrow_schema("evaluations"))


def _metrics(split: SplitRows, name: str, dictionary: Dictionary) -> dict[str, float]:
    def sums(block: NDArray[np.float32]) -> ReconstructionSums:
        codes = dictionary.encode(block)
        return ReconstructionSums.of(block, dictionary.decode(codes), codes)

    return merge_in_order(sums(block) for block in split.blocks(name)).finish()
