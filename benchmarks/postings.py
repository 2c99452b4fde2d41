"""``python -m benchmarks.postings``: time a posting and peak memory, as codes grow.

What is asked of features runs in a process of its own at each size, whose largest resident memory
is shown. Reading a lake is measured after everything was read once.
"""

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from actlake.flows.summarize import summarize
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage import Lake
from benchmarks.feature_lake import DOCUMENT_ROWS, compact, feature_lake, postings_of
from benchmarks.machine import machine_facts
from benchmarks.report import write_page

FEATURES, TOKENS, FIRES, WIDTH = 1 << 14, 1 << 15, 33, 576
POSTINGS_A_ROW = 32
ASKED, SHOWN = 40, 100
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Took:
    """What one thing took over codes of one size."""

    what: str
    postings: int
    seconds: float
    peak_mib: float


def _make(root: Path, rows: int) -> int:
    lake = feature_lake(root, rows=rows, fires=FIRES, features=FEATURES, tokens=TOKENS, width=WIDTH)
    return postings_of(lake)


def _compact(lake: Lake) -> float:
    return _timed(lambda: compact(lake))


def _summarize(lake: Lake) -> float:
    return _timed(lambda: summarize(lake, codes="codes", mask="no_special"))


def _pairs(lake: Lake) -> float:
    return _timed(lambda: summarize_pairs(lake, codes="codes"))


def _contexts(lake: Lake) -> float:
    """Of one feature, the median of many, each asked for once before."""
    features = np.random.default_rng(0).integers(0, FEATURES, ASKED).tolist()
    return _median(features, lambda one: lake.contexts("codes", one, limit=SHOWN))


def _document(lake: Lake) -> float:
    """What fires in one document, the median of many, each asked for once before."""
    count = len(lake.codes("codes")) // DOCUMENT_ROWS
    documents = np.random.default_rng(0).integers(0, count, ASKED)

    def ask(document: int) -> None:
        asked: dict[str, Any] = {"codes": "codes", "document": document, "by": "max", "limit": 20}
        lake.query("features_of_document", **asked).arrow()

    return _median(documents.tolist(), ask)


def _median(things: list[int], ask: Callable[[int], object]) -> float:
    for one in things:
        ask(one)
    seconds = []
    for one in things:
        started = time.perf_counter()
        ask(one)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


TASKS: dict[str, Callable[[Lake], float]] = {
    "compact": _compact,
    "summarize": _summarize,
    "summarize-pairs": _pairs,
    "contexts of a feature": _contexts,
    "features of a document": _document,
}
WHOLE = ("compact", "summarize", "summarize-pairs")
"""What goes through all postings, so that its time is told by the posting."""


def _run(root: Path, what: str) -> tuple[float, float]:
    lake = Lake.open(root)
    seconds = TASKS[what](lake)
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _timed(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


def table(found: list[Took]) -> str:
    """A row a size and thing."""
    lines = ["| what | postings | time | ns a posting | × the size before | peak MiB |"]
    lines.append("|---" * 6 + "|")
    for what in TASKS:
        before: Took | None = None
        for one in (one for one in found if one.what == what):
            each = "" if what not in WHOLE else f"{1e9 * one.seconds / one.postings:,.0f}"
            grown = ""
            if before is not None:
                per = one.postings / before.postings if what in WHOLE else 1.0
                grown = f"{one.seconds / before.seconds / per:.2f}"
            took = f"{one.seconds:,.1f} s" if what in WHOLE else f"{1e3 * one.seconds:.1f} ms"
            cells = (what, f"{one.postings:,}", took, each, grown, f"{one.peak_mib:,.0f}")
            lines.append(f"| {' | '.join(cells)} |")
            before = one
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postings", description=__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[4, 40])
    parser.add_argument("--only", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--folder", help="where lakes are made and removed")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    options = parser.parse_args()
    place = Path(options.folder or tempfile.gettempdir())
    facts = machine_facts(place)
    found: list[Took] = []
    for millions in options.millions:
        with tempfile.TemporaryDirectory(prefix="actlake-postings-", dir=place) as folder:
            root = Path(folder) / "lake"
            postings = _apart(_make, root, millions * 1_000_000 // POSTINGS_A_ROW)
            for what in options.only:
                found.append(Took(what, postings, *_apart(_run, root, what)))
                print(found[-1], flush=True)
    print(f"\n{table(found)}")
    if options.write:
        write_page(RESULTS, "postings", facts, [f"- {FEATURES:,} features", "", table(found)])


def _apart(do: Callable[..., Any], *given: object) -> Any:
    """What ``do`` returns, done by a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(do, *given).result()


if __name__ == "__main__":
    main()
