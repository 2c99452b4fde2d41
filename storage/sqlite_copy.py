"""Copies of SQLite files, made by a process of their own: ``python -I sqlite_copy.py FROM TO …``.

DuckDB brings its own SQLite, and closing a file in one library drops the POSIX locks that the
other holds on it in the same process. So this is run as a script and imports nothing of ours.
"""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

__all__ = ["check_sqlite", "copy_sqlite", "copy_unwritable"]

TRIES = 20


def copy_sqlite(source: Path, target: Path) -> None:
    """Write the whole committed content of ``source`` to ``target``, page by page as it is."""
    reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    with closing(reading), closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


def copy_unwritable(source: Path, target: Path) -> None:
    """As ``copy_sqlite``, where this process may not write; never while it has ``source`` open.

    SQLite itself reads a file with a log there only while somebody else has it open. So else this
    copies the bytes, of the log too, and again if they changed meanwhile. OperationalError if they
    never stay as they are, OSError if they may not be read.
    """
    for _ in range(TRIES):
        reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=60)
        writing = sqlite3.connect(target)
        with closing(reading), closing(writing), suppress(sqlite3.DatabaseError):
            reading.backup(writing)
            return
        before = list(_facts(source))
        for file in _files(target):
            file.unlink(missing_ok=True)
        for old, new in zip(_files(source), _files(target), strict=True):
            with suppress(FileNotFoundError):
                shutil.copyfile(old, new)
        if list(_facts(source)) == before:
            return
    raise sqlite3.OperationalError("it changes too fast to be copied")


def _files(database: Path) -> tuple[Path, Path]:
    return database, database.with_name(f"{database.name}-wal")


def _facts(database: Path) -> Iterator[tuple[int, int, int] | None]:
    """What changes when a file of ``database`` does, or when somebody opens it."""
    for file in (*_files(database), database.with_name(f"{database.name}-shm")):
        try:
            facts = file.stat()
        except FileNotFoundError:
            yield None
        else:
            yield facts.st_ino, facts.st_size, facts.st_mtime_ns


def check_sqlite(file: Path) -> None:
    """DatabaseError unless ``file`` is sound; reads all of it, a gigabyte in seconds."""
    uri = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as reading:
        [(answer,)] = reading.execute("PRAGMA integrity_check(1)").fetchall()
    if answer != "ok":
        raise sqlite3.DatabaseError(f"it is damaged: {' '.join(answer.split())}")


if __name__ == "__main__":
    for source, target in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        try:
            copy_sqlite(Path(source), Path(target))
        except sqlite3.Error as error:
            sys.exit(f"{source}: {error}")
