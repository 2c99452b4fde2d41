"""Activations of images: one vector a patch, and one for each token that the model adds."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from actlake.flows.extraction.architectures import IMAGES
from actlake.flows.extraction.forward import forward
from actlake.flows.extraction.sites import find_point
from actlake.storage.errors import InputError, ModelError
from actlake.storage.site_columns import split_columns

__all__ = ["capture_patches"]


def capture_patches(
    model: PreTrainedModel,
    sites: Sequence[str],
    pixels: NDArray[np.floating],
    *,
    images_at_once: int,
) -> dict[str, NDArray[np.float32]]:
    """Each site's activations, shape (images, tokens, width), in the order of the images.

    ``pixels`` has shape (images, channels, height, width), as the model's image processor makes
    them. Tokens come in the model's order: its class token, registers if it has any, then the
    patches row by row. Equal arguments, threads and versions give equal bits. Raises ModelError
    for a model that does not see images.
    """
    if model.config.model_type not in IMAGES:
        raise ModelError(
            f"the architecture {model.config.model_type} is none of those that see images; choose "
            f"one of {', '.join(sorted(IMAGES))}"
        )
    if pixels.ndim != 4 or not len(pixels) or images_at_once < 1:
        raise InputError(
            f"pixels of shape {pixels.shape}, {images_at_once} images at once, make no pass; give "
            "(images, channels, height, width) and at least 1"
        )
    points = {site: find_point(model, site) for site in sites}
    columns = {site: split_columns(site)[1] for site in sites}
    parts: dict[str, list[NDArray[np.float32]]] = {site: [] for site in sites}

    def keep(site: str, value: Tensor) -> None:
        if (of := columns[site]) is not None:
            value = value[..., list(of)]
        # A copy: a later module may write in place.
        parts[site].append(value.to("cpu", torch.float32, copy=True).numpy())

    for first in range(0, len(pixels), images_at_once):
        images = torch.from_numpy(np.ascontiguousarray(pixels[first : first + images_at_once]))
        inputs = {"pixel_values": images.to(model.device, model.dtype)}
        with torch.inference_mode():
            # The first one whole: it shows whether a module is reached again later.
            forward(model, inputs, points, keep, whole=not first)
    return {site: np.concatenate(arrays) for site, arrays in parts.items()}
