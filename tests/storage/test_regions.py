"""Files mapped one behind the other are one array, which never changes under who reads it."""

import errno
import gc
import mmap
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Batches, Document, Lake, mapped_chunks
from actlake.storage.durable import replace_file
from actlake.storage.regions import Region, as_one

PAGE = mmap.PAGESIZE
MAPS = Path("/proc/self/maps")


def file_of(folder: Path, number: int, size: int = PAGE) -> Path:
    path = folder / str(number)
    path.write_bytes(bytes([number + 1]) * size + b"tail")
    return path


def test_region__is_one_array_of_all_files_whatever_their_order(tmp_path: Path) -> None:
    region = Region(2 * PAGE, 3)
    chunks = {n: region.place(n, file_of(tmp_path, n, 2 * PAGE)) for n in (2, 0, 1)}
    rows = {n: one.view(np.uint16).reshape(-1, 8) for n, one in chunks.items() if one is not None}
    whole = as_one(rows)
    assert whole is not None
    assert whole.shape == (3 * PAGE // 8, 8)
    assert np.array_equal(whole, np.concatenate([rows[n] for n in range(3)]))
    assert whole[0, 0] == 0x0101
    with pytest.raises(ValueError, match="read-only"):
        whole[0] = 1


def test_as_one__knows_chunks_of_others(tmp_path: Path) -> None:
    one, other = Region(PAGE, 2), Region(PAGE, 2)
    first, foreign = one.place(0, file_of(tmp_path, 0)), other.place(1, file_of(tmp_path, 1))
    assert first is not None
    assert foreign is not None
    assert as_one({0: first}) is not None
    assert as_one({0: first, 1: foreign}) is None
    assert as_one({0: first, 1: np.array(foreign)}) is None
    assert as_one({0: np.zeros(3)}) is None
    assert as_one({}) is None


def test_region__keeps_the_file_that_it_has(tmp_path: Path) -> None:
    region, path = Region(PAGE, 2), file_of(tmp_path, 0)
    before = region.place(0, path)
    assert before is not None
    replace_file(path, b"\x09" * PAGE)
    assert region.place(0, path) is None
    assert set(before.tolist()) == {1}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        region.place(0, path)
    assert set(before.tolist()) == {1}


def test_region__holds_no_file_open_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no pages"):
        Region(PAGE - 2, 3)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
        Region(PAGE, 1 << 50)  # more than any process may have
    region, short = Region(PAGE, 2), tmp_path / "short"
    short.write_bytes(bytes(PAGE - 1))
    before = {*Path("/dev/fd").iterdir()}
    with pytest.raises(OSError, match="too short"):
        region.place(1, short)
    kept = region.place(0, file_of(tmp_path, 0))
    assert kept is not None
    assert {*Path("/dev/fd").iterdir()} == before


@pytest.mark.skipif(not MAPS.exists(), reason="no list of what is mapped")
def test_region__goes_with_the_last_array_of_it(tmp_path: Path) -> None:
    path = file_of(tmp_path, 0)
    region = Region(PAGE, 2)
    rows = region.place(0, path)
    assert rows is not None
    part = rows.view(np.uint16)[4:8]
    del region, rows
    gc.collect()
    assert str(path) in MAPS.read_text()
    assert part[0] == 0x0101
    del part
    gc.collect()
    assert str(path) not in MAPS.read_text()


ROWS, SHARDS, WIDTH = PAGE // 2, 8, 6
"""Of a shard, which is whole pages at any width and in any dtype; the last has half as many."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    rows = ROWS * SHARDS - ROWS // 2
    with closing(Lake.create(tmp_path_factory.mktemp("regions") / "lake")) as lake:
        lake.create_corpus("corpus", [Document("one", "text")])
        document = np.zeros(rows, np.int64)
        rowset = lake.create_rowset("rows", corpus="corpus", columns={"document": document})
        assert rowset.shard_rows == ROWS
        random = np.random.default_rng(0)
        for dtype in ("float16", "bfloat16", "int8"):
            with lake.create_tensor(dtype, rowset="rows", width=WIDTH, dtype=dtype) as writer:
                writer.append(random.standard_normal((rows, WIDTH), np.float32))
        yield lake


def shards_of(lake: Lake, name: str) -> NDArray[np.generic]:
    tensor = lake.tensor(name)
    return np.concatenate([tensor.shard(shard) for shard in range(len(tensor.grid))])


@pytest.mark.parametrize("name", ["float16", "bfloat16", "int8"])
@pytest.mark.parametrize("mode", ["first-read", "always"])
def test_rows__are_those_of_the_shards(lake: Lake, name: str, mode: str) -> None:
    with closing(Lake.open(lake.root, verify=mode)) as read:  # type: ignore[arg-type]
        tensor = read.tensor(name)
        index = np.random.default_rng(1).integers(0, len(tensor), 500)
        index[:4] = len(tensor) - 1, 0, 0, ROWS
        found = tensor.rows(index)
        assert found.dtype == tensor.dtype
        np.testing.assert_array_equal(found, shards_of(read, name)[index])
        stored = {shard: tensor.stored(shard)["rows"] for shard in range(len(tensor.grid))}
        assert (as_one(stored) is not None) == (mode == "first-read")
        found[0] = 0  # it is a copy
        assert tensor.rows(index[:1]).any()
        assert tensor.rows(index[:0]).shape == (0, WIDTH)


def test_rows__of_a_shard_that_was_put_back_are_picked_with_the_others(lake: Lake) -> None:
    tensor, index = lake.tensor("float16"), np.arange(0, ROWS * 3, 7)
    before = tensor.rows(index)
    kept = tensor.stored(1)["rows"]
    file = tensor.folder / "c.1.0"
    replace_file(file, file.read_bytes())  # as repair does
    np.testing.assert_array_equal(tensor.rows(index), before)
    np.testing.assert_array_equal(kept, tensor.shard(1))
    assert not np.shares_memory(kept, tensor.shard(1))


def test_rows__where_the_system_has_no_room_are_read_from_each_shard(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Region:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    index = np.arange(0, ROWS * 3, 7)
    expected = lake.tensor("int8").rows(index)
    monkeypatch.setattr(mapped_chunks, "Region", full)
    with closing(Lake.open(lake.root)) as read:
        np.testing.assert_array_equal(read.tensor("int8").rows(index), expected)
        stored = {shard: read.tensor("int8").stored(shard)["rows"] for shard in range(3)}
        assert as_one(stored) is None


def test_rows__may_be_asked_for_by_many_threads_from_the_first_read_on(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_chunks, "MOST_MAPPED", 2)  # or they are mapped once
    expected = shards_of(lake, "float16")

    def ask(seed: int) -> bool:
        index = np.random.default_rng(seed).integers(0, len(expected), 64)
        return np.array_equal(tensor.rows(index), expected[index])

    for _ in range(10):
        with closing(Lake.open(lake.root)) as read, ThreadPoolExecutor(8) as pool:
            tensor = read.tensor("float16")
            assert all(pool.map(ask, range(64)))


def test_batches__have_every_row_once(lake: Lake) -> None:
    tensor = lake.tensor("float16")
    batches = [*Batches([tensor], 100, seed=3)]
    rows = np.concatenate([batch.rows for batch in batches])
    values = np.concatenate([batch.values[0] for batch in batches])
    assert sorted(rows.tolist()) == [*range(len(tensor))]
    np.testing.assert_array_equal(values, shards_of(lake, "float16")[rows])
