"""Whether SQLite files are sound, asked by a process of its own: see ``sqlite_copy`` for why.

``python -I sqlite_check.py FILE …`` prints a line for each fault: the file, a tab, what is wrong.
"""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

__all__ = ["sqlite_faults"]

MOST = 20
"""Faults told of one file."""


def sqlite_faults(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """What SQLite finds wrong in each file, reading all of it with its log; others may write.

    Pages, their order, the indices and the types of columns. A value that became another of the
    same type is none of that.
    """
    missing = [file for file in files if not file.is_file()]
    yield from ((file, "missing") for file in missing)
    there = [file for file in files if file not in missing]
    command = [sys.executable, "-I", __file__, *map(str, there)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield there[0], f"cannot be checked: {' '.join(done.stderr.split())[-300:]}"
    for line in done.stdout.splitlines():
        file, _, what = line.partition("\t")
        yield Path(file), what


def _faults(file: str) -> list[str]:
    try:
        uri = f"{Path(file).absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=60)) as reading:
            # Text that is no UTF-8 would end the check; it is told by its bytes.
            reading.text_factory = lambda found: found.decode("utf-8", "backslashreplace")
            answers = reading.execute(f"PRAGMA integrity_check({MOST})").fetchall()
            return [str(answer) for (answer,) in answers if answer != "ok"]
    except sqlite3.Error as error:
        return [str(error)]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for fault in _faults(name):
            print(name, " ".join(fault.split()), sep="\t")
