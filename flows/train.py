"""train: learn a dictionary from a tensor, and measure it on documents that it has not seen."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy
import xxhash

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.identity import identity
from actlake.analytics.dictionaries.pca import pca
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.analytics.dictionaries.training import Checkpoint, LogEntry, Settings
from actlake.flows.default_names import dictionary_name
from actlake.flows.progress import progress, say
from actlake.flows.scores import SplitRows, score_table
from actlake.storage.batches import Batches
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.durable import replace_file
from actlake.storage.errors import CorruptError, IncompleteError, InputError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import check_name, fingerprint
from actlake.storage.lake import Lake
from actlake.storage.names import is_made
from actlake.storage.run import Run
from actlake.storage.threads import default_threads

__all__ = ["METHODS", "dictionary_size", "train"]

METHODS = ("topk", "batchtopk", "pca", "random", "identity")
SAMPLE_ROWS = 16_384
CHECKPOINT_SECONDS = 60.0


def train(
    lake: Lake,
    *,
    tensor: str,
    method: str = "topk",
    n_features: int | None = None,
    k: int = 32,
    steps: int = 2000,
    batch_rows: int = 1024,
    mask: str = "no_special",
    seed: int = 0,
    dictionary: str | None = None,
    learning_rate: float | None = None,
    dead_after_rows: int | None = None,
    baselines: bool = True,
    torch_threads: int | None = None,
    device: str = "auto",
) -> str:
    """Name of the dictionary, trained, measured and stored when this returns.

    Four fifths of the documents train it and a tenth is held out, by a hash of the document's
    number, so no document is on both sides. A run that is killed goes on from its last
    checkpoint, at most a minute of training back.

    n_features
        By default four times the tensor's width; the identity has the width, PCA twice it (two
        signed features an axis).
    steps, batch_rows, learning_rate, dead_after_rows
        Of topk and batchtopk only. ``dead_after_rows`` defaults to a tenth of the rows trained on.
    mask
        Rows to learn from and to be measured on.
    baselines
        Also measure PCA with k numbers a row, and random directions with k, on the same rows.
    torch_threads, device
        Of topk and batchtopk. The dictionary's config says which; others give other bits.
    """
    if method not in METHODS:
        raise InputError(f"no method {method!r}; choose one of {', '.join(METHODS)}")
    rows = lake.tensor(tensor)
    if missing := rows.missing():
        raise IncompleteError(
            f"tensor {tensor} lacks {len(missing)} of {len(rows.grid)} shards; "
            "finish its extraction first"
        )
    size = dictionary_size(method, tensor, rows.width, n_features, k)
    plain = dictionary_name(method, rows.model, rows.site, size)
    name = check_name("dictionary", plain if dictionary is None else dictionary)
    split = SplitRows(lake, rows, lake.mask(mask))
    parameters: dict[str, Any] = {
        "method": method,
        "n_features": size,
        "k": k,
        "mask": mask,
        "seed": seed,
        "baselines": baselines,
    }
    settings = None
    if method in ("topk", "batchtopk"):
        settings = Settings(
            n_features=size,
            k=k,
            steps=steps,
            selection="topk" if method == "topk" else "batchtopk",
            seed=seed,
            learning_rate=learning_rate,
            dead_after_rows=dead_after_rows or max(1, steps * batch_rows // 10),
        )
        parameters |= asdict(settings) | {"batch_rows": batch_rows}
    inputs = {"tensor": rows.fingerprint, "mask": split.mask.fingerprint}
    identity_of = fingerprint("dictionary", parameters, inputs)
    is_made(lake.reading.connection(), "dictionaries", name, identity_of)
    check = None if settings is None else partial(_device, device)
    with lake.run("train", {"dictionary": name, **parameters}, inputs, prepare=check) as run:
        if run.done:
            say(f"train: {name} found complete")
            return name
        if run.exists("dictionaries", "dictionary", name, identity_of):
            # By a run that died before it could say that it was done.
            _checkpoint_file(run).unlink(missing_ok=True)
            say(f"train: {name} found complete")
            return name
        split.require_documents()
        log: list[LogEntry] = []
        taken: Mapping[int, tuple[int, int | None]] = {}
        if settings is not None:
            # No split is empty, so so many epochs have a batch for every step.
            batches = split.batches("train", batch_rows, seed=seed, epochs=steps)
            learned, log = _train_autoencoder(run, split, settings, batches, torch_threads, device)
            taken = batches.taken(steps)
        elif method == "pca":
            learned = pca(split.gram("train"), rows.width, k)
            taken = {shard: (n, None) for shard, n in split.counts("train").items()}
        elif method == "random":
            learned = random_dictionary(split.sample(SAMPLE_ROWS), size, k, seed=seed)
            sampled = split.batches("train", SAMPLE_ROWS, seed=0).taken(1)
            taken = {shard: (n, None) for shard, (n, _) in sampled.items()}
        else:
            learned = identity(rows.width, k)
        random = (
            random_dictionary(split.sample(SAMPLE_ROWS), size, k, seed=seed) if baselines else None
        )
        scores = score_table(run.run, name, split, learned, random)
        write_dictionary(
            run,
            name=name,
            method=method,
            tensor=tensor,
            n_features=size,
            width=rows.width,
            config={**learned.config, "mask": mask},
            arrays=learned.arrays,
            fingerprint=identity_of,
            tables={
                "evaluations": scores,
                "training_logs": _log_table(run.run, name, log),
                "training_shards": _shard_table(run.run, name, taken),
            },
        )
        _checkpoint_file(run).unlink(missing_ok=True)
    return name


def dictionary_size(method: str, tensor: str, width: int, n_features: int | None, k: int) -> int:
    """Features of the dictionary; InputError if it cannot have so many, or keep ``k`` of them."""
    fixed = {"identity": width, "pca": 2 * width}.get(method)
    if fixed is not None and n_features not in (None, fixed):
        raise InputError(
            f"a {method} dictionary of rows of width {width} has {fixed} features, not "
            f"{n_features}; leave their number out"
        )
    size = fixed or (4 * width if n_features is None else n_features)
    if not 1 <= k <= size:
        raise InputError(
            f"k is {k} and a {method} dictionary of {tensor} would have {size} features; choose "
            f"k from 1 to {size}"
        )
    return size


def _train_autoencoder(
    run: Run,
    split: SplitRows,
    settings: Settings,
    batches: Batches,
    torch_threads: int | None,
    device: str,
) -> tuple[Dictionary, list[LogEntry]]:
    """Train, from the last checkpoint if there is one, with a checkpoint a minute."""
    from actlake.analytics.dictionaries.topk import Trainer
    from actlake.flows.extraction.devices import set_threads

    set_threads(torch_threads or default_threads())
    chosen = _device(device)
    path = _checkpoint_file(run)
    try:
        saved = _load_checkpoint(path, batches.fingerprint)
        trainer = None if saved is None else Trainer(saved, chosen)
    except (OSError, MemoryError):  # no fault of what it holds
        raise
    except Exception as error:  # whatever a damaged file makes of the trainer
        raise CorruptError(
            f"the checkpoint {path} cannot be taken up ({type(error).__name__}); remove it, and "
            "training begins anew"
        ) from error
    trainer = trainer or Trainer.start(settings, split.sample(SAMPLE_ROWS), chosen)
    label = f"train {settings.selection} {split.tensor.name}"
    if trainer.steps_done:
        say(f"{label}: goes on after {trainer.steps_done:,} steps")
    saved_at = time.monotonic()
    with progress(label, (settings.steps - trainer.steps_done) * batches.size) as advance:
        for step in range(trainer.steps_done, settings.steps):
            batch = batches[step].values[0].astype(np.float32)
            trainer.step(batch)
            advance(len(batch))
            if time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                _save_checkpoint(run, trainer.checkpoint(), batches.fingerprint)
                saved_at = time.monotonic()
    return trainer.finish(), trainer.log


def _device(device: str) -> str:
    from actlake.flows.extraction.devices import choose_device

    return choose_device(device)


def _checkpoint_file(run: Run) -> Path:
    return run.root / "checkpoints" / f"{run.key}.safetensors"


def _save_checkpoint(run: Run, checkpoint: Checkpoint, batches: str) -> None:
    facts = {"facts": json.dumps(checkpoint.facts), "hash": _hash(checkpoint), "batches": batches}
    replace_file(
        _checkpoint_file(run), safetensors.numpy.save(dict(checkpoint.arrays), metadata=facts)
    )


def _load_checkpoint(path: Path, batches: str) -> Checkpoint | None:
    """What was saved while training on the batches of that fingerprint, if it was."""
    if not path.exists():
        return None
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = file.metadata()
    checkpoint = Checkpoint(arrays, json.loads(facts["facts"]))
    if _hash(checkpoint) != facts["hash"]:
        raise ValueError("not what was saved")
    return checkpoint if facts.get("batches") == batches else None


def _hash(checkpoint: Checkpoint) -> str:
    """Of the content: no commit names the file, so nothing else tells that it has rotted."""
    hasher = xxhash.xxh3_128(json.dumps(checkpoint.facts).encode())
    for name, array in sorted(checkpoint.arrays.items()):
        hasher.update(f"{name} {array.dtype} {array.shape}".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()


def _log_table(run: str, dictionary: str, log: list[LogEntry]) -> pa.Table:
    rows = [
        {
            "dictionary": dictionary,
            "step": entry.step,
            "tokens": entry.rows,
            "metric": metric.name,
            "value": float(getattr(entry, metric.name)),
            "run": run,
        }
        for entry in log
        for metric in fields(LogEntry)
        if metric.name not in ("step", "rows")
    ]
    return pa.Table.from_pylist(rows, arrow_schema("training_logs"))


def _shard_table(
    run: str, dictionary: str, taken: Mapping[int, tuple[int, int | None]]
) -> pa.Table:
    """Rows taken of each shard, and the first step that took one, but for the sample that a start
    is measured on."""
    rows = [
        {"dictionary": dictionary, "shard": shard, "rows": n, "first_step": first, "run": run}
        for shard, (n, first) in sorted(taken.items())
    ]
    return pa.Table.from_pylist(rows, arrow_schema("training_shards"))
