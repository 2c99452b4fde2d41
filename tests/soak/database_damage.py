"""Bits that flip in a database: found, refused, or proven to change nothing that a reader sees."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from actlake.storage import Lake
from actlake.storage.durable import replace_file
from actlake.storage.errors import LakeError
from tests.forked import CONTEXT, child
from tests.soak.outcome import Outcome
from tests.soak.subject import Subject, answers

FOUND, REFUSED, HARMLESS = "found", "refused", "harmless"
LONGEST_SECONDS = 120.0


def attack_database(
    subject: Subject, name: str, attempts: int, random: np.random.Generator
) -> Outcome:
    """Flip bits of a database, of which not all can be found; what readers return must stay."""
    started = time.monotonic()
    root = Path(shutil.copytree(subject.root, subject.root.with_name(f"{name}-lake")))
    _in_one_file(root / name)
    before = (root / name).read_bytes()
    with closing(Lake.open(root)) as lake:
        truth = answers(lake)
    ended = Counter[str]()
    wrong: list[str] = []
    for _ in range(attempts):
        content = bytearray(before)
        bit = int(random.integers(len(content) * 8))
        content[bit // 8] ^= 1 << bit % 8
        replace_file(root / name, content)
        told = CONTEXT.SimpleQueue()
        reader = child(_look, root, truth, told)  # which a damaged catalog may end
        reader.start()
        reader.join(LONGEST_SECONDS)
        end = f"ended with {reader.exitcode}" if told.empty() else told.get()
        if end in (FOUND, REFUSED, HARMLESS):
            ended[end] += 1
        else:
            wrong.append(f"bit {bit}: {end}")
        reader.kill()
        for log in root.glob(f"{name}-*"):
            log.unlink()
        replace_file(root / name, before)
    shutil.rmtree(root)
    return Outcome(
        attack=f"flipped bit of {name}",
        attempts=attempts,
        survived=attempts - len(wrong),
        lost=len(wrong),
        seen=f"found {ended[FOUND]:,}, refused {ended[REFUSED]:,}, not found and all readers of "
        f"the subject answer as before {ended[HARMLESS]:,}; {time.monotonic() - started:,.0f} s"
        + "".join(f"; {one}" for one in wrong[:3]),
    )


def _look(root: Path, truth: dict[str, list[bytes]], told: Any) -> None:
    try:
        with closing(Lake.open(root)) as lake:
            found = [*lake.verify()]
            now = answers(lake)
        other = [kind for kind in truth if now[kind] != truth[kind]]
        told.put(FOUND if found else f"changes {other[0]}" if other else HARMLESS)
    except LakeError as error:
        told.put(REFUSED if "\n" not in str(error) else f"told in lines: {error!r}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        told.put(f"told as {error!r}")


def _in_one_file(database: Path) -> None:
    """Take the log of a database into it; in another process, as ``sqlite_copy`` says."""
    code = (
        "import sqlite3, sys; "
        "sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)')"
    )
    subprocess.run([sys.executable, "-c", code, str(database)], check=True)
