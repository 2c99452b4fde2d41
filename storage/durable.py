"""Files that are whole or absent: written aside, flushed, then published without replacing.

A crash leaves at most a ``*.tmp`` beside the place, never half a file under its own name.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import xxhash

from actlake.storage.errors import DiskError

__all__ = [
    "Digest",
    "digest",
    "digest_of",
    "disk_error",
    "flush",
    "is_staged",
    "linked",
    "make_folder",
    "new_folder",
    "pieces",
    "publish",
    "publish_folder",
    "replace_file",
    "sealed",
    "staging_path",
    "writing",
]

Buffer = bytes | bytearray | memoryview
READ_BYTES = 1 << 20
SEAL = "xxh3_128"
REMEDIES = {
    "make room there": ("no space left", "disk is full", "quota exceeded", "too large"),
    "make it writable": ("permission denied", "not permitted", "read-only", "readonly"),
    "see that the disk is whole and has room": ("disk i/o error", "unable to open database file"),
}
"""What to do about what the system, SQLite or DuckDB says of a disk."""


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file's content must be."""

    bytes: int
    xxh3_128: str
    """Hexadecimal."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """What the system refuses inside the block is a DiskError that names ``place``; that a file
    exists already stays a FileExistsError."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise disk_error(place, what) or DiskError(
            f"{place} cannot be written ({what}); {[*REMEDIES][-1]}, then run this again"
        ) from error


def disk_error(place: Path | str, what: str) -> DiskError | None:
    """The error to raise where ``what`` blames a disk for that ``place`` was not written."""
    for remedy, texts in REMEDIES.items():
        if any(text in what.lower() for text in texts):
            return DiskError(f"{place} cannot be written ({what}); {remedy}, then run this again")
    return None


def digest(path: Path) -> Digest:
    """Size and hash of the file at ``path``."""
    return digest_of(pieces(path))


def pieces(path: Path) -> Iterator[bytes]:
    """The content of the file at ``path``, 1 MiB at a time."""
    with path.open("rb", buffering=0) as file:
        while piece := file.read(READ_BYTES):
            yield piece


def digest_of(pieces: Iterable[Buffer]) -> Digest:
    """Size and hash of ``pieces`` together."""
    hasher, size = xxhash.xxh3_128(), 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
    return Digest(size, hasher.hexdigest())


def linked(path: Path) -> bool:
    """Whether ``path``, below a resolved root, is a link or is reached through one.

    A link may lead out of the lake: whoever reads would read, and whoever removes would remove,
    what is somebody else's.
    """
    return os.path.realpath(path) != os.fspath(path)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those above it, so that they survive a loss of power."""
    with writing(folder):
        if not folder.is_dir():
            make_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            flush(folder.parent)


def staging_path(final: Path) -> Path:
    """A name beside ``final`` that no other writer uses, for a file that is not yet published."""
    return final.with_name(f".{final.name}.{uuid4().hex}.tmp")


def is_staged(path: Path) -> bool:
    """Whether ``path`` is that of something which waits to be published."""
    return path.name.startswith(".") and path.suffix == ".tmp"


def publish(final: Path, pieces: Iterable[Buffer]) -> Digest:
    """Write ``pieces`` to ``final`` and flush it to the disk; FileExistsError if it exists,
    DiskError if it cannot be written.

    ``os.link`` makes the name appear with the whole content and, unlike ``rename``, never
    replaces what another writer has published meanwhile.
    """
    staged, hasher, size = staging_path(final), xxhash.xxh3_128(), 0
    with writing(final):
        try:
            with staged.open("xb", buffering=0) as file:
                for piece in pieces:
                    _write_all(file.fileno(), piece)
                    hasher.update(piece)
                    size += memoryview(piece).nbytes
                os.fsync(file.fileno())
            os.link(staged, final)
        finally:
            staged.unlink(missing_ok=True)
        flush(final.parent)
    return Digest(size, hasher.hexdigest())


def replace_file(final: Path, content: Buffer) -> None:
    """Make ``content`` the whole of ``final``, whatever was there: for what may change, such as a
    checkpoint; nothing that a table names is ever written so."""
    make_folder(final.parent)
    staged = staging_path(final)
    publish(staged, [content])
    with writing(final):
        try:
            staged.replace(final)
        finally:
            staged.unlink(missing_ok=True)
        flush(final.parent)


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """``record``, for JSON, with a hash of all else that it says: it stays the same while whole."""
    said = {name: value for name, value in record.items() if name != SEAL}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return {**said, SEAL: xxhash.xxh3_128_hexdigest(text.encode())}


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder to fill that is ``final`` when the block ends; nothing is left of it if it fails.

    FileExistsError if ``final`` exists, DiskError if it cannot be written.
    """
    staged = staging_path(final)
    with writing(final):
        try:
            make_folder(final.parent)
            staged.mkdir()
            yield staged
            publish_folder(staged, final)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise


def publish_folder(staged: Path, final: Path) -> None:
    """Flush the folder ``staged`` and give it the name ``final``; FileExistsError if that exists.

    Renaming onto a folder that holds anything fails, so nothing is ever replaced.
    """
    with writing(final):
        for path in (*staged.rglob("*"), staged):
            flush(path)
        try:
            staged.rename(final)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            if final.exists():
                raise FileExistsError(f"{final} exists") from error
            raise
        flush(final.parent)


def flush(path: Path) -> None:
    """Wait until the file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, piece: Buffer) -> None:
    # One write call moves at most 2 GiB, and may move less.
    rest = memoryview(piece).cast("B")
    while rest.nbytes:
        rest = rest[os.write(descriptor, rest) :]
