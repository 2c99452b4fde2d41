"""The verdicts on growth, on numbers that were made up; the measurement itself takes a while."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from actlake import sql
from benchmarks import postings
from benchmarks.growth import START_ROWS, Grown, fits, flows, table, turns, verdicts
from benchmarks.postings import Took
from benchmarks.resident import watched
from tests.test_docs import parse

SMALLEST, BEFORE, LARGEST = 10**5, 10**6, 10**7


def ran(flow: str, rows: int, microseconds: float, peak_mib: float) -> Grown:
    """A run whose rows took so long each, after a start of 3 s."""
    return Grown(flow, rows, 3 + microseconds * (rows - START_ROWS) / 1e6, peak_mib, 3)


def test_growth__has_a_verdict_a_flow() -> None:
    found = [
        ran("even", SMALLEST, 50, 500),
        *(ran("even", BEFORE, each, 520) for each in (10, 20, 10)),
        *(ran("even", LARGEST, each, 550) for each in (11, 16, 12)),
        ran("slows", SMALLEST, 10, 500),
        *(ran("slows", BEFORE, 10, 500) for _ in range(3)),
        *(ran("slows", LARGEST, each, peak) for each, peak in ((10, 1), (12, 565), (13, 1))),
        ran("grows", SMALLEST, 1, 1000),
        *(ran("grows", BEFORE, 1, 1000) for _ in range(3)),
        *(ran("grows", LARGEST, 1, 1150) for _ in range(3)),
        ran("query", SMALLEST, -0.5, 100),
        *(ran("query", BEFORE, -0.01, 100) for _ in range(3)),
        *(ran("query", LARGEST, 0.1, 164) for _ in range(3)),
        ran("late", SMALLEST, 0, 100),
        *(ran("late", BEFORE, 0, 100) for _ in range(3)),
        *(ran("late", LARGEST, 0.2, 100) for _ in range(3)),
    ]

    assert verdicts(found).splitlines()[2:] == [
        "| even | 1.10 (0.80 – 1.20) | met | 1.10, +50 MiB | met |",
        "| slows | 1.20 (1.00 – 1.30) | missed | 1.13, +65 MiB | missed |",
        "| grows | 1.00 (1.00 – 1.00) | met | 1.15, +150 MiB | missed |",
        "| query | within 1 s of its start | met | 1.64, +64 MiB | met |",
        "| late | inf (inf – inf) | missed | 1.00, +0 MiB | met |",
    ]
    even = "| even | 50.00 |  | 500 | 10.00 | 0.20 | 520 | 12.00 | 1.20 | 550 |"
    assert table(found).splitlines()[2] == even
    assert verdicts(found[:1]) == ""


def test_turns__take_the_two_largest_together() -> None:
    assert turns([10, 1, 100, 10], 2) == [[1], [10, 100], [10, 100]]
    assert turns([5], 3) == [[5], [5], [5]]
    assert fits(600, 1800, 40)
    assert not fits(601, 1800, 40)


def test_flows__are_commands_that_there_are(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.touch()
    commands = flows(tmp_path, corpus, LARGEST)
    for words in commands.values():
        parse(words)
    query = sql.text("queries", commands["query"][2])
    given = [word.partition("=")[0] for word in commands["query"] if "=" in word]
    assert {*given} == {*re.findall(r"\$(\w+)", query)}


def test_postings__have_a_verdict_a_thing() -> None:
    small, large = 4_000_000, 40_000_000
    found = [
        *(Took("summarize", small, each, 900) for each in (10.0, 20.0, 10.0)),
        *(Took("summarize", large, each, 950) for each in (108.0, 222.0, 109.0)),
        *(Took("summarize-pairs", small, each, 900) for each in (10.0, 10.0)),
        *(Took("summarize-pairs", large, each, 1000) for each in (111.0, 113.0)),
        Took("contexts of a feature", large, 0.0599, 300),
        Took("contexts of a feature", small, 0.02, 300),
        Took("features of a document", small, 0.5, 300),
    ]
    assert postings.verdicts(found).splitlines()[2:] == [
        "| summarize | 1.09 (1.08 – 1.11) a posting | ≤ 1.10 met "
        "| 1.06, +50 MiB | ≤ 1.10 or + 64 MiB met |",
        "| summarize-pairs | 1.12 (1.11 – 1.13) a posting | ≤ 1.10 missed "
        "| 1.11, +100 MiB | ≤ 1.10 or + 64 MiB missed |",
        "| contexts of a feature | 0.020 s, 0.060 s | ≤ 0.02 s, ≤ 0.06 s met "
        "| 1.00, +0 MiB | ≤ 1.10 or + 64 MiB met |",
        "| features of a document | 0.500 s |  | 1.00, +0 MiB |  |",
    ]
    assert postings.table(found).splitlines()[2:4] == [
        "| summarize | 4,000,000 | 10.0 s | 2,500 |  | 900 |",
        "| summarize | 40,000,000 | 109.0 s | 2,725 | 1.09 | 950 |",
    ]


LOOKED = """
import sys, time
import numpy as np
from benchmarks.resident import watched
with watched() as before:
    pass
with watched() as mapped:
    assert not np.memmap(sys.argv[1], np.uint8, mode="r").any()
with watched() as held:
    kept = np.ones(64 << 20, np.uint8)
    time.sleep(0.1)
print(before.mib, mapped.mib - before.mib, held.mib - before.mib)
"""
"""For a process of its own: here malloc may hand out again what other tests have let go."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_memory__is_what_a_process_takes_and_not_what_it_maps(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(64 << 20))
    asked = [sys.executable, "-c", LOOKED, str(file)]
    looked = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    before, mapped, held = map(float, looked.stdout.split())
    assert before > 10
    assert mapped < 32
    assert 60 < held < 96
    with pytest.raises(SystemExit, match="measure it on Linux"), watched("nobody"):
        pass


def test_postings__are_measured_without_what_commands_do_not_import() -> None:
    asked = "import sys, benchmarks.postings; print(*{'torch', 'transformers'} & {*sys.modules})"
    found = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == []
