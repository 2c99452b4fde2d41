"""Copies of objects on this machine's disk, of which the least recently used go first.

A lake's folder holds them under the names of the files that they are copies of, and never more than
``ACTLAKE_CACHE_BYTES`` (20 GiB by default), but for what was asked for in the last minute. Whoever
has mapped one keeps it when its name goes. They are not flushed: what a loss of power spoils is
found by readers that verify, and fetched again.
"""

import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from actlake.storage.durable import Buffer, is_staged, make_folder, staging_path, writing
from actlake.storage.errors import InputError

__all__ = ["Copies"]

CACHE_BYTES = 20 << 30
KEPT_SECONDS = 60.0
"""A copy that was asked for so recently stays: somebody is about to map it."""


class Copies:
    """The copies in ``folders``, of which a lake's folder consists."""

    def __init__(self, folders: Iterable[Path]) -> None:
        said = os.environ.get("ACTLAKE_CACHE_BYTES", str(CACHE_BYTES))
        if not said.isdecimal():
            raise InputError("ACTLAKE_CACHE_BYTES is no whole number of bytes; set one")
        self._limit = int(said)
        self._folders = tuple(folders)
        self._lock = threading.Lock()
        self._bytes: int | None = None
        """Of all copies when they were last counted, and of those that came since."""

    def there(self, path: Path) -> bool:
        """Whether there is a copy; it counts as used then."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def keep(self, path: Path, pieces: Iterable[Buffer]) -> None:
        """Make ``pieces`` the copy at ``path``, and make room for it; DiskError if it cannot be."""
        size, staged = 0, staging_path(path)
        with writing(path):
            make_folder(path.parent)
            try:
                with staged.open("xb") as file:
                    for piece in pieces:
                        file.write(piece)
                        size += memoryview(piece).nbytes
                staged.replace(path)
            finally:
                staged.unlink(missing_ok=True)
        self.came(size)

    def came(self, size: int) -> None:
        """A copy of so many bytes is there; others go if they are too many together."""
        with self._lock:
            if self._bytes is not None:
                self._bytes += size
            if self._bytes is None or self._bytes > self._limit:
                self._bytes = self._make_room()

    def _make_room(self) -> int:
        """Count what is there, since others add and remove, and remove what is too much."""
        found = []
        for folder in self._folders:
            for at, below, names in os.walk(folder):
                below[:] = [name for name in below if not is_staged(Path(name))]
                for name in names:
                    path = Path(at, name)
                    with suppress(FileNotFoundError):
                        facts = path.lstat()
                        if not is_staged(path):
                            found.append((facts.st_mtime, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        # Some more, so that the next copy need not count again.
        enough = self._limit * 0.9 if total > self._limit else total
        recent = time.time() - KEPT_SECONDS
        for used, size, path in sorted(found):
            if total <= enough or used > recent:
                break
            path.unlink(missing_ok=True)
            total -= size
        return total
