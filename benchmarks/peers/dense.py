"""Dense rows in the formats of SAELens and of safetensors chunks."""

import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import datasets
import numpy as np
import torch
from answering import answer
from datasets import Array2D, Features, Sequence, Value
from sae_lens import CacheActivationsRunner
from sae_lens.training.mixing_buffer import mixing_buffer
from safetensors.numpy import save_file
from safetensors.torch import load_file

CONTEXT, SEQUENCES = 128, 512
"""Tokens of a sequence, and sequences of a shard: SAELens' default buffer is of 2 GB, of which it
has so many copies that the machine of a benchmark may not hold them."""
READ = 32
PASS_ROWS = 32 * CONTEXT
"""Rows that its store gives its buffer at a time: the default number of prompts of a pass."""
HOOK = "blocks.0.hook_resid_post"


def rows_of(rows: str, width: int) -> torch.Tensor:
    return torch.from_numpy(np.fromfile(rows, np.float16).reshape(-1, width))


def saelens_write(rows: str, width: int, folder: str) -> float:
    """As its runner writes: a data set a shard, whose files are then moved into one."""
    values = rows_of(rows, width)
    features = {
        HOOK: Array2D(shape=(CONTEXT, width), dtype="float16"),
        "token_ids": Sequence(Value(dtype="int32"), length=CONTEXT),
    }
    sequences = min(SEQUENCES, len(values) // CONTEXT)
    runner = SimpleNamespace(
        cfg=SimpleNamespace(hook_name=HOOK, n_seq_in_buffer=sequences, d_in=width),
        context_size=CONTEXT,
        features=Features(features),
    )
    tokens = torch.zeros(CONTEXT * sequences, dtype=torch.int32)
    place = Path(folder)
    shutil.rmtree(place, ignore_errors=True)
    (place / ".tmp_shards").mkdir(parents=True)
    started = time.perf_counter()
    size = CONTEXT * sequences
    for number in range(len(values) // size):
        part = values[number * size : (number + 1) * size]
        shard = CacheActivationsRunner._create_shard(cast(Any, runner), (part, tokens))
        shard.save_to_disk(str(place / f".tmp_shards/shard_{number:05d}"), num_shards=1)
    CacheActivationsRunner._consolidate_shards(place / ".tmp_shards", place, copy_files=False)
    return time.perf_counter() - started


def saelens_read(folder: str) -> float:
    """As its store reads what was cached, in order."""
    found = _dataset(folder)
    started = time.perf_counter()
    for first in range(0, len(found), READ):
        found[first : first + READ][HOOK].flatten(0, 1)
    return time.perf_counter() - started


def saelens_gather(folder: str, rows: int, seed: int) -> float:
    """Single tokens, each through its sequence, as a tenth of ``rows`` tell."""
    found = _dataset(folder)
    index = np.random.default_rng(seed).integers(0, len(found) * CONTEXT, max(1, rows // 10))
    started = time.perf_counter()
    for one in index:
        found[int(one) // CONTEXT][HOOK][int(one) % CONTEXT]
    return (time.perf_counter() - started) * rows / len(index)


def saelens_epoch(rows: str, width: int, buffer_rows: int, batch_rows: int, seed: int) -> float:
    """One pass through its mixing buffer, of rows in memory, each batch as float32."""
    values, drawn = rows_of(rows, width), 0
    torch.manual_seed(seed)
    started = time.perf_counter()
    for batch in mixing_buffer(buffer_rows, batch_rows, iter(values.split(PASS_ROWS))):
        drawn += len(batch.float())
    seconds = time.perf_counter() - started
    assert drawn == len(values) // batch_rows * batch_rows
    return seconds


def _dataset(folder: str) -> Any:
    found = datasets.load_from_disk(folder)
    found.set_format(type="torch", columns=[HOOK], dtype=torch.float16)
    return found


def safetensors_write(rows: str, width: int, folder: str, shard_rows: int) -> float:
    """A file a shard, flushed, without a checksum, which the format does not have."""
    values, place = rows_of(rows, width).numpy(), Path(folder)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    started = time.perf_counter()
    for number, first in enumerate(range(0, len(values), shard_rows)):
        path = place / f"{number}.safetensors"
        save_file({"activation": values[first : first + shard_rows]}, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return time.perf_counter() - started


def safetensors_read(folder: str) -> float:
    """All of it into memory, one file after the other."""
    files = sorted(Path(folder).iterdir(), key=lambda path: int(path.stem))
    started = time.perf_counter()
    torch.cat([load_file(path)["activation"] for path in files])
    return time.perf_counter() - started


if __name__ == "__main__":
    answer(
        {
            one.__name__: one
            for one in (
                saelens_write,
                saelens_read,
                saelens_gather,
                saelens_epoch,
                safetensors_write,
                safetensors_read,
            )
        }
    )
