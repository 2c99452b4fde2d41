"""Random directions: what a dictionary must beat before its structure means anything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar, require_sizes
from actlake.storage.errors import InputError


def random_dictionary(
    sample: NDArray[Any], n_features: int, k: int, *, seed: int = 0
) -> Dictionary:
    """Random unit atoms, tied encoder, the ``k`` largest codes of each row, fitted to ``sample``.

    ``sample``, shape (rows, width), gives b_dec, its mean, and one number: the scale of all codes
    that rebuilds the sample with the least squared error. Without it overlapping atoms overshoot
    and the baseline would look worse than random directions are. Rows are held several times over
    in float32 while fitting.

    Raises InputError for sizes that do not fit and for a sample that is empty or not finite.
    """
    require_sizes(n_features, k)
    mean = sample_mean(sample)
    width = sample.shape[1]
    atoms = unit_rows(n_features, width, seed)
    config: dict[str, Scalar] = {
        "method": "random",
        "n_features": n_features,
        "width": width,
        "k": k,
        "selection": "topk",
        "seed": seed,
        "sample_rows": len(sample),
    }
    arrays = {
        "W_enc": np.ascontiguousarray(atoms.T),
        "b_enc": np.zeros(n_features, np.float32),
        "W_dec": atoms,
        "b_dec": mean.astype(np.float32),
    }
    unscaled = Dictionary("random", config, arrays)
    centred = sample.astype(np.float32) - arrays["b_dec"]
    rebuilt = unscaled.decode(unscaled.encode(sample)) - arrays["b_dec"]
    # The encoder is tied, so numerator = Σ codes² >= 0; a constant sample has no codes.
    energy = float(np.square(rebuilt, dtype=np.float64).sum())
    code_scale = float((centred * rebuilt).sum(dtype=np.float64)) / energy if energy else 1.0
    scaled = {**arrays, "W_enc": arrays["W_enc"] * np.float32(code_scale)}
    return Dictionary("random", {**config, "code_scale": code_scale}, scaled)


def unit_rows(n: int, width: int, seed: int) -> NDArray[np.float32]:
    """``n`` directions uniform on the sphere, shape (n, width)."""
    rows = np.random.default_rng(seed).standard_normal((n, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def sample_mean(sample: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of ``sample``, shape (rows, width); InputError if it is empty or not finite."""
    if sample.ndim != 2 or len(sample) == 0:
        raise InputError(f"the sample has shape {sample.shape}; give at least 1 row of activations")
    mean = np.asarray(sample.astype(np.float32).mean(axis=0, dtype=np.float64))
    if not np.isfinite(mean).all():
        raise InputError("the sample holds a value that is not finite; mask such rows out")
    return mean
