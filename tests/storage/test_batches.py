"""Batches deal every row once an epoch, the same rows of each tensor, whatever was read before."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.storage import Batches, Lake, Tensor
from actlake.storage.errors import IncompleteError, InputError, NotFoundError
from tests.storage.conftest import Planted, fresh_name

ROWS = 37


DEALT = ("float32", "bfloat16", "int8")
Pair = list[Tensor]


@pytest.fixture(scope="module")
def tensors(planted: Planted) -> Pair:
    return [planted.lake.tensor(f"t:{name}") for name in DEALT]


def dealt(tensors: Pair, size: int, **options: object) -> Batches:
    return Batches(tensors, size, **({"seed": 3} | options))  # type: ignore[arg-type]


@given(
    size=st.integers(1, 50),
    seed=st.integers(0, 3),
    epochs=st.integers(1, 3),
    kept=st.none() | st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
)
def test_every_epoch__deals_every_row_once_and_the_same_of_each_tensor(
    planted: Planted, tensors: Pair, size: int, seed: int, epochs: int, kept: list[bool] | None
) -> None:
    mask = np.array(kept or [True] * ROWS)
    keep = None if kept is None else lambda start, stop: mask[start:stop]
    batches = dealt(tensors, size, seed=seed, epochs=epochs, keep=keep)
    found = list(batches)
    assert len(found) == len(batches) == epochs * batches.epoch_batches
    for epoch in range(epochs):
        part = found[epoch * batches.epoch_batches : (epoch + 1) * batches.epoch_batches]
        assert [len(one.rows) for one in part[:-1]] == [size] * (len(part) - 1)
        rows = [row for one in part for row in one.rows.tolist()]
        assert sorted(rows) == np.flatnonzero(mask).tolist()
    for one in found:
        for name, values in zip(DEALT, one.values, strict=True):
            expected = planted.tensors[name][one.rows]
            assert values.dtype == expected.dtype
            assert values.tobytes() == expected.tobytes()


@given(numbers=st.lists(st.integers(-16, 15), max_size=8))
def test_a_batch__is_the_same_whatever_was_read_before(tensors: Pair, numbers: list[int]) -> None:
    batches = dealt(tensors, 5, epochs=2)
    in_order = list(dealt(tensors, 5, epochs=2))
    assert len(in_order) == 16
    for number in numbers:
        assert batches[number].rows.tolist() == in_order[number].rows.tolist()


@given(
    size=st.integers(1, 50),
    seed=st.integers(0, 3),
    kept=st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
    data=st.data(),
)
def test_taken__is_what_the_batches_before_had_of_each_shard(
    tensors: Pair, size: int, seed: int, kept: list[bool], data: st.DataObject
) -> None:
    batches = dealt(tensors, size, seed=seed, epochs=3, keep=lambda a, b: np.array(kept[a:b]))
    number = data.draw(st.integers(0, len(batches)))
    batches[0:1]  # in the middle of something
    grid = tensors[0].grid
    right: dict[int, tuple[int, int]] = {}
    for place, one in enumerate(batches[:number]):
        for row in one.rows.tolist():
            n, first = right.get(row // grid.shard_rows, (0, place))
            right[row // grid.shard_rows] = n + 1, first
    assert batches.taken(number) == right
    with pytest.raises(InputError, match=f"there are {len(batches)} batches, not"):
        batches.taken(len(batches) + 1)


def test_epochs_and_seeds__are_shuffled_anew_and_shards_mixed(tensors: Pair) -> None:
    def order(seed: int, epoch: int) -> NDArray[np.int64]:
        batches = dealt(tensors, 10, seed=seed, epochs=3)
        return np.concatenate([one.rows for one in batches[4 * epoch : 4 * epoch + 4]])

    orders = [order(seed, epoch).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(one) for one in orders}) == 9
    # Eight shards of four rows are mixed, so the first batch of ten has rows of many.
    assert all(len({row // 4 for row in one[:10]}) > 3 for one in orders)
    # Over epochs each row comes first about equally often: 200 have a mean of 18 ± 0.76.
    many = dealt(tensors, 37, epochs=200)
    firsts = [one.rows[0] for one in many]
    assert abs(np.mean(firsts) - 18) < 4 * 0.76


def test_rows_under_a_mask__are_dealt(planted: Planted, tensors: Pair) -> None:
    special = planted.columns["is_special"]
    found = np.concatenate([one.rows for one in dealt(tensors, 4, mask="no_special")])
    assert sorted(found) == np.flatnonzero(~special).tolist()
    both = dealt(tensors, 4, mask="no_special", keep=lambda start, stop: np.arange(start, stop) > 9)
    found = np.concatenate([one.rows for one in both])
    assert sorted(found) == [row for row in range(10, ROWS) if not special[row]]
    assert both.rows == len(found)
    none = dealt(tensors, 4, keep=lambda start, stop: np.zeros(stop - start, bool))
    assert (len(none), list(none)) == (0, [])


def test_pickled__reads_the_same_without_a_catalog(planted: Planted, tensors: Pair) -> None:
    batches = dealt(tensors, 8, mask="no_special")
    sent = pickle.loads(pickle.dumps(batches))
    sent.tensors[0]._reading.mode = "always"  # receipts travel too
    assert sent.fingerprint == batches.fingerprint
    for here, there in zip(batches, sent, strict=True):
        assert here.rows.tolist() == there.rows.tolist()
        assert [one.tobytes() for one in here.values] == [one.tobytes() for one in there.values]
    with pytest.raises(InputError, match="open the lake there"):
        sent.tensors[0].attributes()
    for name in ("float16", "int8"):
        alone = planted.lake.tensor(f"t:{name}").alone(2)
        assert len(pickle.dumps(alone)) < 2_000
        assert pickle.loads(pickle.dumps(alone))[8:12].tolist() == alone.shard(2).tolist()
        with pytest.raises(IncompleteError):
            alone.shard(3)


def test_other_batches__have_another_fingerprint(tensors: Pair) -> None:
    variants: list[dict[str, object]] = [{}, {"seed": 4}, {"mask": "no_special"}]
    found = [dealt(tensors, 8, **options).fingerprint for options in variants]
    found.append(dealt(tensors, 9).fingerprint)
    found.append(Batches(tensors[:1], 8, seed=3).fingerprint)
    assert len(set(found)) == len(found)
    assert dealt(tensors, 8, epochs=9).fingerprint == found[0]  # more of the same


def test_memory__stays_within_what_is_said(bench: Lake) -> None:
    name = fresh_name()
    document = np.repeat(np.arange(7), 1 << 13)
    bench.create_rowset(name, corpus="c", columns={"document": document}, width_hint=1 << 14)
    tensors = []
    for dtype in ("float16", "int8"):
        with bench.create_tensor(dtype + name, rowset=name, width=64, dtype=dtype) as writer:
            writer.append(np.zeros((len(document), 64)))
        tensors.append(bench.tensor(dtype + name))
        tensors[-1][:]  # maps and verifies
    assert len(tensors[0].grid) == 28  # four groups
    for size in (100, 3_000, 20_000):
        tracemalloc.start()
        batches = Batches(tensors, size, seed=0, keep=lambda a, b: np.arange(a, b) >= 0)
        made, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in batches:
            pass
        peak = tracemalloc.get_traced_memory()[1] - made
        tracemalloc.stop()
        assert peak < batches.peak_bytes < 3 * peak


def test_the_same_rows__in_other_shards_are_refused(bench: Lake) -> None:
    document = {"document": np.zeros(3_000, np.int64)}
    names = [fresh_name(), fresh_name()]
    for name, width in zip(names, (4_096, 1 << 20), strict=True):
        bench.create_rowset(name, corpus="c", columns=document, width_hint=width)
        with bench.create_tensor(f"t{name}", rowset=name, width=1) as writer:
            writer.append(np.ones((3_000, 1)))
    one, other = (bench.tensor(f"t{name}") for name in names)
    assert one.rowset.fingerprint == other.rowset.fingerprint
    with pytest.raises(InputError, match="or in other shards; take tensors of one rowset"):
        Batches([one, other], 5, seed=0)


def test_bad_questions__are_refused(tensors: Pair, bench: Lake) -> None:
    refused: list[tuple[dict[str, object], str]] = [
        ({"size": 0}, "batches of 0 rows"),
        ({"seed": -1}, "seed -1 and 1 epochs"),
        ({"epochs": 0}, "and 0 epochs"),
    ]
    for options, message in refused:
        with pytest.raises(InputError, match=message):
            dealt(tensors, **({"size": 5} | options))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"say \[t:float32\]"):
        Batches(tensors[0], 5, seed=0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="of no tensor"):
        Batches([], 5, seed=0)
    with pytest.raises(NotFoundError, match="no mask 'nope'"):
        dealt(tensors, 5, mask="nope")
    with pytest.raises(IndexError):
        dealt(tensors, 5)[8]
    name = fresh_name()
    bench.create_rowset(name, corpus="c", columns={"document": np.arange(7)})
    with bench.create_tensor(f"t{name}", rowset=name, width=2) as writer:
        writer.append(np.ones((7, 2)))
    with pytest.raises(InputError, match=f"t{name} has the rows of {name} and tensor t:float32"):
        Batches([tensors[0], bench.tensor(f"t{name}")], 5, seed=0)
    writer = bench.create_tensor(f"u{name}", rowset="c@w", width=2)
    writer.append(np.ones((9, 2)))
    writer._behind.wait()
    with pytest.raises(IncompleteError, match="lacks 8 of 10 shards"):
        Batches([bench.tensor(f"u{name}")], 5, seed=0)
    for keep in (lambda a, b: np.arange(a, b), lambda a, b: np.ones(1, bool)):
        with pytest.raises(InputError, match="a bool for each of the 4 rows"):
            dealt(tensors, 5, keep=keep)
    first = Batches([bench.tensor(f"u{name}")], 5, seed=0, keep=lambda a, b: np.arange(a, b) < 8)
    assert sorted(np.concatenate([one.rows for one in first])) == [*range(8)]
