"""Files mapped one behind the other, so that the chunks of an array are one array in memory.

numpy picks rows from one array in one copy, and from several in two: each one's rows, then all in
the order that was asked for. Neither Python nor Arrow map a file at a place of ours; the
system's own ``mmap`` does.
"""

import ctypes
import errno
import mmap
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Region", "region_of"]

FIXED = 0x10
"""MAP_FIXED of Linux and of macOS, which Python does not name."""
PROT_NONE = 0
EMPTY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
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

    A place keeps the file that it got first, and all are given back once no array shows one. One
    without a file takes no memory, and ends the process that reads it. For any number of threads,
    without a lock: whoever waited for one might be who has to go on for it to be free, since Python
    may run other code, such as the end of a generator, wherever it makes an object.
    """

    def __init__(self, chunk_bytes: int, chunks: int) -> None:
        """OSError if the system has no room, or maps in other steps than ``chunk_bytes``."""
        size = chunk_bytes * chunks
        if chunk_bytes % mmap.PAGESIZE:
            raise OSError(errno.EINVAL, f"{chunk_bytes} bytes are no pages of {mmap.PAGESIZE}")
        if size > sys.maxsize:  # ctypes would cut it
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self._chunk_bytes, self._chunks = chunk_bytes, chunks
        self._address = _map(None, size, PROT_NONE, EMPTY)
        # Not as the process ends, when other threads may still read.
        weakref.finalize(self, _c.munmap, self._address, size).atexit = False
        self._files: dict[int, tuple[int, int]] = {}
        """Which is mapped where, or about to be."""
        self._filled: set[int] = set()
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (self._address, True),
        }

    def place(self, chunk: int, path: Path) -> NDArray[np.uint8] | None:
        """The first bytes of a file, mapped at the place of ``chunk``; None if that is another's.

        FileNotFoundError, or another OSError if the system refuses, the file is too short or there
        is no such place.
        """
        if not 0 <= chunk < self._chunks:
            raise OSError(errno.EINVAL, f"there is no place {chunk} of {self._chunks}")
        start, size = chunk * self._chunk_bytes, self._chunk_bytes
        descriptor = os.open(path, os.O_RDONLY)
        try:
            facts = os.fstat(descriptor)
            if facts.st_size < size:
                raise OSError(errno.EINVAL, f"{path} is too short")
            file = facts.st_dev, facts.st_ino
            # What an array shows must not change under who reads it.
            if self._files.setdefault(chunk, file) != file:
                return None
            if chunk not in self._filled:
                # Where a file cannot be mapped, the system has by then unmapped what was there,
                # and may give it to others. So it is asked at a place of its own choice first.
                elsewhere = _map(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor)
                _c.munmap(elsewhere, size)
                # Two threads may do so: the file is the same.
                flags = mmap.MAP_SHARED | FIXED
                _map(self._address + start, size, mmap.PROT_READ, flags, descriptor)
                self._filled.add(chunk)
        finally:
            os.close(descriptor)
        return np.asarray(self)[start : start + size]

    def whole(self, dtype: np.dtype[Any], row: tuple[int, ...]) -> NDArray[Any]:
        """All places as one array of rows, with the padding of the last chunk. Who reads others
        than those that have a file ends the process."""
        return np.asarray(self).view(dtype).reshape(-1, *row)


def region_of(rows: NDArray[Any]) -> Region | None:
    """The one that ``rows`` are of a file in, or None."""
    base: object = rows
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, Region) else None


def _map(address: int | None, size: int, access: int, flags: int, descriptor: int = -1) -> int:
    found = _c.mmap(address, size, access, flags, descriptor, 0)
    if found == FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)
