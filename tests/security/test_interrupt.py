"""Ctrl-C ends a query at once, in one line, whichever library is at work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CODE = """
import os, signal, sys, threading, time
from actlake.flows.cli import main
from actlake.storage.results import TimeLimit

def press():
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)

step, steps, wanted = TimeLimit.step, 0, int(sys.argv[1])
def pressed(self):
    global steps
    steps += 1
    if steps == wanted:
        threading.Timer(0.5, press).start()
    return step(self)
TimeLimit.step = pressed
try:
    main(sys.argv[2:])
finally:
    print(time.monotonic(), flush=True)
"""
COUNT = "SELECT count(*) FROM range(100000000000) a, range(1000) b"
ROWS = "SELECT i FROM range(20000000000) t(i)"


@pytest.mark.parametrize(("select", "step"), [(COUNT, 1), (ROWS, 2)])
def test_ctrl_c__ends_a_query_within_two_seconds(
    select: str, step: int, empty_lake: Path, tmp_path: Path
) -> None:
    line = ["sql", "--lake", str(empty_lake), select, "-o", str(tmp_path / "rows.csv")]
    found = subprocess.run(
        [sys.executable, "-c", CODE, str(step), *line],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert found.returncode in (1, 130)
    assert [line for line in found.stderr.splitlines() if line] == ["Aborted!"]
    pressed, ended = map(float, found.stdout.split())
    assert ended - pressed < 2
