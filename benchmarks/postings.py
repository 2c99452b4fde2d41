"""``python -m benchmarks.postings``: time a posting and peak memory, as codes grow.

What is asked of features runs in a process of its own at each size, whose largest memory is shown.
One feature and one document are measured after they were asked for once. Lakes of all sizes stand
at once, and what goes through all postings takes turns over them, ``--repeats`` times, under a new
mask each: the verdict on time is on ratios within a turn. As in the commands, nothing here imports
torch, which takes 0.2 GB and more.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from actlake.flows.summarize import summarize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage import Lake
from benchmarks.feature_lake import DOCUMENT_ROWS, compact, feature_lake, postings_of
from benchmarks.growing import FLAT, SLOWER, is_flat
from benchmarks.machine import machine_facts
from benchmarks.measure import timed
from benchmarks.report import met, write_page
from benchmarks.resident import watched

FEATURES, TOKENS, FIRES, WIDTH = 1 << 14, 1 << 15, 33, 576
POSTINGS_A_ROW = 32
ASKED, SHOWN = 40, 100
TOGETHER, EXAMPLES = 1000, 20
EXAMPLES_OF = f"examples of {TOGETHER:,} features"
FIRST = f"{EXAMPLES_OF}, first"
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


def _compact(lake: Lake, _mask: str) -> float:
    return timed(lambda: compact(lake))


def _summarize(lake: Lake, mask: str) -> float:
    return timed(lambda: summarize(lake, codes="codes", mask=mask))


def _pairs(lake: Lake, mask: str) -> float:
    return timed(lambda: summarize_pairs(lake, codes="codes", mask=mask))


def _labels(lake: Lake, mask: str) -> float:
    return timed(lambda: summarize_labels(lake, codes="codes", label="topic", mask=mask))


def _contexts(lake: Lake, _mask: str) -> float:
    """Of one feature, the median of many, each asked for once before."""
    features = np.random.default_rng(0).integers(0, FEATURES, ASKED).tolist()
    return _median(features, lambda one: lake.contexts("codes", one, limit=SHOWN))


def _document(lake: Lake, _mask: str) -> float:
    """What fires in one document, the median of many, each asked for once before."""
    count = len(lake.codes("codes")) // DOCUMENT_ROWS
    documents = np.random.default_rng(0).integers(0, count, ASKED)

    def ask(document: int) -> None:
        asked: dict[str, Any] = {"codes": "codes", "document": document, "by": "max", "limit": 20}
        lake.query("features_of_document", **asked).arrow()

    return _median(documents.tolist(), ask)


def _examples(lake: Lake, mask: str) -> float:
    """Of many features together; the second time, when their files are known to be sound."""
    _first_examples(lake, mask)
    return _first_examples(lake, mask)


def _first_examples(lake: Lake, mask: str) -> float:
    """The first time, when every file is checked that is read."""
    features = np.random.default_rng(0).permutation(FEATURES)[:TOGETHER].tolist()
    return timed(lambda: lake.contexts_of("codes", features, mask=mask, limit=EXAMPLES))


def _median(things: list[int], ask: Callable[[int], object]) -> float:
    for one in things:
        ask(one)
    return statistics.median(timed(partial(ask, one)) for one in things)


TASKS: dict[str, Callable[[Lake, str], float]] = {
    "compact": _compact,
    "summarize": _summarize,
    "summarize-pairs": _pairs,
    "summarize-labels": _labels,
    "contexts of a feature": _contexts,
    "features of a document": _document,
    FIRST: _first_examples,
    EXAMPLES_OF: _examples,
}
"""What is asked of a lake, under a mask that nothing was asked under, in order."""
WHOLE = ("compact", "summarize", "summarize-pairs", "summarize-labels")
"""What goes through all postings, so that its time is told by the posting."""
AGAIN = WHOLE[1:]
"""Of these, what another mask makes anew."""
SMALL = 5_000_000
"""Postings that are few."""
ALLOWED = {
    "contexts of a feature": (0.020, 0.060),
    FIRST: (2.0, 2.0),
    EXAMPLES_OF: (2.0, 2.0),
}
"""Seconds where postings are few, and where they are not."""


def _run(root: Path, what: str, turn: int) -> tuple[float, float]:
    lake = Lake.open(root)
    mask = f"turn-{turn}"
    # Not by polars: after a query of its, summarize takes 0.4 GB more in the same process.
    if not lake.sql("SELECT 1 FROM masks WHERE mask = $mask", mask=mask).rows():
        lake.create_mask(mask, "NOT is_special")
    with watched() as peak:
        seconds = TASKS[what](lake, mask)
    return seconds, peak.mib


def table(found: Sequence[Took]) -> str:
    """A row a thing and size: the median time and the largest memory of its turns."""
    lines = ["| what | postings | time | ns a posting | × the size before | peak MiB |"]
    lines.append("|---" * 6 + "|")
    for what, sizes in _by_size(found).items():
        before = 0.0
        for postings, turns in sizes.items():
            seconds = statistics.median(one.seconds for one in turns)
            whole = what in WHOLE
            each = seconds / postings if whole else seconds
            cells = (
                what,
                f"{postings:,}",
                f"{seconds:,.1f} s" if seconds >= 1 else f"{1e3 * seconds:.1f} ms",
                f"{1e9 * each:,.0f}" if whole else "",
                f"{each / before:.2f}" if before else "",
                f"{_peak(turns):,.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
            before = each
    return "\n".join(lines)


def verdicts(found: Sequence[Took]) -> str:
    """A row a thing: whether time a posting, or time, and peak memory are what they are to be."""
    lines = ["| what | time, smallest to largest | target | peak memory | target |"]
    lines.append("|---" * 5 + "|")
    for what, sizes in _by_size(found).items():
        (small, first), *_, (large, last) = [*sizes.items(), *sizes.items()]
        if what in WHOLE and small < large:
            ratios = [
                (b.seconds / large) / (a.seconds / small) for a, b in zip(first, last, strict=True)
            ]
            middle = statistics.median(ratios)
            cells = [
                f"{middle:.2f} ({min(ratios):.2f} – {max(ratios):.2f}) a posting",
                f"≤ {SLOWER:.2f} {met(middle <= SLOWER)}",
            ]
        else:
            took = {
                postings: statistics.median(one.seconds for one in turns)
                for postings, turns in sizes.items()
            }
            cells = [", ".join(f"{one:.3f} s" for one in took.values()), ""]
            if what in ALLOWED:
                allowed = [ALLOWED[what][postings > SMALL] for postings in took]
                so = all(one <= most for one, most in zip(took.values(), allowed, strict=True))
                cells[1] = f"{', '.join(f'≤ {most:g} s' for most in allowed)} {met(so)}"
        before, after = _peak(first), _peak(last)
        cells += [f"{after / before:.2f}, {after - before:+,.0f} MiB"]
        cells += [f"{FLAT} {met(is_flat(before, after))}" if small < large else ""]
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_size(found: Sequence[Took]) -> dict[str, dict[int, list[Took]]]:
    """Of each thing and size, smallest first, its turns."""
    sizes: dict[str, dict[int, list[Took]]] = {}
    for one in sorted(found, key=lambda one: one.postings):
        sizes.setdefault(one.what, {}).setdefault(one.postings, []).append(one)
    return {what: sizes[what] for what in TASKS if what in sizes}


def _peak(turns: Sequence[Took]) -> float:
    return max(one.peak_mib for one in turns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postings", description=__doc__)
    parser.add_argument("--millions", type=int, nargs="+", default=[4, 40])
    parser.add_argument("--only", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--repeats", type=int, default=3, help="turns of what can be made anew (3)")
    parser.add_argument("--folder", help="where lakes are made and removed")
    parser.add_argument("--write", action="store_true", help="keep it in benchmarks/results")
    options = parser.parse_args()
    asked = [what for what in TASKS if what in options.only]
    if {FIRST, EXAMPLES_OF} & {*asked} and "summarize" not in asked:
        parser.error(f"{EXAMPLES_OF} are of a summary; give --only summarize, too")
    place = Path(options.folder or tempfile.gettempdir())
    facts = machine_facts(place)
    found: list[Took] = []
    with tempfile.TemporaryDirectory(prefix="actlake-postings-", dir=place) as folder:
        lakes: dict[Path, int] = {}
        for millions in sorted(set(options.millions)):
            root = Path(folder) / str(millions)
            lakes[root] = _apart(_make, root, millions * 1_000_000 // POSTINGS_A_ROW)
        for turn in range(options.repeats):
            for what in (one for one in asked if turn == 0 or one in AGAIN):
                for root, postings in lakes.items():
                    found.append(Took(what, postings, *_apart(_run, root, what, turn)))
                    print(found[-1], flush=True)
    tables = [table(found), "", verdicts(found)]
    print("\n".join(["", *tables]))
    if options.write:
        about = [f"- {FEATURES:,} features; {options.repeats} turns of {', '.join(AGAIN)}", ""]
        write_page(RESULTS, "postings", facts, [*about, *tables])


def _apart(do: Callable[..., Any], *given: object) -> Any:
    """What ``do`` returns, done by a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(do, *given).result()


if __name__ == "__main__":
    main()
