"""What scikit-learn tells of latents and labels: an area under the curve of each pair."""

import time

import numpy as np
import scipy.sparse
from answering import answer
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

_given: dict[str, scipy.sparse.csc_array | NDArray[np.int64]] = {}


def prepare(arrays: str, rows: int, features: int) -> None:
    """Hold the values by latent: ``locations`` (sequence, place, latent), ``values``, and the
    ``labels`` of rows."""
    given = load_file(arrays)
    sequence, place, latent = given["locations"].T
    row = sequence * given["tokens"].shape[1] + place
    values = given["values"].astype(np.float32)
    _given["values"] = scipy.sparse.csc_array((values, (row, latent)), (rows, features))
    _given["labels"] = given["labels"]


def areas(latents: list[int]) -> float:
    """Of some latents with each label against all others; seconds for as many as there are."""
    values, labels = _given["values"], _given["labels"]
    started = time.perf_counter()
    for latent in latents:
        column = values[:, [latent]].toarray()[:, 0]
        for label in np.unique(labels):
            roc_auc_score(labels == label, column)
    seconds = time.perf_counter() - started
    return seconds * values.shape[1] / len(latents)


if __name__ == "__main__":
    answer({"prepare": prepare, "areas": areas})
