"""Other tools, with the same postings as the lake that is measured."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from actlake.storage import Lake
from benchmarks.feature_lake import DOCUMENT_ROWS, topic_of
from benchmarks.peer import Peer
from benchmarks.small_models import random_llama


def open_delphi(opened: ExitStack, folder: Path, lake: Lake) -> Peer:
    """Delphi with the postings of ``codes`` in memory and in its own files."""
    peer = opened.enter_context(Peer("latents.py"))
    peer.seconds(
        "prepare",
        arrays=str(_postings(folder, lake)),
        folder=str(folder / "delphi"),
        features=lake.codes("codes").n_features,
        tokenizer=str(random_llama(folder, 32)),
    )
    return peer


def open_sklearn(opened: ExitStack, folder: Path, lake: Lake) -> Peer:
    """scikit-learn with the postings of ``codes`` and the topic of each row in memory."""
    peer = opened.enter_context(Peer("labels.py"))
    codes = lake.codes("codes")
    rows = len(codes) // DOCUMENT_ROWS * DOCUMENT_ROWS
    given = {"arrays": str(_postings(folder, lake)), "features": codes.n_features}
    peer.seconds("prepare", rows=rows, **given)
    return peer


def _postings(folder: Path, lake: Lake) -> Path:
    """A file of those of whole documents: (document, place, feature) and value of each, and the
    token and the topic of each row."""
    path = folder / "postings"
    if path.exists():
        return path
    codes = lake.codes("codes")
    block = codes[:]
    row = block.row_of_value()
    locations = np.stack([row // DOCUMENT_ROWS, row % DOCUMENT_ROWS, block.indices], axis=1)
    tokens = codes.rowset.column("token_id") % 30 + 1  # of a small tokenizer
    whole = len(codes) // DOCUMENT_ROWS * DOCUMENT_ROWS
    arrays: dict[str, NDArray[Any]] = {
        "locations": locations[row < whole],
        "values": block.values[row < whole],
        "tokens": tokens[:whole].reshape(-1, DOCUMENT_ROWS),
        "labels": topic_of(np.arange(whole) // DOCUMENT_ROWS),
    }
    save_file(arrays, path)
    return path
