"""Images drawn by NumPy, and tiny models that see them, saved as users have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actlake.flows.ingest import ingest, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage.lake import Lake
from tests.flows.extraction.conftest import random_model

PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}},
    # Its positions are fitted to another size than that of its config.
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "do_center_crop": True,
        "size": {"shortest_edge": 14},
        "crop_size": {"height": 12, "width": 8},
    },
    "clip_vision_model": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 8},
        "crop_size": {"height": 8, "width": 8},
    },
}
PROCESSORS["dinov2_with_registers"] = PROCESSORS["dinov2"]


def save_vision_model(architecture: str, folder: Path) -> Path:
    """A model of three layers, 16 wide, with patches of 4 × 4 pixels, and its processor."""
    random_model(architecture).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[architecture]))
    return folder


def draw(images: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Noise, shape (images, 11, 9, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (images, 11, 9, 3), dtype=np.uint8)


def write_images(folder: Path, pixels: NDArray[np.uint8]) -> Path:
    """One file an image, in the folders ``a`` and ``b`` by turns; ordered as ``pixels``."""
    half = -(-len(pixels) // 2)
    for index, one in enumerate(pixels):
        path = folder / "ab"[index >= half] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(one).save(path)
    return folder


def image_lake(path: Path, source: Path, model: Path) -> Lake:
    """A lake with the images of ``source`` as corpus ``p``, cut for ``model``."""
    lake = Lake.create(path)
    ingest(lake, corpus="p", source=Source(path=str(source)))
    ingest_tokens(lake, corpus="p", source=str(model))
    return lake
