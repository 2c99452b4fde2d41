"""Where the files of a lake are: what its readers and writers ask of that place.

Files are named by the path that they have, or would have, in the lake's folder. ``LocalStore`` is
that folder, ``S3Store`` a bucket. A file that was committed never changes, and its name is never
given to another, so a copy of it is as good as itself, for ever.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import duckdb

from actlake.storage.durable import Buffer, Digest, digest_of
from actlake.storage.errors import LakeError

__all__ = ["Store", "StoredFile"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a store."""

    path: Path
    bytes: int


class Store(ABC):
    """The place of one lake's files.

    One that is unpickled opens its place anew. Everything here raises UnreachableError where the
    place does not answer, and DiskError where it, or the disk, takes nothing more.
    """

    root: Path
    """The lake's folder, resolved."""
    extensions: ClassVar[tuple[str, ...]] = ()
    """Of DuckDB, to read what ``uri`` names."""

    @abstractmethod
    def begin(self, lake: str) -> None:
        """The place is that of the lake with this id, from now on; of none, if it is empty.

        InputError if it holds anything already.
        """

    @abstractmethod
    def check(self, lake: str) -> None:
        """FormatError if the place is not that of the lake with this id."""

    # Reading

    @abstractmethod
    def uri(self, path: Path) -> str:
        """What DuckDB calls the file or folder."""

    @abstractmethod
    def admit(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a connection that has ``extensions`` read and write what ``uri`` names."""

    @abstractmethod
    def local(self, path: Path) -> Path:
        """Where the file, or a whole copy of it, can be mapped; nothing is there if there is none.

        The copy may be that of an earlier call.
        """

    @abstractmethod
    def drop_copy(self, path: Path) -> bool:
        """Forget the copy of a file, which may differ from it; whether there could be one."""

    @abstractmethod
    def pieces(self, path: Path) -> Iterator[bytes]:
        """The content of the very file, never of a copy; FileNotFoundError if there is none."""

    def digest(self, path: Path) -> Digest:
        """Size and hash of the very file; FileNotFoundError if there is none."""
        return digest_of(self.pieces(path))

    @abstractmethod
    def exists(self, path: Path) -> bool:
        """Whether there is such a file, or folder."""

    @abstractmethod
    def files(self, path: Path) -> Iterator[StoredFile]:
        """The file at ``path``, or every file below it in order; none where nothing is."""

    @abstractmethod
    def children(self, folder: Path) -> list[Path]:
        """The files and folders right below ``folder``, in order."""

    @abstractmethod
    def written(self, path: Path) -> datetime:
        """When the newest of what is at and below ``path`` was written or touched, UTC.

        FileNotFoundError if it is not there, or vanishes meanwhile.
        """

    # Writing

    @abstractmethod
    def publish(self, path: Path, pieces: Iterable[Buffer]) -> Digest:
        """Make ``pieces`` the content of a new file; FileExistsError if there is one."""

    @abstractmethod
    def new_folder(self, final: Path) -> AbstractContextManager[Path]:
        """A folder on the disk to fill, whose files are those of ``final`` when the block ends.

        FileExistsError if there is something at ``final``.
        """

    @abstractmethod
    def link(self, old: Path, staged: Path, final: Path) -> None:
        """Make the file ``old`` also that of a new folder, which has ``staged`` while it is filled
        and ``final`` then, without its bytes being moved."""

    @abstractmethod
    def replace(self, path: Path, content: Buffer) -> None:
        """Make ``content`` the whole of a file, whatever was there: for repair alone."""

    @abstractmethod
    def settle(self, path: Path) -> Digest:
        """Wait until a file that DuckDB has written is kept; its size and hash."""

    @abstractmethod
    def touch(self, path: Path) -> None:
        """From now on ``written`` says now; nothing where nothing is."""

    @abstractmethod
    def remove(self, path: Path) -> int | None:
        """Remove a file, or a folder with all below it; its bytes, None if nothing was removed.

        A link goes, and what it leads to stays; so does what is reached through a link.
        """

    def discard(self, path: Path) -> None:
        """Remove what nothing names; what cannot be removed waits for ``gc``."""
        with suppress(OSError, LakeError):
            self.remove(path)

    @abstractmethod
    def tidy(self) -> None:
        """Forget copies of files that are there no more."""
