"""The store that is the lake's folder itself."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from actlake.storage import durable
from actlake.storage.durable import Buffer, Digest, linked
from actlake.storage.store import Store, StoredFile

__all__ = ["LocalStore"]


class LocalStore(Store):
    """Every file is in the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def begin(self, lake: str) -> None:
        """Nothing: the folder is looked at as it is made."""

    def check(self, lake: str) -> None:
        """Nothing: ``lake.toml`` is in it."""

    def uri(self, path: Path) -> str:
        return str(path)

    def admit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing: DuckDB reads files."""

    def local(self, path: Path) -> Path:
        return path

    def drop_copy(self, path: Path) -> bool:  # noqa: ARG002 - none has a copy
        return False

    def pieces(self, path: Path) -> Iterator[bytes]:
        return durable.pieces(path)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def files(self, path: Path) -> Iterator[StoredFile]:
        for one in [path] if path.is_file() else _files_below(path):
            with suppress(FileNotFoundError):  # a writer may be at work
                if one.is_file():
                    yield StoredFile(one, one.stat().st_size)

    def children(self, folder: Path) -> list[Path]:
        return sorted(folder.iterdir())

    def written(self, path: Path) -> datetime:
        newest = max(one.stat().st_mtime for one in (path, *path.rglob("*")))
        return datetime.fromtimestamp(newest, UTC).replace(tzinfo=None)

    def publish(self, path: Path, pieces: Iterable[Buffer]) -> Digest:
        return durable.publish(path, pieces)

    def new_folder(self, final: Path) -> AbstractContextManager[Path]:
        return durable.new_folder(final)

    def link(self, old: Path, staged: Path, final: Path) -> None:  # noqa: ARG002 - renamed later
        staged.parent.mkdir(parents=True, exist_ok=True)
        os.link(old, staged)

    def replace(self, path: Path, content: Buffer) -> None:
        durable.replace_file(path, content)

    def settle(self, path: Path) -> Digest:
        with durable.writing(path):
            durable.flush(path)
        return self.digest(path)

    def touch(self, path: Path) -> None:
        with suppress(OSError):  # a folder that is not there is for ``verify`` to find
            os.utime(path)

    def remove(self, path: Path) -> int | None:
        # What is to go is named by the lake's tables, which may be from anybody.
        if not path.is_relative_to(self.root) or linked(path.parent):
            return None
        try:
            size = sum(one.bytes for one in self.files(path))
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except FileNotFoundError:
            return None
        return size

    def tidy(self) -> None:
        """Nothing: there are no copies."""


def _files_below(folder: Path) -> list[Path]:
    """Every file below ``folder`` in order; of a folder that vanishes, none."""
    return sorted(Path(at, name) for at, _, names in os.walk(folder) for name in names)
