"""Images as documents: what is known of each, and their pixels again, unchanged.

Pixels are never copied into a lake. A document of an image holds its path below the source, and as
a label the hash of what was there, so that whoever reads it again sees the same or is told.
"""

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.flows.source_files import SourceFile
from actlake.storage.errors import CorpusError

__all__ = [
    "FOLDER",
    "HASH",
    "IMAGES",
    "address",
    "array_facts",
    "image_facts",
    "place_of_images",
    "read_image",
]

IMAGES = ("image", "array")
"""Formats of files that hold images: one each, or an array of them."""
HASH = "image_sha256"
"""The label that every image has: of the bytes of its file, or of its part of an array."""
FOLDER = "folder"
"""The label of files in folders: the first one below the source, which is the usual class."""
PLACE = "images:"
"""Before the source of a corpus of images: then the folder, whole, that the paths are below."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_WIDE = re.compile("I|F|I;16.*")
"""Modes of Pillow whose values are no bytes."""
_IN_ARRAY = re.compile(r"(.+)\[(\d+)\]")
_decoded: set[bytes] = set()
"""Hashes of files that this process could decode: a source is read up to four times."""


def address(file: SourceFile, index: int) -> str:
    """Path of an image below its source; of one in an array with its index from 0 in brackets."""
    return file.name if file.format == "image" else f"{file.name}[{index}]"


def place_of_images(file: SourceFile) -> str:
    """What the source of a corpus says, so that its images are found again."""
    return f"{PLACE}{file.path.absolute().parents[len(PurePath(file.name).parts) - 1]}"


def image_facts(file: SourceFile) -> tuple[str | None, str]:
    """The first folder below the source, None without one, and the SHA-256 of the file's bytes.

    CorpusError for what is no whole image of 8 bits a channel, or too large to be decoded.
    """
    data = file.path.read_bytes()
    hash_ = hashlib.sha256(data)
    if hash_.digest() not in _decoded:
        _pixels(data, file.path)
        _decoded.add(hash_.digest())
    folders = PurePath(file.name).parts[:-1]
    return folders[0] if folders else None, hash_.hexdigest()


def array_facts(file: SourceFile) -> Iterator[str]:
    """The hash of each image of an array, of its shape and values.

    CorpusError for an array that is not (images, height, width) or (images, height, width, 3) of
    8 bits, or holds none.
    """
    for image in _array(file.path):
        yield _hash(image)


def read_image(root: Path, where: str, sha256: str) -> NDArray[np.uint8]:
    """The pixels of the image ``where`` below ``root``, shape (height, width, 3), RGB.

    Grey becomes three equal channels; alpha is dropped; the orientation that a camera notes is
    applied. CorpusError if the image is gone, or is not the one of that hash.
    """
    found = None if (root / where).is_file() else _IN_ARRAY.fullmatch(where)
    path = root / (found[1] if found else where)
    try:
        if found is None:
            data = path.read_bytes()
            known = hashlib.sha256(data).hexdigest() == sha256
            pixels = _pixels(data, path) if known else None
        else:
            array, index = _array(path), int(found[2])
            known = index < len(array) and _hash(array[index]) == sha256
            pixels = _rgb(array[index]) if known else None
    except OSError as error:
        raise CorpusError(
            f"the image {where} is not in {root} any more ({(error.strerror or 'gone').lower()}); "
            "say where the images are now with --images, or put it back there"
        ) from error
    if pixels is None:
        raise CorpusError(
            f"the image {where} in {root} is another one than was ingested; put that one back, "
            "or ingest the images as another corpus"
        )
    return pixels


def _pixels(data: bytes, path: Path) -> NDArray[np.uint8]:
    image, ops = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are looked at below, and of metadata
            opened = image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = opened.size
        if (most := image.MAX_IMAGE_PIXELS) is not None and width * height > most:
            raise CorpusError(
                f"{path} has {width:,} × {height:,} pixels, more than {most:,}; shrink it first"
            )
        # A camera's MPO is its photo, and behind it the same in other light or at another size.
        if opened.format != "MPO" and (frames := getattr(opened, "n_frames", 1)) > 1:
            raise CorpusError(f"{path} has {frames} frames; save those you want as single images")
        # Of colours Pillow keeps the upper byte without a word.
        if _WIDE.fullmatch(opened.mode) or ";16" in str(opened.tile):
            raise CorpusError(
                f"{path} has values of more than 8 bits (mode {opened.mode}); convert it to 8 bits"
            )
        pixels = np.asarray(ops.exif_transpose(opened).convert("RGB"))
    except (CorpusError, MemoryError):
        raise
    except Exception as error:  # files are anybody's, and decoders raise what they like
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        if "cannot identify image file" in reason:
            reason = "not one of its formats" if data else "it is empty"
        raise CorpusError(
            f"{path} cannot be read as an image: {reason}; mend it, or leave it out"
        ) from error
    if not pixels.size:
        raise CorpusError(f"{path} has no pixels; leave it out")
    return pixels


@cache
def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise CorpusError(
            "images are read with Pillow, which is not installed; install actlake[images]"
        ) from error
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints beside our line
    return Image, ImageOps


def _array(path: Path) -> NDArray[np.uint8]:
    """The array as it lies in its file, mapped."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # its header is Python, of which NumPy lets any fault through
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(". ")
        raise CorpusError(
            f"{path} cannot be read as an array: {reason}; save it with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
        kind = getattr(array, "dtype", "of several arrays")
        raise CorpusError(f"{path} is {kind} and not uint8; save the images as 8 bits a channel")
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3) or not array.size:
        raise CorpusError(
            f"{path} has the shape {array.shape}; give (images, height, width) or "
            "(images, height, width, 3), each at least 1"
        )
    return array


def _hash(image: NDArray[np.uint8]) -> str:
    # Of the shape too: the same values in rows of another length are another image.
    return hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array(image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2))
