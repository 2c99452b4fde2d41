"""``python -m benchmarks.growth``: time a row and peak memory of each flow, as a corpus grows.

A null model, which only looks its tokens up, so that what grows is the lake and not the network.
Every flow is a command of its own, as a user would run it: its wall time, less what it takes for
20,000 rows in the same turn, and the largest memory of its process. The two largest sizes
take turns, ``--repeats`` times, and the verdict on time is on their ratios within a turn. After the
first, no turn begins that would end after ``--minutes``.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.growing import FLAT, SLOWER, is_flat
from benchmarks.machine import machine_facts
from benchmarks.report import met, write_page
from benchmarks.resident import watched
from benchmarks.small_models import NULL_SITES, WORDS, null_model

WIDTH, WORDS_A_DOCUMENT = 64, 400
RESULTS = Path(__file__).parent / "results"
START_ROWS = 20_000
"""What a flow takes for so few is its start: Python, libraries, the model, a run's own commits."""
NOISE_SECONDS = 1.0
"""So much beyond its start is no growth: starts differ by as much."""
TENSOR = f"null:{NULL_SITES[0]}"
CODES = f"topk:{TENSOR}:256@c"


@dataclass(frozen=True, slots=True)
class Grown:
    """What a flow took at one size."""

    flow: str
    rows: int
    seconds: float
    peak_mib: float

    start_seconds: float = 0.0
    """Of these."""

    @property
    def microseconds(self) -> float:
        """Wall time of one more row."""
        return 1e6 * (self.seconds - self.start_seconds) / (self.rows - START_ROWS)


def flows(model: Path, corpus: Path, rows: int) -> dict[str, list[str]]:
    """The command of each flow, in order."""
    return {
        "ingest": ["ingest", str(corpus), "--corpus", "c", "--id", "id", "--model", str(model)],
        "extract": ["extract", str(model), "--corpus", "c", "--site", NULL_SITES[0]],
        "train": [
            *("train", f"{TENSOR}@c", "--features", "256", "-k", "8"),
            *("--steps", str(max(20, rows // 4096)), "--batch-rows", "4096"),
        ],
        "encode": ["encode", f"topk:{TENSOR}:256"],
        "summarize": ["summarize", CODES, "--mask", "no_special"],
        "verify": ["verify"],
        "query": [
            *("sql", "--query", "top_features", "-p", f"codes={CODES}", "-p", "mask=no_special"),
            *("-p", "by=density", "-p", "order=desc", "-p", "limit=20"),
        ],
    }


def grown(folder: Path, rows: int) -> Iterator[Grown]:
    """Every flow over a new lake of so many rows."""
    folder.mkdir()
    model = null_model(folder, WIDTH).rename(folder / "null")
    corpus = _corpus(folder / "corpus.jsonl", rows)
    environment = os.environ | {"ACTLAKE_LAKE": str(folder / "lake"), "ACTLAKE_RUNNER": "inline"}
    for flow, words in flows(model, corpus, rows).items():
        yield Grown(flow, rows, *_timed(words, environment))


def _timed(words: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.small_models", *words]
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process,
        watched(process.pid) as peak,
    ):
        process.wait()
        seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"`actlake {' '.join(words)}` ended with {process.returncode}")
    return seconds, peak.mib


def _corpus(path: Path, rows: int) -> Path:
    random = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(max(1, rows // WORDS_A_DOCUMENT)):
            words = " ".join(random.choice(WORDS, WORDS_A_DOCUMENT))
            file.write(json.dumps({"id": str(number), "text": words}) + "\n")
    return path


def table(found: Sequence[Grown]) -> str:
    """A row a flow: the time of a row at each size, beside that of the size before, and memory.

    Of several runs of a size the median time and the largest memory.
    """
    sizes = sorted({one.rows for one in found})
    header = ["flow"]
    for size in sizes:
        header += [f"µs a row, {size:,}", "× the size before", "peak MiB"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for flow, runs in _runs(found).items():
        cells, before = [flow], None
        for size in sizes:
            time_a_row = statistics.median(one.microseconds for one in runs[size])
            ratio = f"{time_a_row / before:.2f}" if before else ""
            cells += [f"{time_a_row:.2f}", ratio, f"{_peak(runs[size]):,.0f}"]
            before = time_a_row
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdicts(found: Sequence[Grown]) -> str:
    """A row a flow: whether time a row and peak memory stay as they are; empty for one size."""
    sizes = sorted({one.rows for one in found})
    if len(sizes) < 2:
        return ""
    smallest, before, largest = sizes[0], sizes[-2], sizes[-1]
    header = (
        "flow",
        f"time a row, {largest:,} / {before:,} rows: median (min – max)",
        f"≤ {SLOWER:.2f}",
        f"peak memory, {largest:,} / {smallest:,} rows",
        FLAT,
    )
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for flow, runs in _runs(found).items():
        time_a_row = _slower(runs[before], runs[largest])
        most, least = _peak(runs[largest]), _peak(runs[smallest])
        memory = f"{most / least:.2f}, {most - least:+,.0f} MiB"
        held = met(is_flat(least, most))
        lines.append(f"| {flow} | {' | '.join(time_a_row)} | {memory} | {held} |")
    return "\n".join(lines)


def _slower(before: Sequence[Grown], largest: Sequence[Grown]) -> tuple[str, str]:
    """How often the time of a row at the size before, with its spread, and whether that is met."""
    beyond = statistics.median(one.seconds - one.start_seconds for one in largest)
    if beyond <= NOISE_SECONDS:
        return f"within {NOISE_SECONDS:g} s of its start", met(True)
    ratios = [
        # What took no longer than its start has no time a row to compare with.
        large.microseconds / small.microseconds if small.microseconds > 0 else math.inf
        for small, large in zip(before, largest, strict=True)
    ]
    middle = statistics.median(ratios)
    return f"{middle:.2f} ({min(ratios):.2f} – {max(ratios):.2f})", met(middle <= SLOWER)


def _runs(found: Sequence[Grown]) -> dict[str, dict[int, list[Grown]]]:
    """Of each flow and size, in the order in which they ran."""
    runs: dict[str, dict[int, list[Grown]]] = {}
    for one in found:
        runs.setdefault(one.flow, {}).setdefault(one.rows, []).append(one)
    return runs


def _peak(runs: Sequence[Grown]) -> float:
    return max(one.peak_mib for one in runs)


def turns(sizes: Sequence[int], repeats: int) -> list[list[int]]:
    """Each size once, from small to large, and the two largest together, ``repeats`` times."""
    rising = sorted(set(sizes))
    return [[one] for one in rising[:-2]] + repeats * [rising[-2:]]


def fits(turn: float, passed: float, minutes: float) -> bool:
    """Whether one more turn of so many seconds ends in time."""
    return passed + turn <= 60 * minutes


def main() -> None:
    options = _options()
    place = Path(options.folder or tempfile.gettempdir())
    facts = machine_facts(place)
    began = time.perf_counter()
    list(_grown_in(place, START_ROWS))  # files are cold at first
    found: list[Grown] = []
    took: dict[tuple[int, ...], list[float]] = {}
    for turn in turns(options.rows, options.repeats):
        past = took.setdefault(tuple(turn), [])
        passed = time.perf_counter() - began
        if past and not fits(max(past), passed, options.minutes):
            break
        start = {one.flow: one.seconds for one in _grown_in(place, START_ROWS)}
        for rows in turn:
            for one in _grown_in(place, rows):
                one = replace(one, start_seconds=start[one.flow])
                found.append(one)
                print(
                    f"{one.flow:<10} {rows:>12,} rows  {one.seconds:8.1f} s  "
                    f"{one.microseconds:8.2f} µs a row  {one.peak_mib:8,.0f} MiB",
                    flush=True,
                )
        past.append(time.perf_counter() - began - passed)
    tables = ["", table(found), "", verdicts(found)]
    passed = (time.perf_counter() - began) / 60
    about = f"turns of the two largest sizes: {len(past)}; minutes in all: {passed:.0f}"
    print("\n".join([*tables, "", about]))
    if options.write:
        of = f"- rows of width {WIDTH}, {WORDS_A_DOCUMENT} a document"
        write_page(RESULTS, "growth", facts, [of, f"- {about}", *tables])


def _grown_in(place: Path, rows: int) -> Iterator[Grown]:
    with tempfile.TemporaryDirectory(prefix="actlake-growth-", dir=place) as folder:
        yield from grown(Path(folder) / "work", rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--repeats", type=int, default=3, help="turns of the two largest sizes (3)")
    parser.add_argument(
        "--minutes", type=float, default=40, help="begin no further turn that would end later (40)"
    )
    parser.add_argument("--folder", help="where lakes are made and removed; they take 5 GB")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    options = parser.parse_args()
    if min(options.rows) <= START_ROWS or options.repeats < 1:
        parser.error(f"give more than {START_ROWS:,} rows, and 1 turn or more")
    return options


if __name__ == "__main__":
    main()
