"""A site of a model by SAELens, from pretokenised texts to its data set on the disk."""

import shutil
import time
from typing import Any

import numpy as np
import torch
from answering import answer
from datasets import Dataset
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig

CONTEXT, BATCH = 128, 16


def _runner(model: str, hook: str, width: int, tokens: int, folder: str) -> Any:
    shutil.rmtree(folder, ignore_errors=True)
    ids = np.random.default_rng(0).integers(1, 30, (tokens // CONTEXT, CONTEXT))
    config = CacheActivationsRunnerConfig(
        dataset_path="texts",
        model_name=model,
        model_class_name="AutoModelForCausalLM",
        model_batch_size=BATCH,
        hook_name=hook,
        d_in=width,
        training_tokens=tokens,
        context_size=CONTEXT,
        new_cached_activations_path=folder,
        shuffle=False,
        dtype="float16",
        device="cpu",
        buffer_size_gb=CONTEXT * 512 * width * 2 / 1e9,
        prepend_bos=False,
        streaming=False,
    )
    return CacheActivationsRunner(config, override_dataset=Dataset.from_dict({"input_ids": ids}))


def cached(model: str, hook: str, width: int, tokens: int, folder: str) -> float:
    """All of the run, with the model loaded."""
    runner = _runner(model, hook, width, tokens, folder)
    started = time.perf_counter()
    runner.run()
    return time.perf_counter() - started


def bare(model: str, hook: str, width: int, tokens: int, folder: str) -> float:
    """The passes of the same batches alone, whole, as its runner makes them."""
    runner = _runner(model, hook, width, tokens, folder)
    ids = torch.from_numpy(np.random.default_rng(0).integers(1, 30, (tokens // CONTEXT, CONTEXT)))
    with torch.inference_mode():
        started = time.perf_counter()
        for first in range(0, len(ids), BATCH):
            runner.model.model(ids[first : first + BATCH])
        return time.perf_counter() - started


if __name__ == "__main__":
    answer({"cached": cached, "bare": bare})
