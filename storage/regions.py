"""Files mapped one behind the other, so that the chunks of an array are one array in memory.

numpy picks rows from one array in one copy, and from several in two: each one's rows, then all in
the order that was asked for. Neither Python nor Arrow map a file at a place of ours; the
system's own ``mmap`` does.
"""

import ctypes
import errno
import mmap
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Region", "as_one"]

FIXED = 0x10
"""MAP_FIXED of Linux and of macOS, which Python does not name."""
PROT_NONE = 0
FAILED = ctypes.c_void_p(-1).value

_c = ctypes.CDLL(None, use_errno=True)
_c.mmap.restype = ctypes.c_void_p
_c.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]
_c.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class Region:
    """Places for ``chunks`` files of ``chunk_bytes`` each, of which the first bytes are mapped.

    A place takes no memory before a file is there, and ends the process that reads it: ``as_one``
    is for who knows which are taken. The addresses are given back once no array shows them.
    """

    def __init__(self, chunk_bytes: int, chunks: int) -> None:
        """OSError if the system has no room, or maps in other steps than ``chunk_bytes``."""
        if chunk_bytes % mmap.PAGESIZE:
            raise OSError(errno.EINVAL, f"{chunk_bytes} bytes are no pages of {mmap.PAGESIZE}")
        self._chunk_bytes = chunk_bytes
        size = chunk_bytes * chunks
        empty = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
        self._address = _map(None, size, PROT_NONE, empty, -1)
        # Not as the process ends, when other threads may still read.
        weakref.finalize(self, _c.munmap, self._address, size).atexit = False
        self._places: dict[int, tuple[int, int]] = {}
        """Which file is mapped where."""
        self._lock = Lock()
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._address, True),
        }

    def place(self, chunk: int, path: Path) -> NDArray[np.uint8] | None:
        """The first bytes of a file, mapped at the place of ``chunk``; None if another is there.

        FileNotFoundError, or another OSError if the system refuses or the file is too short.
        """
        descriptor = os.open(path, os.O_RDONLY)
        try:
            facts = os.fstat(descriptor)
            file = facts.st_dev, facts.st_ino
            start, size = chunk * self._chunk_bytes, self._chunk_bytes
            with self._lock:
                # What an array shows must not change under who reads it.
                if self._places.get(chunk, file) != file:
                    return None
                if chunk not in self._places:
                    if facts.st_size < size:
                        raise OSError(errno.EINVAL, f"{path} is too short")
                    flags = mmap.MAP_SHARED | FIXED
                    _map(self._address + start, size, mmap.PROT_READ, flags, descriptor)
                    self._places[chunk] = file
        finally:
            os.close(descriptor)
        return np.asarray(self)[start : start + size]


def as_one(chunks: Mapping[int, NDArray[Any]]) -> NDArray[Any] | None:
    """The array that ``chunks``, by their number, are parts of, or None if they are not of one.

    It has the padding of the last chunk, too. No other rows than those of ``chunks`` may be read.
    """
    regions = [_region_of(rows) for rows in chunks.values()]
    if not regions or regions[0] is None or any(one is not regions[0] for one in regions):
        return None
    first = next(iter(chunks.values()))
    return np.asarray(regions[0]).view(first.dtype).reshape(-1, *first.shape[1:])


def _region_of(rows: NDArray[Any]) -> Region | None:
    base: object = rows
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, Region) else None


def _map(address: int | None, size: int, access: int, flags: int, descriptor: int) -> int:
    found = _c.mmap(address, size, access, flags, descriptor, 0)
    if found == FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)
