"""Copies of SQLite files, made by a process of their own: ``python -I sqlite_copy.py FROM TO …``.

DuckDB brings its own SQLite, and closing a file in one library drops the POSIX locks that the
other holds on it in the same process. So this is run as a script and imports nothing of ours.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

__all__ = ["check_sqlite", "copy_sqlite"]


def copy_sqlite(source: Path, target: Path) -> None:
    """Write the whole committed content of ``source`` to ``target``, page by page as it is."""
    reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    with closing(reading), closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


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
