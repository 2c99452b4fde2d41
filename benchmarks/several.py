"""The same shards by one process and by two workers: new processes, or those of a Dask cluster."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from distributed import LocalCluster

from actlake.flows.dask_workers import DaskWorkers
from actlake.flows.encode import encode
from actlake.flows.runners import Runner, Threads
from actlake.flows.summarize import summarize
from actlake.flows.workers import Processes
from benchmarks.codes import encoding_lake
from benchmarks.extraction import Extractions
from benchmarks.feature_lake import Masks, lake_of, postings_of
from benchmarks.measure import Benchmark, Case, Side, timed
from benchmarks.sizes import Sizes
from benchmarks.small_models import random_llama

WORKERS = 2
SITE = "resid_post.1"


def several(sizes: Sizes, folder: Path) -> Benchmark:
    """Whole flows. One process has every core already for what torch and numpy compute without
    Python's lock: what two can win is what Python itself does."""
    # As the documentation has people start them: a thread computes, and another one writes.
    with LocalCluster(  # type: ignore[no-untyped-call] # theirs
        n_workers=WORKERS, threads_per_worker=2, processes=True, dashboard_address=":0"
    ) as cluster:
        dask = DaskWorkers(cluster.scheduler_address)
        yield _extracting(sizes, folder / "extract", dask)
        yield _encoding(sizes, folder / "encode", dask)
        yield _summarizing(sizes, folder / "summarize", dask)


def _extracting(sizes: Sizes, folder: Path, dask: Runner) -> Case:
    source = str(random_llama(folder, sizes.model_width))
    ours, numbers = Extractions(folder / "lake", source, sizes.several_model_rows), count()
    rows, shards = ours.rowset.rows, len(ours.rowset.grid)

    def extracted(runner: Runner) -> None:
        ours.run(f"{next(numbers)}", [SITE], runner)

    work = f"{rows:,} tokens in {shards} shards, a random llama of width {sizes.model_width}"
    return _case("extract", work, extracted, dask)


def _encoding(sizes: Sizes, folder: Path, dask: Runner) -> Case:
    lake, stored, learned = encoding_lake(sizes, folder, rows=sizes.several_encode_rows)
    numbers, shards = count(), len(lake.rowset("rows").grid)

    def encoded(runner: Runner) -> None:
        encode(lake, dictionary="dictionary", codes=f"codes-{next(numbers)}", runner=runner)

    work = f"{len(stored):,} rows × {learned.n_features:,} features in {shards} shards"
    return _case("encode", work, encoded, dask)


def _summarizing(sizes: Sizes, folder: Path, dask: Runner) -> Case:
    lake = lake_of(sizes, folder, rows=sizes.several_summary_rows)
    masks, shards = Masks(lake), len(lake.codes("codes").grid)

    def summarized(runner: Runner) -> None:
        summarize(lake, codes="codes", mask=masks.new(), runner=runner)

    return _case(
        "summarize", f"{postings_of(lake):,} postings in {shards} shards", summarized, dask
    )


def _case(verb: str, work: str, do: Callable[[Runner], None], dask: Runner) -> Case:
    def side(runner: Callable[[], Runner]) -> Side:
        return lambda _: timed(lambda: do(runner()))

    return Case(
        f"{verb} by two workers",
        work,
        "one process",
        {
            f"{WORKERS} processes, with their start": side(lambda: Processes(WORKERS)),
            "one process": side(Threads),
            f"{WORKERS} workers of a Dask cluster": side(lambda: dask),
        },
    )
