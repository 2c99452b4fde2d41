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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
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

    A file stays mapped while an array shows it, as do the addresses of all. A place without one
    takes no memory, and ends the process that reads it.
    """

    def __init__(self, chunk_bytes: int, chunks: int) -> None:
        """OSError if the system has no room, or maps in other steps than ``chunk_bytes``."""
        size = chunk_bytes * chunks
        if chunk_bytes % mmap.PAGESIZE:
            raise OSError(errno.EINVAL, f"{chunk_bytes} bytes are no pages of {mmap.PAGESIZE}")
        if size > sys.maxsize:  # ctypes would cut it
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.chunk_bytes, self.chunks = chunk_bytes, chunks
        self._address = _map(None, size, PROT_NONE, EMPTY)
        # Not as the process ends, when other threads may still read.
        weakref.finalize(self, _c.munmap, self._address, size).atexit = False
        self._places: dict[int, _Held] = {}
        self.__array_interface__ = _interface(self._address, size)

    def place(self, chunk: int, path: Path) -> NDArray[np.uint8] | None:
        """The first bytes of a file, mapped at the place of ``chunk``; None if another is there.

        FileNotFoundError, or another OSError if the system refuses, the file is too short or there
        is no such place.
        """
        if not 0 <= chunk < self.chunks:
            raise OSError(errno.EINVAL, f"there is no place {chunk} of {self.chunks}")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            facts = os.fstat(descriptor)
            file = facts.st_dev, facts.st_ino
            if facts.st_size < self.chunk_bytes:
                raise OSError(errno.EINVAL, f"{path} is too short")
            with _lock:
                held = self._places.get(chunk)
                place = None if held is None else held.place()
                if place is None:
                    place = self._filled(chunk, file, descriptor)
                # What an array shows must not change under who reads it.
                elif held is not None and held.file != file:
                    return None
        finally:
            os.close(descriptor)
        return np.asarray(place)

    def _filled(self, chunk: int, file: tuple[int, int], descriptor: int) -> "_Place":
        # Where a file cannot be mapped, the system has by then unmapped what was there, and may
        # give it to others. So it is asked at a place of its own choice first.
        elsewhere = _map(None, self.chunk_bytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor)
        _c.munmap(elsewhere, self.chunk_bytes)
        self._places.pop(chunk, None)  # or what was there would empty it when it goes
        address = self._address + chunk * self.chunk_bytes
        _map(address, self.chunk_bytes, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, descriptor)
        place = _Place(self, address)
        held = self._places[chunk] = _Held(file, weakref.ref(place))
        weakref.finalize(place, self._empty, chunk, held).atexit = False
        return place

    def _empty(self, chunk: int, held: "_Held") -> None:
        """No array shows the file any more."""
        with _lock:
            if self._places.get(chunk) is held:  # and no other has come since
                del self._places[chunk]
                address = self._address + chunk * self.chunk_bytes
                with suppress(OSError):  # then it stays mapped, for nobody
                    _map(address, self.chunk_bytes, PROT_NONE, EMPTY | FIXED)

    def whole(self, dtype: np.dtype[Any], row: tuple[int, ...]) -> NDArray[Any]:
        """All places as one array of rows, with the padding of the last chunk. Who reads others
        than those of chunks that are kept meanwhile ends the process."""
        return np.asarray(self).view(dtype).reshape(-1, *row)


class _Place:
    """One that holds a file, until no array shows it."""

    def __init__(self, region: Region, address: int) -> None:
        self.region = region
        self.__array_interface__ = _interface(address, region.chunk_bytes)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What is mapped at a place."""

    file: tuple[int, int]
    place: "weakref.ref[_Place]"


def region_of(rows: NDArray[Any]) -> Region | None:
    """The one that ``rows`` are of a file in, or None."""
    base: object = rows
    while isinstance(base, np.ndarray):
        base = base.base
    return base.region if isinstance(base, _Place) else None


_lock = RLock()
"""Of all places, for a few microseconds; by a thread that has it again, where what it makes has
Python let go of something."""


def _unlock() -> None:
    """In a child of a process in which another thread had it."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_unlock)


def _interface(address: int, size: int) -> dict[str, object]:
    return {"version": 3, "shape": (size,), "typestr": "|u1", "data": (address, True)}


def _map(address: int | None, size: int, access: int, flags: int, descriptor: int = -1) -> int:
    found = _c.mmap(address, size, access, flags, descriptor, 0)
    if found == FAILED:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(found)
