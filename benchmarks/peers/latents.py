"""What Delphi tells of latents, from the same postings: statistics, examples and neighbours."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from answering import answer
from delphi.config import ConstructorConfig, SamplerConfig
from delphi.latents import LatentDataset
from delphi.latents.cache import LatentCache, generate_statistics_cache
from delphi.latents.neighbours import NeighbourCalculator
from safetensors.torch import load_file
from transformers import AutoTokenizer

MODULE = "layer"
SPLITS = 5
CONTEXT = 128

_given: dict[str, Any] = {}


def prepare(arrays: str, folder: str, features: int, tokenizer: str) -> None:
    """Make its cache of postings: ``locations`` (sequence, place, latent), ``values``, and
    ``tokens`` (sequences, 128)."""
    given = load_file(arrays)
    locations = given["locations"].long()
    _given.update(locations=locations, values=given["values"].float(), width=features)
    _given.update(tokens=given["tokens"].long(), folder=folder)
    _given["tokenizer"] = AutoTokenizer.from_pretrained(tokenizer)
    cache = LatentCache(torch.nn.Identity(), {}, batch_size=1)  # type: ignore[arg-type]
    cache.width = features  # type: ignore[assignment]
    cache.cache.latent_locations[MODULE] = locations
    cache.cache.latent_activations[MODULE] = _given["values"]
    cache.cache.tokens[MODULE] = _given["tokens"]
    shutil.rmtree(folder, ignore_errors=True)
    cache.save_splits(SPLITS, Path(folder))
    facts = {"ctx_len": CONTEXT, "model_name": tokenizer}
    Path(folder, MODULE, "config.json").write_text(json.dumps(facts))


def statistics() -> None:
    """Five numbers of all latents together, from tensors in memory."""
    generate_statistics_cache(
        _given["tokens"], _given["locations"], _given["values"], _given["width"]
    )


def examples(latents: list[int], shown: int) -> float:
    """Records of some latents, with windows of 32 tokens as text; seconds."""
    started = time.perf_counter()
    found = LatentDataset(
        _given["folder"],
        SamplerConfig(n_examples_train=shown, n_examples_test=0, train_type="top"),
        ConstructorConfig(min_examples=1, n_non_activating=0),
        tokenizer=_given["tokenizer"],
        modules=[MODULE],
        latents={MODULE: torch.tensor(sorted(latents))},
    )
    for _ in found:
        pass
    return time.perf_counter() - started


def neighbours(shown: int) -> None:
    """Those of all latents by co-occurrence; it sends parts to a GPU, which is the CPU here."""
    torch.Tensor.cuda = lambda tensor: tensor  # type: ignore[method-assign, assignment]
    found = NeighbourCalculator(Path(_given["folder"], MODULE), number_of_neighbours=shown)
    found.populate_neighbour_cache("co-occurrence")


if __name__ == "__main__":
    sides = {"prepare": prepare, "statistics": statistics, "examples": examples}
    answer({**sides, "neighbours": neighbours})
