"""Chunks that stay mapped, those of one array side by side."""

import mmap
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import TRAILER_BYTES, map_payload, mapped, rows_in
from actlake.storage.regions import Region, region_of

__all__ = ["Chunk", "MappedChunk", "MappedChunks"]

MOST_MAPPED = 16_384
"""Chunks that stay mapped; the system allows a process some 65,000 mappings."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One shard of one array, to be read."""

    path: Path
    owner: str
    """Id of the tensor, codes or rowset."""
    array: str
    shard: int
    what: str
    """For people: the tensor, codes or rowset by name, and the rows."""
    of: int = 1
    """How many chunks of this size the array has, if rows are picked from several at once."""


@dataclass(slots=True)
class MappedChunk:
    """A chunk as it stands in memory."""

    file: tuple[int, ...] | None
    """What was at its path as it was mapped, see ``_file``."""
    payload: NDArray[np.uint8]
    """With the padding, without the trailer."""
    rows: NDArray[Any]
    is_sound: bool
    """Whether it was found to be what was committed."""


class MappedChunks:
    """The chunks that were read last.

    A new mapping costs a fault for each page that is looked at again. For any number of threads.
    """

    def __init__(self, *, beside: bool = True) -> None:
        """``beside`` unless there is one chunk to read."""
        self._known: dict[Path, MappedChunk] = {}
        self._regions: dict[tuple[str, str, int, int], Region] = {}
        """By owner and array, bytes of a chunk and how many there are."""
        self._sound: dict[Path, tuple[int, ...]] = {}
        """The files that were found to be what was committed, as they were when they were mapped.
        The inode of one that is gone is another's soon, so the time of its last change counts."""
        self.beside = beside

    def at(
        self,
        chunk: Chunk,
        path: Path,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        file_bytes: int,
    ) -> MappedChunk:
        """The file at ``path``, which is mapped once; CorruptError as ``map_payload``."""
        file = _file(path)
        known = self._known.get(path)  # once: another thread may clear it
        if known is not None and known.file and file and known.file[:3] == file[:3]:
            return known
        if len(self._known) >= MOST_MAPPED:
            self.clear()
        size = file_bytes - TRAILER_BYTES
        beside = self.beside and chunk.of > 1 and size % mmap.PAGESIZE == 0
        place = partial(self._beside, chunk, size) if beside else mapped
        payload = map_payload(path, file_bytes, chunk.what, place)
        # Not where another came in its place between the two.
        sound = file is not None and self._sound.get(path) == file == _file(path)
        found = MappedChunk(file, payload, rows_in(payload, shape, dtype), sound)
        self._known[path] = found
        return found

    def found_sound(self, path: Path, chunk: MappedChunk) -> None:
        """What ``at`` gave for ``path`` is what was committed, also when it is mapped again."""
        chunk.is_sound = True
        if chunk.file:
            self._sound[path] = chunk.file

    def _beside(self, chunk: Chunk, size: int, path: Path) -> NDArray[np.uint8]:
        """The first ``size`` bytes of a file, beside the other chunks of its array."""
        key = chunk.owner, chunk.array, size, chunk.of
        try:
            for _ in range(2):
                region = self._regions.get(key)
                if region is None:
                    region = self._regions.setdefault(key, Region(size, chunk.of))
                if (found := region.place(chunk.shard, path)) is not None:
                    return found
                # It has the file that was there before. All move, as they are asked for again.
                if self._regions.get(key) is region:
                    self._regions.pop(key, None)
                for other in list(self._known):
                    known = self._known.get(other)
                    if known is not None and region_of(known.rows) is region:
                        self._known.pop(other, None)
        except FileNotFoundError:
            raise
        except OSError:
            pass  # no room for all, or a place that files cannot be mapped to
        return mapped(path)

    def clear(self) -> None:
        """Let go of the files. Who has rows of one keeps it mapped, and those beside it."""
        self._regions.clear()
        self._known.clear()


def _file(path: Path) -> tuple[int, ...] | None:
    """What changes when another file, or a link, takes the place of the one at ``path``, or when it
    is cut: device, inode and size; and when it was last changed. None if it is not there."""
    try:
        facts = os.lstat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_ctime_ns
