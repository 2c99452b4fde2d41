"""Copies of SQLite files, made by a process of their own: ``python -I sqlite_copy.py FROM TO …``.

DuckDB brings its own SQLite, and closing a file in one library drops the POSIX locks that the
other holds on it in the same process. So this is run as a script and imports nothing of ours.
"""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

__all__ = ["copy_sqlite"]


def copy_sqlite(source: Path, target: Path) -> None:
    """Write the whole committed content of ``source`` to ``target`` and check that it is sound."""
    reading = sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=60)
    with closing(reading), closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        [(answer,)] = writing.execute("PRAGMA integrity_check").fetchall()
    if answer != "ok":
        raise sqlite3.DatabaseError(f"{source} is damaged: {answer}")


if __name__ == "__main__":
    for source, target in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        try:
            copy_sqlite(Path(source), Path(target))
        except sqlite3.Error as error:
            sys.exit(f"{source}: {error}")
