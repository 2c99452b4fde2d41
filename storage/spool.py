"""Columns on their way to a rowset: they wait on the disk, and outlive a run that is killed.

They wait in segments, each a folder with a file a column. A segment that is listed is flushed and
never written again, and nobody removes one of another process, so that one which went on without
its claim spoils nothing.
"""

import json
import os
import re
import shutil
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import xxhash
from numpy.typing import NDArray

from actlake.storage.durable import (
    digest,
    flush,
    linked,
    make_folder,
    replace_file,
    sealed,
    writing,
)
from actlake.storage.errors import CorruptError, FormatError, InputError
from actlake.storage.fields import ROW_COLUMNS

__all__ = ["Columns", "Spool", "SpooledColumn", "claim_spool"]

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
            found[at : at + size] = self._read(self._files[segment], size, skipped)
            segment, at = segment + 1, at + size
        return found

    def _read(self, file: Path, size: int, skipped: int) -> NDArray[Any]:
        try:
            values = np.fromfile(file, self.dtype, size, offset=skipped)
        except OSError as error:
            raise CorruptError(
                f"{file} cannot be read ({(error.strerror or str(error)).lower()}); run this again"
            ) from error
        if len(values) != size:
            raise CorruptError(f"{file} is not as it was written; run this again")
        return values


def claim_spool(folder: Path) -> None:
    """Keep upkeep, which removes what was written to long ago, from a spool that is taken up.

    Under the commit lock, as upkeep looks under it.
    """
    with suppress(FileNotFoundError):
        os.utime(folder, follow_symlinks=False)


class Spool:
    """Rows in ``folder``, of which those that are listed there and whole are taken up again.

    They are if they were made on the same ``basis``: whatever they depend on but their place.
    FormatError if the folder is a link, through which it would write.
    """

    def __init__(self, folder: Path, basis: str) -> None:
        if linked(folder):
            raise FormatError(f"{folder} is a link, and would be written through; remove it")
        self.folder = folder
        self._basis = basis
        self._segments = [*_whole(folder, basis)]
        self._listed = len(self._segments)

    @property
    def blocks(self) -> int:
        """Blocks that were taken in."""
        return sum(one.blocks for one in self._segments)

    @property
    def rows(self) -> int:
        """Rows that were taken in."""
        return sum(one.rows for one in self._segments)

    def leave(self) -> None:
        """Remove what the next run would not take up."""
        for one in self._segments[self._listed :]:
            shutil.rmtree(self.folder / one.name, ignore_errors=True)
        with suppress(OSError):  # there is something left, or there was nothing
            self.folder.rmdir()

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self, blocks: Iterable[Columns]) -> None:
        """Take in the blocks that follow. DiskError if they cannot be written."""
        following = iter(blocks)
        make_folder(self.folder)
        more = True
        while more:
            more = self._add_segment(following)
            if more:
                segments = [asdict(one) for one in self._segments]
                record = sealed({"basis": self._basis, "segments": segments})
                replace_file(self.folder / LIST, json.dumps(record).encode())
                self._listed = len(segments)

    def columns(self) -> dict[str, SpooledColumn]:
        """Every column."""
        ends = [*accumulate(one.rows for one in self._segments)]
        return {
            name: SpooledColumn([self.folder / one.name / name for one in self._segments], ends, of)
            for name, of in ROW_COLUMNS.items()
        }

    def _add_segment(self, blocks: Iterator[Columns]) -> bool:
        """Take in as many as come within ``SAVE_SECONDS``; False if these were the last."""
        folder = self.folder / uuid4().hex
        try:
            segment, more = _written(folder, blocks)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._segments.append(segment)
        return more


def _written(folder: Path, blocks: Iterator[Columns]) -> tuple[_Segment, bool]:
    """A new segment, flushed if it is not the last, and whether it is not."""
    hashers = {name: xxhash.xxh3_128() for name in ROW_COLUMNS}
    count, rows, more = 0, 0, False
    until = time.monotonic() + SAVE_SECONDS
    with writing(folder), ExitStack() as files:  # to close a file writes, too
        folder.mkdir()
        opened = {name: files.enter_context((folder / name).open("xb")) for name in ROW_COLUMNS}
        for block in blocks:
            for name, content in _contents(block):
                opened[name].write(content)
                hashers[name].update(content)
            count, rows = count + 1, rows + len(block["document"])
            if time.monotonic() > until:
                more = True
                break
        for file in opened.values():
            file.flush()
            if more:
                os.fsync(file.fileno())
        if more:
            flush(folder)
    hashes = {name: hasher.hexdigest() for name, hasher in hashers.items()}
    return _Segment(folder.name, count, rows, hashes), more


def _contents(block: Columns) -> Iterator[tuple[str, bytes]]:
    size = len(block["document"])
    for name, dtype in ROW_COLUMNS.items():
        if len(block[name]) != size:
            raise InputError(
                f"{len(block[name])} values of {name} came for {size} rows; give one a row"
            )
        yield name, np.ascontiguousarray(block[name], dtype).tobytes()


def _whole(folder: Path, basis: str) -> Iterator[_Segment]:
    """The segments that are listed, up to the first that is not as it was written."""
    try:
        said = json.loads((folder / LIST).read_bytes())
        if said != sealed(said) or said["basis"] != basis:
            return
        for one in (_Segment(**one) for one in said["segments"]):
            if (
                not re.fullmatch("[0-9a-f]{32}", one.name)
                or one.hashes.keys() != ROW_COLUMNS.keys()
            ):
                return
            for name, known in one.hashes.items():
                found = digest(folder / one.name / name)
                size = one.rows * np.dtype(ROW_COLUMNS[name]).itemsize
                if (found.bytes, found.xxh3_128) != (size, known):
                    return
            yield one
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or it has rotted
        return
