"""Activations of a row range: every wanted row once, padding never, several sites in one pass."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actlake.flows.extraction.batches import plan_batches
from actlake.flows.extraction.forward import forward, text_inputs
from actlake.flows.extraction.kept_rows import KeptRows, gather
from actlake.flows.extraction.memory import told_of_memory
from actlake.flows.extraction.models import LoadedModel
from actlake.flows.extraction.sites import POOLED, find_point, pooled_width
from actlake.flows.extraction.windows import Window
from actlake.storage.errors import InputError, ModelError
from actlake.storage.site_columns import cut_columns, split_columns

Pixels = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""What the model sees of the images at some indices: shape (images, channels, height, width)."""


def capture(
    loaded: LoadedModel,
    sites: Sequence[str],
    windows: Sequence[Window],
    *,
    row_start: int,
    row_stop: int,
    token_budget: int,
    pixels: Pixels | None = None,
    dtype: str = "float32",
) -> dict[str, NDArray[np.floating]]:
    """Each site's activations of rows [row_start, row_stop), shape (rows, width), in row order.

    The passes follow ``plan_batches``, so equal arguments, threads and versions give equal bits.
    ``pixels`` gives the images that the windows are, by their index; None where they are of text.
    In the stored ``dtype`` where a site's values fit it, or else in float32, as for int8.
    Raises InputError where ``windows`` do not hold each row of a non-empty range exactly once.
    """
    _refuse_gaps(windows, row_start, row_stop)
    points = {site: find_point(loaded.module, site) for site in sites}
    kept = {site: KeptRows(row_start, row_stop, split_columns(site)[1], dtype) for site in sites}
    for batch in _batches(loaded, windows, token_budget, pixels):

        def keep(site: str, value: Tensor, batch: _Batch = batch) -> None:
            kept[site].take(value, batch.windows)

        with torch.inference_mode(), told_of_memory(batch.what):
            batch.check(forward(loaded.module, batch.inputs, points, keep))
    return {site: rows.array() for site, rows in kept.items()}


def pool(
    loaded: LoadedModel,
    documents: Sequence[Sequence[Window]],
    sites: Sequence[str],
    *,
    token_budget: int,
    pixels: Pixels | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Each pooled site's vector of each document, shape (documents, width), in order.

    ``documents`` holds the windows of each one, all rows wanted; ``pixels`` as in ``capture``. From
    the last hidden state: ``mean`` (summed in float64) and ``max`` over the non-special rows of all
    windows, ``last`` the last of those rows, ``cls`` the first row of the first window.
    """
    wanted = {site: split_columns(site) for site in sites}
    unknown = [site for site, (place, _) in wanted.items() if place not in POOLED]
    if unknown:
        raise InputError(f"no pooled site {unknown[0]}; choose one of {', '.join(POOLED)}")
    if loaded.last_layer is not None:
        raise ModelError(
            f"pooled sites need the last block, and the model was loaded up to layer "
            f"{loaded.last_layer}; load the whole model"
        )
    for document, windows in enumerate(documents):
        if not windows or all(window.is_special.all() for window in windows):
            raise InputError(
                f"document {document} of those to pool has no content; leave it out of the corpus"
            )
    windows = [window for of_document in documents for window in of_document]
    owner = np.repeat(np.arange(len(documents)), [len(of_document) for of_document in documents])
    firsts = np.flatnonzero(np.diff(owner, prepend=-1))
    width = pooled_width(loaded.module)
    count = np.zeros(len(documents), np.int64)
    total = np.zeros((len(documents), width), np.float64)
    pooled = {
        "pooled.max": np.full((len(documents), width), -np.inf, np.float32),
        "pooled.cls": np.full((len(documents), width), np.nan, np.float32),
        "pooled.last": np.full((len(documents), width), np.nan, np.float32),
    }
    last_content = {int(owner[i]): i for i, w in enumerate(windows) if not w.is_special.all()}
    for batch in _batches(loaded, windows, token_budget, pixels):
        with torch.inference_mode(), told_of_memory(batch.what):
            hidden = forward(loaded.module, batch.inputs, {}, lambda _site, _value: None)
        batch.check(hidden)
        values = np.split(batch.gather(hidden), np.cumsum([len(w.kept) for w in batch.windows]))
        for index, rows in zip(batch.indices, values, strict=False):
            document = int(owner[index])
            content = rows[~windows[index].is_special]
            if index == firsts[document]:
                pooled["pooled.cls"][document] = rows[0]
            if index == last_content[document]:
                pooled["pooled.last"][document] = content[-1]
            if len(content):
                count[document] += len(content)
                total[document] += content.sum(axis=0, dtype=np.float64)
                np.maximum(
                    pooled["pooled.max"][document],
                    content.max(axis=0),
                    out=pooled["pooled.max"][document],
                )
    pooled["pooled.mean"] = (total / count[:, None]).astype(np.float32)
    return {site: cut_columns(pooled[place], columns) for site, (place, columns) in wanted.items()}


@dataclass(frozen=True, slots=True)
class _Batch:
    indices: NDArray[np.int64]
    windows: list[Window]
    inputs: dict[str, Tensor]

    @property
    def what(self) -> str:
        windows, tokens = len(self.windows), self.longest
        return f"a pass of {windows * tokens:,} tokens ({windows} windows of {tokens})"

    @property
    def longest(self) -> int:
        return len(self.windows[0].token_ids)

    def check(self, hidden: Tensor) -> None:
        """ModelError where the model made more or fewer tokens of an image than it has rows."""
        if "pixel_values" in self.inputs and hidden.shape[1] != self.longest:
            raise ModelError(
                f"the model makes {hidden.shape[1]} tokens of an image of {self.longest} rows; "
                "give one that docs/sites.md says sees images"
            )

    def gather(self, value: Tensor) -> NDArray[np.float32]:
        """The wanted rows of all windows, in their order, copied to the host."""
        array: NDArray[np.float32] = gather(value, self.windows).to("cpu", torch.float32).numpy()
        return array


def _batches(
    loaded: LoadedModel, windows: Sequence[Window], token_budget: int, pixels: Pixels | None
) -> Iterator[_Batch]:
    """The planned batches, padded on the right, where causal and masked models ignore it."""
    limit = loaded.facts.window_limit
    lengths = [len(window.token_ids) for window in windows]
    if limit is not None and max(lengths, default=0) > limit:
        raise InputError(
            f"a window of {max(lengths)} tokens is longer than the {limit} positions of "
            f"{loaded.facts.name}; make a rowset with a shorter window"
        )
    for indices in plan_batches(lengths, token_budget):
        batch = [windows[index] for index in indices]
        if pixels is not None:
            seen = torch.from_numpy(pixels(indices)).to(loaded.device, loaded.module.dtype)
            yield _Batch(indices, batch, {"pixel_values": seen})
            continue
        padding = loaded.tokenizer.pad_token_id or 0
        longest = len(batch[0].token_ids)
        ids = np.full((len(batch), longest), padding, np.int64)
        mask = np.zeros((len(batch), longest), np.int64)
        for i, window in enumerate(batch):
            ids[i, : len(window.token_ids)] = window.token_ids
            mask[i, : len(window.token_ids)] = 1
        tokens, seen = (torch.from_numpy(array).to(loaded.device) for array in (ids, mask))
        yield _Batch(indices, batch, text_inputs(loaded.module, tokens, seen))


def _refuse_gaps(windows: Sequence[Window], row_start: int, row_stop: int) -> None:
    if row_start >= row_stop:
        raise InputError(f"no rows from {row_start} to {row_stop}; give a range that holds some")
    expected = row_start
    for window in sorted(windows, key=lambda window: window.start):
        if window.start != expected:
            what = "no window holds" if window.start > expected else "two windows hold"
            raise InputError(
                f"{what} row {min(expected, window.start)} of {row_start} to {row_stop}; take the "
                "windows of exactly these rows"
            )
        expected = window.stop
    if expected != row_stop:
        raise InputError(
            f"the windows end at row {expected} and not at {row_stop}; take the windows of exactly "
            "these rows"
        )
