"""Zarr arrays whose chunks are whole shards: one file each, written directly and memory-mapped.

A chunk is the C-order bytes of its rows followed by their CRC-32C, which is what Zarr's codecs
``bytes`` + ``crc32c`` make of it; so any Zarr reader opens and checks what this module wrote, and
this module reads what a Zarr writer made with the same codecs.
"""

import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec

from actlake.storage.behind import ahead
from actlake.storage.durable import Buffer, Digest, digest_of, linked, publish
from actlake.storage.errors import CorruptError
from actlake.storage.keys import Json
from actlake.storage.store import Store

__all__ = [
    "TRAILER_BYTES",
    "Chunk",
    "chunk_path",
    "chunk_pieces",
    "corrupt",
    "create_array",
    "fill_value",
    "map_payload",
    "mapped",
    "publish_chunk",
    "rows_in",
    "sound_content",
]

TRAILER_BYTES = 4
PIECE_BYTES = 1 << 22
"""Of rows that are looked at and then written, by two threads in turn, while they are in the
cache."""
Look = Callable[[int, NDArray[Any]], object]
"""Shown some rows of a chunk, and which is the first, by another thread than the caller's."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a published chunk is."""

    digest: Digest
    """Of the whole file."""
    payload_crc32c: int
    """Of the file without its trailer."""


def create_array(
    folder: Path,
    shape: tuple[int, ...],
    chunk_rows: int,
    dtype: np.dtype[Any],
    *,
    attributes: dict[str, Json] | None = None,
    dimension_names: tuple[str, ...] | None = None,
) -> None:
    """Write the ``zarr.json`` of an array without chunks, ``chunk_rows`` rows a chunk."""
    zarr.create_array(
        store=folder,
        shape=shape,
        chunks=(chunk_rows, *shape[1:]),
        dtype=dtype,
        filters=None,
        compressors=[Crc32cCodec()],
        fill_value=fill_value(dtype),
        chunk_key_encoding={"name": "default", "separator": "."},
        attributes=attributes,
        dimension_names=dimension_names,
    )


def fill_value(dtype: np.dtype[Any]) -> Any:
    """What stands where no row is: NaN, of whole numbers 0."""
    return dtype.type(0) if dtype.kind in "iub" else np.array(np.nan, dtype)[()]


# To make a path, to hash and to write it costs more than to look at its file.
@lru_cache(1 << 14)
def chunk_path(folder: Path, shard: int, dimensions: int, *array: str) -> Path:
    """Where chunk ``shard`` of an array lies, which is at ``array`` in ``folder``."""
    return folder.joinpath(*array, ".".join(("c", str(shard), *("0",) * (dimensions - 1))))


def publish_chunk(
    folder: Path,
    shard: int,
    rows: NDArray[Any],
    chunk_rows: int,
    publish: Callable[[Path, Iterable[Buffer]], Digest] = publish,
    look: Look | None = None,
) -> Chunk:
    """Write ``rows`` as chunk ``shard``; FileExistsError if there is one.

    A last chunk of fewer than ``chunk_rows`` rows is padded with the fill value, as Zarr wants.
    ``publish`` is that of the lake's store, but for a folder that is still being filled. ``look``
    is shown the rows before they are written.
    """
    checksum = 0

    def pieces() -> Generator[Buffer]:
        nonlocal checksum
        checksum = yield from chunk_pieces(rows, chunk_rows, look)

    with closing(pieces() if rows.nbytes <= PIECE_BYTES else ahead(pieces())) as found:
        digest = publish(chunk_path(folder, shard, rows.ndim), found)
    return Chunk(digest, checksum)


def chunk_pieces(
    rows: NDArray[Any], chunk_rows: int, look: Look | None = None
) -> Generator[Buffer, None, int]:
    """The bytes of a chunk's file in order, see ``publish_chunk``; returns the CRC-32C of all but
    its trailer."""
    checksum = 0
    step = max(1, PIECE_BYTES // max(1, rows[:1].nbytes))
    for at in range(0, len(rows), step):
        some = np.ascontiguousarray(rows[at : at + step])
        if look is not None:
            look(at, some)
        piece = _bytes(some)
        checksum = google_crc32c.extend(checksum, piece)
        yield piece.data
    if missing := chunk_rows - len(rows):
        shape = (missing, *rows.shape[1:])
        piece = _bytes(np.full(shape, fill_value(rows.dtype), rows.dtype))
        checksum = google_crc32c.extend(checksum, piece)
        yield piece.data
    yield checksum.to_bytes(TRAILER_BYTES, "little")
    return checksum


def map_payload(
    path: Path,
    expected_bytes: int,
    what: str,
    place: Callable[[Path], NDArray[np.uint8]] | None = None,
) -> NDArray[np.uint8]:
    """A chunk's file up to its trailer, as a read-only memory map, by ``place`` where it is given.

    CorruptError, telling ``what`` the chunk holds, if the file is missing or its size is wrong.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise corrupt(path, what, "is missing") from None
    if linked(path):
        raise corrupt(path, what, "is a link, or reached through one")
    if size != expected_bytes:
        raise corrupt(path, what, f"has {size:,} bytes instead of {expected_bytes:,}")
    return (place or mapped)(path)[: size - TRAILER_BYTES]


def rows_in(
    payload: NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """The rows that a chunk's payload begins with, before its padding."""
    return payload[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def mapped(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file that has some, as a read-only memory map; FileNotFoundError."""
    # numpy's maps hold their files open, and most systems let a process have 1,024, fewer than a
    # large lake has shards. Arrow has the system fetch what is read of a map, so a byte is; what
    # that is a part of is the whole map.
    with pa.memory_map(os.fspath(path)) as file:
        return np.frombuffer(file.read_buffer(1).parent, np.uint8)


def corrupt(path: Path, what: str, wrong: str) -> CorruptError:
    """The error that says what is ``wrong`` with a file that holds ``what``."""
    return CorruptError(
        f"{path} ({what}) {wrong}; run `actlake verify` to see what else is, then `actlake repair`"
    )


def sound_content(store: Store, path: Path, what: str, sound: Callable[[bytes], bool]) -> bytes:
    """The content of a file that holds ``what``; CorruptError if it cannot be read, or is not
    ``sound``. A copy that is not is fetched again, once."""
    fault = "is not what was committed"
    for _ in range(2):
        try:
            if sound(content := store.local(path).read_bytes()):
                return content
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
        if not store.drop_copy(path):
            break
    raise corrupt(path, what, fault)


def check_chunk(pieces: Iterable[bytes], expected: Digest, payload_crc32c: int) -> str | None:
    """What is wrong with the content of a chunk's file, or None."""
    trailer = b""

    def seen() -> Iterator[bytes]:
        nonlocal trailer
        for piece in pieces:
            trailer = (trailer + piece[-TRAILER_BYTES:])[-TRAILER_BYTES:]
            yield piece

    found = digest_of(seen())
    if found.bytes != expected.bytes:
        return f"{found.bytes:,} bytes instead of {expected.bytes:,}"
    if trailer != payload_crc32c.to_bytes(TRAILER_BYTES, "little"):
        return "its checksum is that of other rows"
    return None if found == expected else "its content changed"


def _bytes(rows: NDArray[Any]) -> NDArray[np.uint8]:
    """The same memory as flat bytes, read-only, which is how google-crc32c takes it uncopied."""
    # Through uint8 also since bfloat16 has no buffer format of its own.
    flat = rows.reshape(-1).view(np.uint8)
    flat.flags.writeable = False
    return flat
