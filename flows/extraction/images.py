"""What a model makes of an image before its first block: pixels of one size, and their patches."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoImageProcessor, PretrainedConfig

from actlake.flows.extraction.sources import files, quiet
from actlake.flows.extraction.tokens import DocumentRows
from actlake.storage.errors import ModelError, first_line

__all__ = ["PROCESSOR", "VERSION", "Patches", "patches_of", "pixels_of", "read_processor"]

PROCESSOR = ("preprocessor_config.json", "processor_config.json")
VERSION = "patches 1"
_LARGEST = 1 << 14
"""Pixels to a side of what a model sees, and numbers in what its processor is told."""
_REGISTERS = 1 << 10
_TRIALS = ((31, 47), (64, 32))
"""Sizes of images, of which a processor must make pixels of one size."""


@dataclass(frozen=True, slots=True)
class Patches:
    """The rows of an image: tokens that the model adds, then patches line by line."""

    lines: int
    """Patches from top to bottom."""
    columns: int
    before: int
    """Tokens that the model puts before them: its class token, then registers."""
    height: int
    """Of the pixels that the model sees."""
    width: int

    @property
    def tokens(self) -> int:
        """Rows of an image."""
        return self.before + self.lines * self.columns

    def vocabulary(self) -> list[str]:
        """What each token id is called: patches by line and column from 0, then what is added."""
        places = [f"patch({i},{j})" for i in range(self.lines) for j in range(self.columns)]
        registers = [f"[REG{number}]" for number in range(1, self.before)]
        return [*places, *["[CLS]"][: self.before], *registers]

    def rows(self, document: int) -> DocumentRows:
        """The rows of one image, which is one window; their spans of text are empty."""
        patches = self.lines * self.columns
        position = np.arange(self.tokens, dtype=np.int32)
        none = np.zeros(self.tokens, np.int32)
        return DocumentRows(
            document=document,
            token_id=np.where(position < self.before, patches + position, position - self.before),
            position=position,
            window=none,
            window_position=position,
            char_start=none,
            char_stop=none,
            is_special=position < self.before,
        )


def read_processor(path: Path, source: str) -> Any:
    """The image processor in ``path``, as it computes without torchvision.

    ModelError where there is none, or it cannot be read; it runs no code of the model.
    """
    if not files(path, PROCESSOR):
        raise ModelError(
            f"no image processor in {path} for the model {source}; add its {PROCESSOR[0]}"
        )
    with quiet():
        try:
            # The other backend makes other pixels, so it must not depend on what is installed.
            return AutoImageProcessor.from_pretrained(path, backend="pil", trust_remote_code=False)
        except Exception as error:  # a file is anybody's, and libraries raise what they like
            raise ModelError(
                f"the image processor of {source} cannot be read: {first_line(error)}; check "
                f"{path / PROCESSOR[0]}, and that Pillow is installed (actlake[images])"
            ) from error


def patches_of(path: Path, source: str, config: PretrainedConfig) -> Patches:
    """How the model at ``source`` cuts an image, by its processor and config.

    ModelError for a processor that makes pixels of several sizes, or of one that the model does
    not take.
    """
    file = path / "config.json"
    sides, patch = (_pair(config, name, file) for name in ("image_size", "patch_size"))
    if (channels := config.num_channels) != 3:
        raise ModelError(
            f"the model {source} takes {channels!r} channels, and images have 3; give another one"
        )
    registers = getattr(config, "num_register_tokens", 0) if "registers" in config.model_type else 0
    if not isinstance(registers, int) or not 0 <= registers <= _REGISTERS:
        raise ModelError(
            f"num_register_tokens is {registers!r} and not 0 to {_REGISTERS:,}; check {file}"
        )
    for one in files(path, PROCESSOR):
        _refuse_huge(one)
    processor = read_processor(path, source)
    made = [pixels_of(processor, np.zeros((*size, 3), np.uint8), source) for size in _TRIALS]
    shapes = {one.shape for one in made}
    if len(shapes) > 1:
        raise ModelError(
            f"the image processor of {source} makes pixels of several sizes; set a crop_size, or a "
            f"size with height and width, in {path / PROCESSOR[0]}"
        )
    _, height, width = made[0].shape
    # dinov2 fits its positions to any size.
    if (height, width) != sides and not config.model_type.startswith("dinov2"):
        raise ModelError(
            f"the image processor of {source} makes {height} × {width} pixels and the model takes "
            f"{sides[0]} × {sides[1]}; check {path / PROCESSOR[0]}"
        )
    lines, columns = height // patch[0], width // patch[1]
    if not lines or not columns:
        raise ModelError(
            f"{height} × {width} pixels hold no patch of {patch[0]} × {patch[1]}; check {file}"
        )
    return Patches(lines, columns, 1 + registers, height, width)


def pixels_of(processor: Any, image: NDArray[np.uint8], source: str) -> NDArray[np.float32]:
    """What the model sees of ``image``, (height, width, 3): shape (3, height, width)."""
    try:
        made = processor(images=[image], input_data_format="channels_last", return_tensors="np")
        pixels: NDArray[np.float32] = np.asarray(made["pixel_values"][0], np.float32)
    except MemoryError:
        raise
    except Exception as error:  # what its settings say is anybody's
        raise ModelError(
            f"the image processor of {source} fails on an image of {image.shape[0]} × "
            f"{image.shape[1]} pixels: {first_line(error)}; check its {PROCESSOR[0]}"
        ) from error
    if pixels.ndim != 3 or pixels.shape[0] != 3:
        raise ModelError(
            f"the image processor of {source} makes pixels of shape {pixels.shape} and not "
            f"(3, height, width); check its {PROCESSOR[0]}"
        )
    return pixels


def _pair(config: PretrainedConfig, name: str, file: Path) -> tuple[int, int]:
    """Height and width, which are one number where they are equal."""
    value = getattr(config, name, None)
    sides = [value, value] if isinstance(value, int) else value
    if (
        not isinstance(sides, list | tuple)
        or len(sides) != 2
        or any(not isinstance(side, int) or not 0 < side <= _LARGEST for side in sides)
    ):
        raise ModelError(f"{name} is {value!r} and not 1 to {_LARGEST:,}; check {file}")
    return sides[0], sides[1]


def _refuse_huge(file: Path) -> None:
    """A processor makes what it is told, whatever that takes."""
    try:
        said = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # which reading it says
    for value in _numbers(said):
        if value > _LARGEST:
            raise ModelError(
                f"{file} says {value}, and images may have {_LARGEST:,} pixels to a side; mend it"
            )


def _numbers(said: object) -> Iterator[int]:
    match said:
        case dict():
            said = [*said.values()]
        case int():
            yield said
    if isinstance(said, list):
        for one in said:
            yield from _numbers(one)
