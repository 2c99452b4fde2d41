"""What the weights of a dictionary say of each feature, before any row is seen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.neighbours import Neighbours, nearest

Floats = NDArray[np.float64]
OUTLIER_SHARE = 0.01
"""Of the dimensions: those that the decoder directions together put the most weight on."""


def weight_facts(
    dictionary: Dictionary, neighbours: Neighbours | None = None
) -> dict[str, NDArray[Any]]:
    """Columns of features, each of shape (n_features,); NaN, or nearest -1, where there is none.

    Norms and cosines of the encoder and decoder directions; the bias and threshold of the encoder;
    the nearest decoder direction, self left out, with the chance ``p`` that the best of as many
    random directions is as near; ``participation_ratio`` (Σw²)²/Σw⁴, from 1 for an axis to the
    width for an even spread; ``outlier_share`` of the squared norm in the 1 % of dimensions (one
    at least) that all directions share most. Without arrays, as of the identity, feature j is
    unit j. A direction of norm 0 has no cosines. ``neighbours`` of the decoder directions are
    found if they are not given; time and memory are theirs, and one float64 copy of the decoder.
    """
    n, width = dictionary.n_features, dictionary.width
    nothing = np.full(n, np.nan)
    found: dict[str, NDArray[Any]] = {
        "feature": np.arange(n),
        "encoder_bias": nothing,
        "threshold": nothing,
        "decoder_bias_cosine": nothing,
    }
    arrays = dictionary.arrays
    if "W_dec" not in arrays:
        ones = np.ones(n)
        return found | {
            "decoder_norm": ones,
            "encoder_norm": ones,
            "encoder_decoder_cosine": ones,
            "nearest_decoder": np.full(n, -1),
            "nearest_decoder_cosine": nothing,
            "nearest_decoder_p": nothing,
            "participation_ratio": ones,
            "outlier_share": nothing,
        }
    decoder, encoder = arrays["W_dec"], arrays["W_enc"].T
    norm, encoder_norm = _norms(decoder), _norms(encoder)
    unit = (decoder / _positive(norm)[:, None]).astype(np.float32)
    dot = np.einsum("fd,fd->f", decoder, encoder, dtype=np.float64)
    bias = arrays["b_dec"].astype(np.float64)
    squares = np.square(unit.astype(np.float64))
    together = np.nansum(squares, axis=0)
    outliers = np.argsort(-together, kind="stable")[: max(1, round(OUTLIER_SHARE * width))]
    found["encoder_bias"] = arrays["b_enc"].astype(np.float64)
    if "threshold" in arrays:
        found["threshold"] = np.full(n, float(arrays["threshold"][0]))
    near = nearest(decoder, 1) if neighbours is None else neighbours
    return found | {
        "decoder_norm": norm,
        "encoder_norm": encoder_norm,
        "encoder_decoder_cosine": dot / _positive(norm * encoder_norm),
        "decoder_bias_cosine": unit @ bias / _positive(np.array(np.linalg.norm(bias))),
        "nearest_decoder": near.neighbour[:, 0],
        "nearest_decoder_cosine": near.cosine[:, 0],
        "nearest_decoder_p": near.p[:, 0],
        "participation_ratio": 1 / np.square(squares).sum(axis=1),
        "outlier_share": squares[:, outliers].sum(axis=1),
    }


def _norms(rows: NDArray[Any]) -> Floats:
    norms: Floats = np.sqrt(np.einsum("fd,fd->f", rows, rows, dtype=np.float64))
    return norms


def _positive(norm: Floats) -> Floats:
    return np.where(norm > 0, norm, np.nan)
