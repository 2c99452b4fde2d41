"""The same work by one process and by two, each with its start."""

from collections.abc import Callable
from pathlib import Path

from actlake.flows.runners import Runner, Threads
from actlake.flows.summarize import summarize
from actlake.flows.workers import Processes
from benchmarks.feature_lake import Masks, lake_of, postings_of
from benchmarks.measure import Benchmark, Case, Side, timed
from benchmarks.sizes import Sizes


def several(sizes: Sizes, folder: Path) -> Benchmark:
    """Statistics, which are CPU-bound in Python; codes and passes have every core from torch."""
    lake = lake_of(sizes, folder, rows=sizes.several_rows)
    masks = Masks(lake)

    def summarized(runner: Runner) -> None:
        summarize(lake, codes="codes", mask=masks.new(), runner=runner)

    shards = len(lake.codes("codes").grid)
    yield _case("summarize", f"{postings_of(lake):,} postings in {shards} shards", summarized)


def _case(name: str, work: str, do: Callable[[Runner], object]) -> Case:
    def side(runner: Callable[[], Runner]) -> Side:
        return lambda _: timed(lambda: do(runner()))

    return Case(
        f"{name} by two processes",
        work,
        "one process",
        {"actlake, 2 workers": side(lambda: Processes(2)), "one process": side(Threads)},
    )
