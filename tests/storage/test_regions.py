"""Files mapped one behind the other are one array, which never changes under who reads it."""

import errno
import gc
import mmap
import os
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Batches, Document, Lake, Tensor, mapped_chunks
from actlake.storage.durable import replace_file
from actlake.storage.regions import Region, region_of

PAGE = mmap.PAGESIZE
MAPS = Path("/proc/self/maps")
maps = pytest.mark.skipif(not MAPS.exists(), reason="no list of what is mapped")


def file_of(folder: Path, number: int, size: int = PAGE) -> Path:
    path = folder / str(number)
    path.write_bytes(bytes([number + 1]) * size + b"tail")
    return path


def test_region__is_one_array_of_all_files_whatever_their_order(tmp_path: Path) -> None:
    region = Region(2 * PAGE, 3)
    chunks = {n: region.place(n, file_of(tmp_path, n, 2 * PAGE)) for n in (2, 0, 1)}
    whole = region.whole(np.dtype(np.uint16), (8,))
    assert whole.shape == (3 * PAGE // 8, 8)
    for number, rows in chunks.items():
        assert rows is not None
        assert region_of(rows.view(np.uint16)[4:8].reshape(2, 2)) is region
        assert set(rows.tolist()) == {number + 1}
    assert whole[:: PAGE // 8, 0].tolist() == [0x0101, 0x0202, 0x0303]
    with pytest.raises(ValueError, match="read-only"):
        whole[0] = 1


def test_region_of__is_of_files_in_one_alone(tmp_path: Path) -> None:
    rows = Region(PAGE, 2).place(0, file_of(tmp_path, 0))
    assert rows is not None
    assert region_of(rows) is not None
    assert region_of(np.array(rows)) is None
    assert region_of(np.zeros(3)) is None


def test_region__keeps_the_file_that_somebody_has(tmp_path: Path) -> None:
    region, path = Region(PAGE, 2), file_of(tmp_path, 0)
    before = region.place(0, path)
    assert before is not None
    again = region.place(0, path)
    assert again is not None
    assert np.shares_memory(before, again)
    replace_file(path, b"\x09" * PAGE)
    assert region.place(0, path) is None
    assert set(before.tolist()) == {1}
    path.unlink()
    with pytest.raises(FileNotFoundError):
        region.place(0, path)
    assert set(before.tolist()) == {1}


@maps
def test_region__goes_with_the_last_array_of_it(tmp_path: Path) -> None:
    region = Region(PAGE, 2)
    rows = region.place(0, file_of(tmp_path, 0))
    assert rows is not None
    part = rows[4:8].view(np.uint16)
    del region, rows
    gc.collect()
    assert str(tmp_path / "0") in MAPS.read_text()
    assert part[0] == 0x0101
    del part
    gc.collect()
    assert str(tmp_path) not in MAPS.read_text()


def test_region__refuses_what_does_not_fit_and_holds_no_file_open(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no pages"):
        Region(PAGE - 2, 3)
    for many in (1 << 45, 1 << 60):  # more than any process may have
        with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
            Region(PAGE, many)
    region, short = Region(PAGE, 2), tmp_path / "short"
    short.write_bytes(bytes(PAGE - 1))
    before = {*Path("/dev/fd").iterdir()}
    with pytest.raises(OSError, match="too short"):
        region.place(1, short)
    kept = region.place(0, file_of(tmp_path, 0))
    assert kept is not None
    assert {*Path("/dev/fd").iterdir()} == before
    for number in (-1, 2):
        with pytest.raises(OSError, match="no place"):
            region.place(number, file_of(tmp_path, 0))


NEVER_MAPPED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@maps
@pytest.mark.skipif(not NEVER_MAPPED.exists(), reason="no file at hand that cannot be mapped")
def test_region__stays_whole_where_a_file_cannot_be_mapped() -> None:
    """Else the system would give its addresses to others, who would lose what they have there."""
    region = Region(PAGE, 1 << 8)
    first = region.whole(np.dtype(np.uint8), ()).ctypes.data
    assert is_reserved(first, first + (PAGE << 8))
    for number in (0, 7):
        with pytest.raises(OSError, match=os.strerror(errno.ENODEV)):
            region.place(number, NEVER_MAPPED)
    assert is_reserved(first, first + (PAGE << 8))


def is_reserved(first: int, after: int) -> bool:
    """Whether nobody may read any of these addresses, and nobody else gets them."""
    for line in MAPS.read_text().splitlines():
        span, access = line.split()[:2]
        start, stop = (int(one, 16) for one in span.split("-"))
        if start <= first and after <= stop:
            return access == "---p"
    return False


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


def is_one(tensor: Tensor) -> bool:
    """Whether all of its shards lie side by side."""
    found = {region_of(tensor.stored(shard)["rows"]) for shard in tensor.committed}
    return len(found) == 1 and None not in found


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
        assert is_one(tensor) == (mode == "first-read")
        found[0] = 0  # it is a copy
        assert tensor.rows(index[:1]).any()
        assert tensor.rows(index[:0]).shape == (0, WIDTH)


@pytest.mark.parametrize("held", [False, True])
def test_rows__of_a_shard_that_was_put_back_are_picked_with_the_others(
    lake: Lake, *, held: bool
) -> None:
    tensor, index = lake.tensor("float16"), np.arange(0, ROWS * 3, 7)
    before = tensor.rows(index)
    assert is_one(tensor)
    kept = tensor.stored(1)["rows"] if held else None
    file = tensor.folder / "c.1.0"
    replace_file(file, file.read_bytes())  # as repair does
    np.testing.assert_array_equal(tensor.rows(index), before)
    if kept is not None:
        np.testing.assert_array_equal(kept, tensor.shard(1))
        assert not np.shares_memory(kept, tensor.shard(1))
    tensor.rows(index)
    assert is_one(tensor)


def test_rows__holds_two_copies_of_shards_at_most(lake: Lake) -> None:
    with closing(Lake.open(lake.root, verify="always")) as read:
        tensor, index = read.tensor("float16"), np.arange(0, ROWS * SHARDS - ROWS, ROWS // 8)
        tensor.rows(index)
        tracemalloc.start()
        found = tensor.rows(index)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 3 * ROWS * WIDTH * 2 + 2 * found.nbytes + 20_000  # seven are needed


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
        assert not is_one(read.tensor("int8"))


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
