"""A tensor is read as the numpy array that was written."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.storage import Lake
from actlake.storage.errors import CorruptError, IncompleteError, InputError, NotFoundError
from tests.storage.conftest import DTYPES, WIDTH, Planted, fresh_name

ROWS = 37
BOUND = st.none() | st.integers(-50, 50)
INDEX = st.lists(st.integers(0, ROWS - 1), max_size=20)
NAMES = st.sampled_from(sorted(DTYPES))


def same(a: NDArray[np.generic], b: NDArray[np.generic]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_planted__has_a_last_shard_that_is_not_full(planted: Planted) -> None:
    grid = planted.lake.tensor("t:float16").grid
    assert (grid.rows, grid.shard_rows, len(grid)) == (ROWS, 4, 10)
    assert grid.span(9) == (36, 37)


@given(name=NAMES, a=BOUND, b=BOUND)
def test_slice__is_numpys(planted: Planted, name: str, a: int | None, b: int | None) -> None:
    tensor = planted.lake.tensor(f"t:{name}")
    assert same(tensor[a:b], planted.tensors[name][slice(a, b)])


@given(name=NAMES, index=INDEX)
def test_rows__are_gathered_in_order_and_with_repeats(
    planted: Planted, name: str, index: list[int]
) -> None:
    tensor = planted.lake.tensor(f"t:{name}")
    assert same(tensor.rows(np.array(index)), planted.tensors[name][np.array(index, int)])


@given(
    size=st.integers(1, 50),
    seed=st.integers(0, 5),
    kept=st.none() | st.lists(st.booleans(), min_size=ROWS, max_size=ROWS),
)
def test_batches__deal_every_kept_row_once(
    planted: Planted, size: int, seed: int, kept: list[bool] | None
) -> None:
    tensor, mask = planted.lake.tensor("t:float32"), np.array(kept or [True] * ROWS)
    keep = None if kept is None else lambda start, stop: mask[start:stop]
    batches = [*tensor.batches(size, seed=seed, keep=keep)]
    expected = planted.tensors["float32"][mask]
    assert [len(batch) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert not batches or 1 <= len(batches[-1]) <= size
    found = np.concatenate([np.empty((0, WIDTH), np.float32), *batches])
    assert sorted(map(bytes, found)) == sorted(map(bytes, expected))
    again = [*tensor.batches(size, seed=seed, keep=keep)]
    assert all(same(one, two) for one, two in zip(batches, again, strict=True))


def test_batches__are_shuffled_anew_by_each_seed(planted: Planted) -> None:
    tensor = planted.lake.tensor("t:bfloat16")
    orders = [np.concatenate([*tensor.batches(10, seed=seed)]) for seed in range(4)]
    assert {order.dtype for order in orders} == {np.dtype(np.float32)}
    assert len({order.tobytes() for order in orders}) == 4
    ordered = planted.tensors["bfloat16"].astype(np.float32)
    assert all(not np.array_equal(order, ordered) for order in orders)
    # Rows of different shards meet: no batch comes from the first eight shards in order.
    position = {row.tobytes(): i for i, row in enumerate(ordered)}
    first = [position[row.tobytes()] for row in next(tensor.batches(10, seed=0))]
    assert len({row // 4 for row in first}) > 3


def test_tensor__is_the_array_that_zarr_reads(planted: Planted) -> None:
    for name in ("float16", "bfloat16", "float32"):
        tensor, values = planted.lake.tensor(f"t:{name}"), planted.tensors[name]
        array = zarr.open_array(store=tensor.folder, mode="r")
        assert same(np.asarray(array[:]), values)
        assert same(tensor[:], values)
        assert dict(array.attrs) == tensor.attributes()
        assert tensor.attributes()["rowset"] == "c@w"
        assert tensor.attributes()["dtype"] == name


def test_int8__is_a_group_of_two_arrays_that_any_zarr_reads(planted: Planted) -> None:
    tensor, values = planted.lake.tensor("t:int8"), planted.tensors["int8"]
    group = zarr.open_group(store=tensor.folder, mode="r")
    assert (dict(group.attrs), sorted(group)) == (tensor.attributes(), ["rows", "scale"])
    assert tensor.attributes()["dtype"] == tensor.stored_dtype == "int8"
    ours = {array: np.asarray(zarr.open_array(group.store, path=array)[:]) for array in group}
    for array, read in ours.items():
        store = {"driver": "file", "path": str(tensor.folder / array)}
        spec = {"driver": "zarr3", "kvstore": store}
        theirs = tensorstore.open(spec, read=True).result()
        assert same(np.asarray(theirs.read().result()), read)
        assert theirs.domain.labels == (("row", "width") if array == "rows" else ("row",))
    assert (ours["rows"].dtype, ours["scale"].dtype) == (np.dtype(np.int8), np.dtype(np.float32))
    assert (np.abs(ours["rows"]).max(axis=1)[np.arange(ROWS) != 5] == 127).all()
    assert ours["scale"][5] == 0
    assert np.array_equal(ours["rows"] * ours["scale"][:, None], values)
    for array, part in tensor.stored(9).items():
        assert same(part, ours[array][36:])


@pytest.mark.parametrize("file", ["rows/c.3.0", "scale/c.3"])
def test_int8__damage_in_either_array_is_found(planted: Planted, tmp_path: Path, file: str) -> None:
    with closing(Lake.open(shutil.copytree(planted.root, tmp_path / "lake"))) as lake:
        tensor = lake.tensor("t:int8")
        before = (tensor.folder / file).read_bytes()
        (tensor.folder / file).write_bytes(bytes([before[0] ^ 1]) + before[1:])
        assert same(tensor[:12], planted.tensors["int8"][:12])
        reads: list[Callable[[], object]] = [
            lambda: tensor[12:13],
            lambda: tensor.rows(np.array([0, 13])),
        ]
        for read in reads:
            with pytest.raises(CorruptError, match=rf"{file} \(tensor t:int8, rows 12 to 16\)"):
                read()
        [fault] = lake.verify()
        assert (fault.path, fault.owner) == (f"tensors/{tensor.id}/{file}", "t:int8")
        assert (fault.row_start, fault.row_stop, fault.what) == (12, 16, "its content changed")


def test_bad_questions__are_refused(planted: Planted) -> None:
    tensor = planted.lake.tensor("t:float16")
    with pytest.raises(NotFoundError, match="no tensor 'nope'"):
        planted.lake.tensor("nope")
    for asked in (slice(None, None, 2), (0, slice(5)), [1, 2], "a"):
        with pytest.raises(InputError, match="steps of 1"):
            tensor[asked]  # type: ignore[index] # as people try
    assert same(tensor[-1], planted.tensors["float16"][-1])
    assert same(tensor[3], planted.tensors["float16"][3])
    with pytest.raises(IndexError, match=f"has {ROWS} rows and no row {ROWS}"):
        tensor[ROWS]
    for index in ([ROWS], [-1], [0, 99]):
        with pytest.raises(InputError, match="choose some of 0 to 36"):
            tensor.rows(np.array(index))
    for wrong in (np.array([[1]]), np.array([0.5]), np.array([True, False])):
        with pytest.raises(InputError, match="by number; give a flat list"):
            tensor.rows(wrong)
    with pytest.raises(InputError, match="batches of 0 rows"):
        next(tensor.batches(0, seed=0))


def test_unfinished_tensor__says_what_is_missing(bench: Lake) -> None:
    name = fresh_name()
    writer = bench.create_tensor(name, rowset="c@w", width=2)
    writer.append(np.ones((9, 2)))
    writer._behind.wait()
    tensor = bench.tensor(name)
    assert not tensor.sealed
    assert tensor.committed == {0, 1}
    assert tensor.missing() == [*range(2, 10)]
    assert tensor[2:8].tolist() == [[1, 1]] * 6
    reads: list[Callable[[], object]] = [
        lambda: tensor[:],
        lambda: tensor.rows(np.array([8])),
        lambda: tensor.shard(2),
    ]
    for read in reads:
        with pytest.raises(IncompleteError, match="rows 8 to 12 of tensor"):
            read()
    with pytest.raises(IncompleteError):
        [*tensor.batches(5, seed=0)]
    with pytest.raises(IncompleteError):
        writer.close()
    assert bench.tensor(name).committed == {0, 1}


def test_damaged_files__are_refused_in_one_line(planted: Planted, tmp_path: Path) -> None:
    lake = Lake.open(shutil.copytree(planted.root, tmp_path / "lake"))
    tensor = lake.tensor("t:float16")
    (tensor.folder / "c.3.0").write_bytes(b"x")
    (tensor.folder / "c.4.0").unlink()
    (tensor.folder / "zarr.json").write_text("{")
    for read, message in (
        (lambda: tensor[12:13], r"c\.3\.0 .*has 1 bytes instead of 52"),
        (lambda: tensor[16:17], r"c\.4\.0 .*is missing"),
        (tensor.attributes, r"zarr\.json .*is not what was committed"),
    ):
        with pytest.raises(CorruptError, match=message) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1
    lake.close()
