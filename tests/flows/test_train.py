"""train: what it makes of the checkpoint of a run that was killed."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from actlake.analytics.dictionaries.training import Checkpoint
from actlake.flows import scores
from actlake.flows import train as module
from actlake.flows.scores import SplitRows
from actlake.flows.train import train
from actlake.storage.errors import CorruptError
from actlake.storage.lake import Lake

SMALL: dict[str, Any] = {"k": 2, "n_features": 8, "steps": 4, "batch_rows": 16}


@pytest.fixture
def begun(
    dictionary_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Lake, Path]:
    """A lake whose training ended after its second checkpoint, and that checkpoint."""
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    save, saved = module._save_checkpoint, 0

    def interrupted(*given: object) -> None:
        nonlocal saved
        save(*given)  # type: ignore[arg-type]
        saved += 1
        if saved == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(module, "_save_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(lake)
    monkeypatch.undo()
    [checkpoint] = (lake.root / "checkpoints").iterdir()
    return lake, checkpoint


def learn(lake: Lake, name: str = "e") -> None:
    train(lake, tensor="tiny-llama:resid_post.1@c", dictionary=name, torch_threads=1, **SMALL)


@pytest.mark.parametrize("method", ["topk", "pca", "random", "identity"])
def test_training_shards__are_those_that_rows_were_learned_from(
    dictionary_lake: Path, tmp_path: Path, method: str
) -> None:
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    tensor = lake.tensor("tiny-llama:resid_post.1@c")
    train(lake, tensor=tensor.name, dictionary="e", method=method, k=2, steps=4, batch_rows=16)
    split = SplitRows(lake, tensor, lake.mask("no_special"))
    spans = [tensor.grid.span(shard) for shard in range(len(tensor.grid))]
    right: dict[int, tuple[int, int | None]] = {}
    if method == "topk":
        batches = split.batches("train", 16, seed=0, epochs=4)
        for step, batch in enumerate(batches[:4]):
            for row in batch.rows.tolist():
                shard = next(i for i, (a, b) in enumerate(spans) if a <= row < b)
                n, first = right.get(shard, (0, step))
                right[shard] = (n + 1, first)
    elif method != "identity":  # the tensor is smaller than a sample
        counts = [int(split.keep("train")(*span).sum()) for span in spans]
        right = {shard: (n, None) for shard, n in enumerate(counts) if n}
    rows = lake.sql("SELECT shard, rows, first_step FROM training_shards WHERE dictionary = 'e'")
    assert {shard: (n, first) for shard, n, first in rows.rows()} == right
    assert [*lake.verify()] == []


@pytest.mark.parametrize("rows", [1, 40, 1000])
def test_blocks__are_the_rows_of_the_split_in_order(
    dictionary_lake: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(dictionary_lake)
    tensor = lake.tensor("tiny-llama:resid_post.1@c")
    monkeypatch.setattr(scores, "BLOCK_BYTES", 4 * tensor.width * rows)
    split = SplitRows(lake, tensor, lake.mask("no_special"))
    whole = tensor[0 : len(tensor)].astype(np.float32)
    spans = [tensor.grid.span(shard) for shard in range(len(tensor.grid))]
    for name in scores.SCORED:
        kept = np.concatenate([split.keep(name)(*span) for span in spans])
        blocks = [*split.blocks(name)]
        assert 0 < max(map(len, blocks)) <= max(rows, tensor.width)
        np.testing.assert_array_equal(np.concatenate(blocks), whole[kept])
        assert split.counts(name) == {
            shard: int(kept[start:stop].sum())
            for shard, (start, stop) in enumerate(spans)
            if kept[start:stop].any()
        }


def cut(content: bytes) -> bytes:
    return content[:-7]


def empty(content: bytes) -> bytes:
    return b""


def rot(content: bytes) -> bytes:
    return content[:12] + bytes([content[12] ^ 0x40]) + content[13:]


def rot_of_a_weight(content: bytes) -> bytes:
    return content[:-7] + bytes([content[-7] ^ 0x40]) + content[-6:]


def pickled(content: bytes) -> bytes:
    return pickle.dumps(Path("never"))


def header_of_petabytes(content: bytes) -> bytes:
    return struct.pack("<Q", 1 << 50) + content[8:]


def tensor_of_petabytes(content: bytes) -> bytes:
    tensor = {"dtype": "F32", "shape": [1 << 30, 1 << 20], "data_offsets": [0, 1 << 52]}
    header = json.dumps({"decoder": tensor}).encode()
    return struct.pack("<Q", len(header)) + header


DAMAGES = (cut, empty, rot, rot_of_a_weight, pickled, header_of_petabytes, tensor_of_petabytes)


@pytest.mark.parametrize("damage", DAMAGES)
def test_checkpoint__that_is_damaged_is_named_and_stays(
    begun: tuple[Lake, Path], damage: Callable[[bytes], bytes]
) -> None:
    lake, checkpoint = begun
    whole = checkpoint.read_bytes()
    damaged = damage(whole)
    checkpoint.write_bytes(damaged)
    with pytest.raises(CorruptError, match=f"{checkpoint.name} cannot be taken up .*remove it"):
        learn(lake)
    assert checkpoint.read_bytes() == damaged
    assert "e" not in lake.table("dictionaries").collect()["dictionary"]
    checkpoint.unlink()
    learn(lake)
    assert not checkpoint.exists()
    assert lake.dictionary("e").arrays["W_dec"].shape == (8, 16)


def test_checkpoint__of_other_batches_is_not_taken_up(begun: tuple[Lake, Path]) -> None:
    """What was computed from other rows is computed again."""
    lake, checkpoint = begun
    found = module._load_checkpoint(checkpoint, _facts(checkpoint)["batches"])
    assert found is not None
    poison = {name: np.full_like(array, 7) for name, array in found.arrays.items()}
    other = Checkpoint(poison, found.facts)
    facts = {"facts": json.dumps(found.facts), "hash": module._hash(other), "batches": "others"}
    checkpoint.write_bytes(safetensors.numpy.save(poison, metadata=facts))
    learn(lake)
    learned = lake.dictionary("e").arrays
    checkpoint.unlink(missing_ok=True)
    learn(lake, "again")
    for name, array in lake.dictionary("again").arrays.items():
        np.testing.assert_array_equal(learned[name], array)


def _facts(checkpoint: Path) -> dict[str, str]:
    with safetensors.safe_open(checkpoint, framework="numpy") as file:
        return dict(file.metadata())
