"""``python -m benchmarks``: measure, print, and with ``--write`` keep."""

import argparse
import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from benchmarks.codes import encoding, summarizing
from benchmarks.extraction import extraction, storing
from benchmarks.features import asking
from benchmarks.machine import machine_facts
from benchmarks.measure import Benchmark, Fact, Ratio, measure
from benchmarks.report import fact_line, ratio_line, write
from benchmarks.several import several
from benchmarks.sizes import FULL, SMALL, Sizes
from benchmarks.tensors import tensors

GROUPS: dict[str, Callable[[Sizes, Path], Benchmark]] = {
    "extraction": extraction,
    "storing": storing,
    "tensor": tensors,
    "encode": encoding,
    "summarize": summarizing,
    "asking": asking,
    "several": several,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = _options()
    sizes = SMALL if options.small else FULL
    folder = Path(options.folder or tempfile.gettempdir())
    machine = machine_facts(folder)
    print("\n".join(f"{name + ':':<13} {value}" for name, value in machine.items()))
    print(f"\nwall time ÷ that of the limit, median (min – max) of {options.rounds} rounds")
    ratios: list[Ratio] = []
    facts: list[Fact] = []
    for name in options.only or GROUPS:
        found = run(name, sizes, folder, options.rounds)
        ratios += found[0]
        facts += found[1]
    if options.write:
        print(f"\nwritten to {write(RESULTS, machine, ratios, facts)}")


def run(
    name: str, sizes: Sizes, folder: Path, rounds: int, *, warm_up: int = 1
) -> tuple[list[Ratio], list[Fact]]:
    """Measure and print one group, in a folder of its own inside ``folder``."""
    ratios: list[Ratio] = []
    facts: list[Fact] = []
    with (
        tempfile.TemporaryDirectory(prefix="actlake-benchmark-", dir=folder) as place,
        redirect_stderr(io.StringIO()),  # the progress of flows
    ):
        for one in GROUPS[name](sizes, Path(place)):
            if isinstance(one, Fact):
                facts.append(one)
                print(fact_line(one), flush=True)
                continue
            found = measure(one, rounds, warm_up=warm_up)
            ratios += found
            print(f"\n{one.name}: {one.work}\n  against: {one.limit}")
            print("\n".join(map(ratio_line, found)), flush=True)
    return ratios, facts


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=GROUPS, help="one group; may be repeated"
    )
    parser.add_argument("--rounds", type=_positive, default=5, help="rounds that count (5)")
    parser.add_argument("--small", action="store_true", help="less work, larger fixed costs")
    parser.add_argument(
        "--write", action="store_true", help="keep the result in benchmarks/results"
    )
    parser.add_argument(
        "--folder", help="where files are made and removed (the system's temporary)"
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    main()
