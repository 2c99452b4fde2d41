"""What PyTorch and Dask are handed is what is stored."""

import gc
import json
import pickle
import sys
import threading
from copy import copy
from itertools import islice
from typing import Any

import dask
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from actlake.storage import Batches, Lake
from actlake.storage.adapters import to_dask, to_torch
from actlake.storage.errors import CorruptError, IncompleteError, InputError
from tests.storage.conftest import DTYPES, Planted, fresh_name


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_torch__has_the_batches_in_order_for_any_workers(planted: Planted, workers: int) -> None:
    tensors = [planted.lake.tensor(f"t:{name}") for name in DTYPES]
    batches = Batches(tensors, 5, seed=1, epochs=2)
    found = list(to_torch(batches, workers=workers))
    assert len(found) == len(batches) == 16
    for one, expected in zip(found, batches, strict=True):
        assert one.rows.tolist() == expected.rows.tolist()
        for name, values in zip(DTYPES, one.values, strict=True):
            assert values.dtype == (torch.float32 if name == "int8" else getattr(torch, name))
            planted_rows = planted.tensors[name][expected.rows].astype(np.float32)
            assert np.array_equal(values.float().numpy(), planted_rows)


def test_torch__goes_on_at_the_very_batch(planted: Planted) -> None:
    tensor = planted.lake.tensor("t:float32")
    batches = Batches([tensor], 5, seed=1, epochs=2)
    whole = [one.rows.tolist() for one in to_torch(batches)]
    for taken in (0, 1, 7, 8, 15, 16):
        first = to_torch(batches)
        begun = [one.rows.tolist() for one, _ in zip(first, range(taken), strict=False)][:taken]
        # The loop above asked for one more, and got it, unless it took all.
        state = json.loads(json.dumps(first.state_dict()))
        assert state["batch"] == min(taken + 1, 16)
        second = to_torch(Batches([tensor], 5, seed=1, epochs=2))
        second.load_state_dict(state)
        assert len(second) == 16 - state["batch"]
        assert begun == whole[:taken]
        if taken < 15:
            assert [one.rows.tolist() for one in second] == whole[state["batch"] :]
        with pytest.raises(InputError, match="the stream is at its end"):
            next(iter(second))


@pytest.mark.slow
def test_torch__goes_on_at_the_very_batch_with_workers(planted: Planted) -> None:
    tensors = [planted.lake.tensor(f"t:{name}") for name in ("bfloat16", "int8")]
    batches = Batches(tensors, 5, seed=1, epochs=2)
    whole = [one.rows.tolist() for one in batches]
    first = to_torch(batches, workers=2)
    running = iter(first)
    begun = [one.rows.tolist() for one in islice(running, 5)]
    state = json.loads(json.dumps(first.state_dict()))
    assert (begun, state["batch"]) == (whole[:5], 5)
    second = to_torch(Batches(tensors, 5, seed=1, epochs=2), workers=2)
    second.load_state_dict(state)
    assert [one.rows.tolist() for one in second] == whole[5:]
    # Ended, since torch may complain of workers that are given up on a busy machine.
    assert [one.rows.tolist() for one in running] == whole[5:]


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_torch__is_a_dataset_for_a_loader_of_ones_own(planted: Planted, workers: int) -> None:
    tensors = [planted.lake.tensor(f"t:{name}") for name in ("bfloat16", "float32")]
    batches = Batches(tensors, 5, seed=1, epochs=2)
    whole = [[one.rows.tolist(), one.values[1].tolist()] for one in batches]
    stream = to_torch(batches, workers=workers // 2)  # which a worker of the loader does not start
    assert isinstance(stream, IterableDataset)
    begin = stream.state_dict()
    for given in (0, 7):  # an odd number for two workers
        stream.load_state_dict(begin)
        stream.load_state_dict(stream.state_dict(given))
        loader: Any = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
        )
        assert len(loader) == len(whole) - given
        found = [[one.rows.tolist(), one.values[1].tolist()] for one in loader]
        assert found == whole[given:]
        assert stream.position == (given if workers else len(whole))
    with pytest.raises(InputError, match="batch 17 is not in a stream of 16"):
        stream.load_state_dict(stream.state_dict(17 - stream.position))


def test_torch__pickles_where_it_is(planted: Planted) -> None:
    stream = to_torch(Batches([planted.lake.tensor("t:int8")], 5, seed=1), prefetch=3, pin=False)
    next(iter(stream))
    other = pickle.loads(pickle.dumps(stream))
    assert isinstance(other, type(stream))
    assert (other.prefetch, other.pin, other.state_dict()) == (3, False, stream.state_dict())
    assert [one.rows.tolist() for one in other] == [one.rows.tolist() for one in stream]


@pytest.mark.gpu
@pytest.mark.parametrize("workers", [0, 2])
def test_torch__pins_what_a_gpu_is_to_take(planted: Planted, workers: int) -> None:
    tensors = [planted.lake.tensor(f"t:{name}") for name in DTYPES]
    batches = Batches(tensors, 5, seed=1)
    for pin in (None, True, False):
        found = list(to_torch(batches, workers=workers, pin=pin))
        assert len(found) == len(batches)
        for one, right in zip(found, batches, strict=True):
            for values, expected in zip(one.values, right.values, strict=True):
                assert values.is_pinned() == (pin is not False)
                there = values.to("cuda", non_blocking=True).float().cpu().numpy()
                assert np.array_equal(there, expected.astype(np.float32))
            assert one.rows.is_pinned() == (pin is not False)
    loader: Any = DataLoader(
        to_torch(batches),
        batch_size=None,
        num_workers=workers,
        pin_memory=True,
        multiprocessing_context="spawn" if workers else None,
    )
    for one, right in zip(loader, batches, strict=True):
        assert one.rows.tolist() == right.rows.tolist()
        assert all(values.is_pinned() for values in one.values)


def test_torch__reads_ahead_while_others_read_the_batches(planted: Planted) -> None:
    batches = Batches([planted.lake.tensor("t:float32")], 2, seed=1, epochs=40)
    right = [one.rows.tolist() for one in copy(batches)]
    stream, wrong = to_torch(batches, prefetch=8), 0
    for number, one in enumerate(stream):
        wrong += one.rows.tolist() != right[number]
        other = number * 37 % len(right)
        wrong += batches[other].rows.tolist() != right[other]
    assert not wrong


def test_torch__reads_ahead_in_threads_that_end(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, read = Batches([planted.lake.tensor("t:float32")], 5, seed=1, epochs=2), []
    real = Batches._planned

    def counted(self: Batches, number: int) -> object:
        read.append(number)
        if number == 9:
            raise CorruptError("rotten")
        return real(self, number)

    monkeypatch.setattr(Batches, "_planned", counted)
    threads = set(threading.enumerate())
    stream = to_torch(batches, prefetch=3)
    for count, _ in enumerate(stream, 1):
        if count == 4:
            break
    assert 4 <= len(read) <= 4 + 3  # those that were handed out, and three more
    gc.collect()
    assert set(threading.enumerate()) <= threads
    with pytest.raises(CorruptError, match="rotten"):
        list(stream)
    assert stream.position == 9
    gc.collect()
    assert set(threading.enumerate()) <= threads


def test_torch__refuses_a_position_in_other_batches(planted: Planted) -> None:
    tensor = planted.lake.tensor("t:float32")
    state = to_torch(Batches([tensor], 5, seed=1)).state_dict()
    with pytest.raises(InputError, match="position is one in other batches"):
        to_torch(Batches([tensor], 5, seed=2)).load_state_dict(state)
    with pytest.raises(InputError, match="batch 9 is not in a stream of 8"):
        to_torch(Batches([tensor], 5, seed=1)).load_state_dict({**state, "batch": 9})
    for options in ({"workers": -1}, {"prefetch": 0}):
        with pytest.raises(InputError, match="read none"):
            to_torch(Batches([tensor], 5, seed=1), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DTYPES)
def test_dask__has_a_block_a_shard(planted: Planted, name: str) -> None:
    tensor = planted.lake.tensor(f"t:{name}")
    array: Any = to_dask(tensor)  # dask is typed in part
    assert (array.shape, array.dtype) == (tensor.shape, tensor.dtype)
    assert array.chunks == ((4,) * 9 + (1,), (6,))
    with dask.config.set(scheduler="synchronous"):
        assert array.compute().tobytes() == planted.tensors[name].tobytes()
        mean = array.astype(np.float64).mean(axis=0).compute()
        assert array.blocks[3].compute().tobytes() == tensor.shard(3).tobytes()
    assert np.allclose(mean, planted.tensors[name].astype(np.float64).mean(axis=0))


@pytest.mark.slow
def test_dask__is_read_by_other_processes(planted: Planted) -> None:
    array: Any = to_dask(planted.lake.tensor("t:float32"))
    with dask.config.set(scheduler="processes", num_workers=1):
        assert np.array_equal(array.compute(), planted.tensors["float32"])


def test_dask__reads_nothing_before_it_is_asked(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actlake.storage.tensors import Tensor

    def shard(self: Tensor, shard: int) -> None:
        raise AssertionError(f"shard {shard} was read")

    monkeypatch.setattr(Tensor, "shard", shard)
    array: Any = to_dask(planted.lake.tensor("t:float32"))
    with pytest.raises(AssertionError, match="shard 2 was read"):
        array[8:10].compute(scheduler="synchronous")


def test_unfinished_tensor__makes_no_dask_array(bench: Lake) -> None:
    name = fresh_name()
    writer = bench.create_tensor(name, rowset="c@w", width=2)
    writer.append(np.ones((9, 2)))
    writer._behind.wait()
    with pytest.raises(IncompleteError, match="lacks 8 of 10 shards"):
        to_dask(bench.tensor(name))


def test_missing_packages__are_named_with_their_extra(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensor = planted.lake.tensor("t:float32")
    batches = Batches([tensor], 5, seed=0)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(InputError, match=r"pip install 'actlake\[extract\]'"):
        to_torch(batches)
    with pytest.raises(InputError, match=r"pip install 'actlake\[dask\]'"):
        to_dask(tensor)
