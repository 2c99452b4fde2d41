"""``python -m benchmarks.growth``: time a row and peak memory of each flow, as a corpus grows.

A null model, which only looks its tokens up, so that what grows is the lake and not the network.
Every flow is a command of its own, as a user would run it: its wall time, less what it takes for
20,000 rows, and the largest resident memory of its process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.machine import machine_facts
from benchmarks.report import write_page
from benchmarks.small_models import NULL_SITES, WORDS, null_model

WIDTH, WORDS_A_DOCUMENT = 64, 400
RESULTS = Path(__file__).parent / "results"
START_ROWS = 20_000
"""What a flow takes for so few is its start: Python, libraries, the model, a run's own commits."""
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
            "sql",
            "--query",
            "top_features",
            "-p",
            f"codes={CODES}",
            "-p",
            "mask=no_special",
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
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"`actlake {' '.join(words)}` ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - started, usage.ru_maxrss * unit / 2**20


def _corpus(path: Path, rows: int) -> Path:
    random = np.random.default_rng(0)
    with path.open("w") as file:
        for number in range(max(1, rows // WORDS_A_DOCUMENT)):
            words = " ".join(random.choice(WORDS, WORDS_A_DOCUMENT))
            file.write(json.dumps({"id": str(number), "text": words}) + "\n")
    return path


def table(found: Sequence[Grown]) -> str:
    """A row a flow: time a row at each size, beside that of the size before, and memory."""
    sizes = sorted({one.rows for one in found})
    header = ["flow"]
    for size in sizes:
        header += [f"µs a row, {size:,}", "× the size before", "peak MiB"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for flow in dict.fromkeys(one.flow for one in found):
        cells, before = [flow], None
        for one in sorted((one for one in found if one.flow == flow), key=lambda one: one.rows):
            ratio = "" if before is None else f"{one.microseconds / before:.2f}"
            cells += [f"{one.microseconds:.2f}", ratio, f"{one.peak_mib:,.0f}"]
            before = one.microseconds
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 10**6, 10**7])
    parser.add_argument("--folder", help="where lakes are made and removed; they take 5 GB")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    options = parser.parse_args()
    place = Path(options.folder or tempfile.gettempdir())
    facts = machine_facts(place)
    found: list[Grown] = []
    start: dict[str, float] = {}
    for rows in (START_ROWS, START_ROWS, *options.rows):  # twice: files are cold at first
        with tempfile.TemporaryDirectory(prefix="actlake-growth-", dir=place) as folder:
            for one in grown(Path(folder) / "work", rows):
                if rows == START_ROWS:
                    start[one.flow] = one.seconds
                    continue
                one = replace(one, start_seconds=start[one.flow])
                found.append(one)
                print(
                    f"{one.flow:<10} {rows:>12,} rows  {one.seconds:8.1f} s  "
                    f"{one.microseconds:8.2f} µs a row  {one.peak_mib:8,.0f} MiB",
                    flush=True,
                )
    print(f"\n{table(found)}")
    if options.write:
        about = f"- rows of width {WIDTH}, {WORDS_A_DOCUMENT} a document"
        write_page(RESULTS, "growth", facts, [about, "", table(found)])


if __name__ == "__main__":
    main()
