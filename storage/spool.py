"""Columns on their way to a rowset: they wait on the disk, and outlive a run that is killed.

They wait in segments, each a folder with a file a column. A segment that is listed is flushed and
never written again, so a process that went on without its claim spoils nothing.
"""

import json
import os
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xxhash
from numpy.typing import NDArray

from actlake.storage.durable import digest, flush, make_folder, replace_file, writing
from actlake.storage.errors import InputError
from actlake.storage.fields import ROW_COLUMNS

__all__ = ["Columns", "Spool", "SpooledColumn"]

Columns = Mapping[str, NDArray[Any]]
SAVE_SECONDS = 60.0
"""After which a segment ends: at most as much is done again after a kill."""
LIST = "segments.json"


@dataclass(frozen=True, slots=True)
class _Segment:
    name: str
    blocks: int
    rows: int
    hashes: Mapping[str, str]
    """Of each column's file, xxh3_128."""


class SpooledColumn:
    """One column of all segments; a slice of it is read from the disk."""

    def __init__(self, files: list[Path], ends: list[int], dtype: str) -> None:
        self._files = files
        self._ends = ends
        self.dtype = np.dtype(dtype)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        start, stop, _ = rows.indices(len(self))
        found = np.empty(max(0, stop - start), self.dtype)
        segment, at = bisect_right(self._ends, start), 0
        while at < len(found):
            begin, end = self._ends[segment - 1] if segment else 0, self._ends[segment]
            size = min(end, stop) - (start + at)
            skipped = (start + at - begin) * self.dtype.itemsize
            file = self._files[segment]
            found[at : at + size] = np.fromfile(file, self.dtype, size, offset=skipped)
            segment, at = segment + 1, at + size
        return found


class Spool:
    """Rows in ``folder``, of which those that are listed there and whole are taken up again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._segments = [*_whole(folder)]

    @property
    def blocks(self) -> int:
        """Blocks that were taken in."""
        return sum(one.blocks for one in self._segments)

    @property
    def rows(self) -> int:
        """Rows that were taken in."""
        return sum(one.rows for one in self._segments)

    @property
    def is_kept(self) -> bool:
        """Whether a run that comes later will find some of it."""
        return (self.folder / LIST).exists()

    def fill(self, blocks: Iterable[Columns]) -> None:
        """Take in the blocks that follow. DiskError if they cannot be written."""
        following = iter(blocks)
        make_folder(self.folder)
        while self._add_segment(following):
            listed = [asdict(one) for one in self._segments]
            replace_file(self.folder / LIST, json.dumps(listed).encode())

    def columns(self) -> dict[str, SpooledColumn]:
        """Every column."""
        ends = [*accumulate(one.rows for one in self._segments)]
        return {
            name: SpooledColumn([self.folder / one.name / name for one in self._segments], ends, of)
            for name, of in ROW_COLUMNS.items()
        }

    def _add_segment(self, blocks: Iterator[Columns]) -> bool:
        """Whether there may be more blocks than went into the segment."""
        folder = self.folder / uuid4().hex
        hashers = {name: xxhash.xxh3_128() for name in ROW_COLUMNS}
        count = rows = 0
        ended = True
        until = time.monotonic() + SAVE_SECONDS
        with ExitStack() as files, writing(folder):
            folder.mkdir()
            opened = {name: files.enter_context((folder / name).open("xb")) for name in ROW_COLUMNS}
            for block in blocks:
                for name, content in _contents(block):
                    opened[name].write(content)
                    hashers[name].update(content)
                count, rows = count + 1, rows + len(block["document"])
                if time.monotonic() > until:
                    ended = False
                    break
            for file in opened.values():
                file.flush()
                if not ended:
                    os.fsync(file.fileno())
            if not ended:
                flush(folder)
        if count:
            hashes = {name: hasher.hexdigest() for name, hasher in hashers.items()}
            self._segments.append(_Segment(folder.name, count, rows, hashes))
        return not ended


def _contents(block: Columns) -> Iterator[tuple[str, bytes]]:
    size = len(block["document"])
    for name, dtype in ROW_COLUMNS.items():
        if len(block[name]) != size:
            raise InputError(f"{len(block[name])} values of {name} came for {size} rows")
        yield name, np.ascontiguousarray(block[name], dtype).tobytes()


def _whole(folder: Path) -> Iterator[_Segment]:
    """The segments that are listed, up to the first that is not as it was written."""
    try:
        listed = [_Segment(**one) for one in json.loads((folder / LIST).read_bytes())]
        for one in listed:
            for name, known in one.hashes.items():
                if digest(folder / one.name / name).xxh3_128 != known:
                    return
            yield one
    except (OSError, ValueError, TypeError):  # there is none, or it has rotted
        return
