"""A chunk file is what any Zarr reader and writer makes of it, bit for bit."""

import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c
import ml_dtypes
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.storage import precision  # noqa: F401 - registers bfloat16
from actlake.storage.arrays import (
    PIECE_BYTES,
    TRAILER_BYTES,
    check_chunk,
    chunk_path,
    create_array,
    map_payload,
    publish_chunk,
    rows_in,
)
from actlake.storage.durable import Buffer, Digest, digest, pieces
from actlake.storage.errors import CorruptError

DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "float16": np.float16,
        "bfloat16": ml_dtypes.bfloat16,
        "float32": np.float32,
        "int64": np.int64,
        "int32": np.int32,
        "bool": np.bool_,
        "int8": np.int8,
        "uint16": np.uint16,
        "uint32": np.uint32,
    }.items()
}
FLOATS = ("float16", "bfloat16", "float32")
ROWS, CHUNK = 11, 4


def every_bit_pattern(dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Values of random bits: infinities, NaN with payloads, negative zero, subnormals."""
    size = int(np.prod(shape))
    bits = np.random.default_rng(3).integers(0, 256, size * dtype.itemsize, dtype=np.uint8)
    if dtype == np.bool_:
        bits &= 1
    return bits.view(dtype).reshape(shape)


def written(folder: Path, name: str, shape: tuple[int, ...], shards: range) -> NDArray[Any]:
    values = every_bit_pattern(DTYPES[name], shape)
    create_array(folder, shape, CHUNK, DTYPES[name], dimension_names=("row", "width")[: len(shape)])
    for shard in shards:
        publish_chunk(folder, shard, values[shard * CHUNK : (shard + 1) * CHUNK], CHUNK)
    return values


def read_with(reader: str, folder: Path) -> NDArray[Any]:
    if reader == "zarr":
        array = zarr.open_array(store=folder, mode="r")
        return np.asarray(array[:])
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("reader", ["zarr", "tensorstore"])
@pytest.mark.parametrize("shape", [(ROWS, 3), (ROWS,)])
@pytest.mark.parametrize("name", DTYPES)
def test_chunks__are_read_bit_for_bit(
    tmp_path: Path, name: str, shape: tuple[int, ...], reader: str
) -> None:
    values = written(tmp_path / "a", name, shape, range(3))
    assert same_bits(read_with(reader, tmp_path / "a"), values)


@pytest.mark.parametrize("reader", ["zarr", "tensorstore"])
@pytest.mark.parametrize("name", FLOATS)
def test_missing_chunk__reads_as_nan(tmp_path: Path, name: str, reader: str) -> None:
    values = written(tmp_path / "a", name, (ROWS, 3), range(0, 3, 2))
    found = read_with(reader, tmp_path / "a")
    assert np.isnan(found[CHUNK : 2 * CHUNK].astype(np.float32)).all()
    assert same_bits(found[2 * CHUNK :], values[2 * CHUNK :])


@pytest.mark.parametrize("name", ["int32", "bool"])
def test_missing_chunk__of_whole_numbers_reads_as_zero(tmp_path: Path, name: str) -> None:
    written(tmp_path / "a", name, (ROWS,), range(1))
    assert not read_with("zarr", tmp_path / "a")[CHUNK:].any()


@pytest.mark.parametrize("reader", ["zarr", "tensorstore"])
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("where", [0, 5, -1])
def test_readers__verify_the_checksum(tmp_path: Path, name: str, reader: str, where: int) -> None:
    written(tmp_path / "a", name, (ROWS, 3), range(3))
    chunk = chunk_path(tmp_path / "a", 1, 2)
    damaged = bytearray(chunk.read_bytes())
    damaged[where] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"(?i)crc32c|checksum|DATA_LOSS|FAILED_PRECONDITION"):
        read_with(reader, tmp_path / "a")


@pytest.mark.parametrize("writer", ["zarr", "tensorstore"])
@pytest.mark.parametrize("name", DTYPES)
def test_mapper__reads_what_others_write_with_the_same_codecs(
    tmp_path: Path, name: str, writer: str
) -> None:
    ours = written(tmp_path / "ours", name, (ROWS, 3), range(3))
    create_array(tmp_path / "theirs", (ROWS, 3), CHUNK, DTYPES[name])
    if writer == "zarr":
        zarr.open_array(store=tmp_path / "theirs", mode="r+")[:] = ours
    else:
        kvstore = {"driver": "file", "path": str(tmp_path / "theirs")}
        array = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, write=True).result()
        array.write(ours).result()
    for shard in range(3):
        path = chunk_path(tmp_path / "theirs", shard, 2)
        rows = ours[shard * CHUNK : (shard + 1) * CHUNK]
        size = CHUNK * 3 * DTYPES[name].itemsize + TRAILER_BYTES
        payload = map_payload(path, size, "x")
        assert same_bits(np.asarray(rows_in(payload, rows.shape, DTYPES[name])), rows)
        # To the byte, the padding of the last chunk included.
        assert path.read_bytes() == chunk_path(tmp_path / "ours", shard, 2).read_bytes()


def test_chunk__is_its_rows_and_their_checksum(tmp_path: Path) -> None:
    create_array(tmp_path / "a", (6, 2), 4, np.dtype(np.float32))
    rows = np.arange(4, dtype=np.float32).reshape(2, 2)
    chunk = publish_chunk(tmp_path / "a", 1, rows, 4)
    content = (tmp_path / "a" / "c.1.0").read_bytes()
    payload = rows.tobytes() + np.full(4, np.nan, np.float32).tobytes()
    assert content[:-4] == payload
    assert content[-4:] == google_crc32c.value(payload).to_bytes(4, "little")
    assert chunk.payload_crc32c == google_crc32c.value(payload)
    assert chunk.digest == digest(tmp_path / "a" / "c.1.0")


def test_chunk__of_strided_rows_is_that_of_a_copy(tmp_path: Path) -> None:
    wide = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    for folder, rows in (
        ("a", wide[:, ::2]),
        ("b", wide[:, ::2].copy()),
        ("c", wide[:, ::2].copy("F")),
    ):
        create_array(tmp_path / folder, (4, 3), 4, rows.dtype)
        publish_chunk(tmp_path / folder, 0, rows, 4)
    contents = {(tmp_path / folder / "c.0.0").read_bytes() for folder in "abc"}
    assert len(contents) == 1
    assert wide.flags.writeable


def test_chunk__is_never_replaced(tmp_path: Path) -> None:
    written(tmp_path / "a", "float32", (ROWS, 3), range(1))
    before = (tmp_path / "a" / "c.0.0").read_bytes()
    with pytest.raises(FileExistsError):
        publish_chunk(tmp_path / "a", 0, np.zeros((CHUNK, 3), np.float32), CHUNK)
    assert (tmp_path / "a" / "c.0.0").read_bytes() == before


def test_create_array__explains_itself(tmp_path: Path) -> None:
    create_array(tmp_path / "a", (5, 2), 4, DTYPES["bfloat16"], attributes={"site": "é", "n": None})
    facts = json.loads((tmp_path / "a" / "zarr.json").read_text())
    assert facts["data_type"] == "bfloat16"
    assert facts["fill_value"] == "NaN"
    assert [codec["name"] for codec in facts["codecs"]] == ["bytes", "crc32c"]
    assert facts["attributes"] == {"site": "é", "n": None}
    assert facts["chunk_key_encoding"]["configuration"] == {"separator": "."}


@pytest.mark.parametrize("size", [0, 1, 51, 53])
def test_map_payload__refuses_a_truncated_file_in_one_line(tmp_path: Path, size: int) -> None:
    written(tmp_path / "a", "float32", (ROWS, 3), range(3))
    path = chunk_path(tmp_path / "a", 0, 2)
    path.write_bytes(path.read_bytes()[:size].ljust(size, b"\0"))
    with pytest.raises(CorruptError, match=f"has {size} bytes instead of 52") as caught:
        map_payload(path, 52, "x")
    assert len(str(caught.value).splitlines()) == 1


def test_publish_chunk__that_fails_has_nothing_under_way(tmp_path: Path) -> None:
    rows = np.zeros((3 * PIECE_BYTES // 64, 16), np.float32)
    create_array(tmp_path / "a", rows.shape, len(rows), rows.dtype)
    seen: list[int] = []

    def full(_path: Path, pieces: Iterable[Buffer]) -> Digest:
        for _ in pieces:
            raise OSError("no space left on device")
        return Digest(0, "")

    before = threading.active_count()
    with pytest.raises(OSError, match="no space") as caught:
        publish_chunk(
            tmp_path / "a", 0, rows, len(rows), full, lambda first, _rows: seen.append(first)
        )
    assert caught.value.__traceback__ is not None  # which keeps what was under way, if it is
    assert threading.active_count() == before
    assert len(seen) <= 2


def test_map_payload__is_read_only_and_names_what_is_missing(tmp_path: Path) -> None:
    written(tmp_path / "a", "float32", (ROWS, 3), range(1))
    payload = map_payload(chunk_path(tmp_path / "a", 0, 2), 52, "x")
    for one in (payload, rows_in(payload, (CHUNK, 3), DTYPES["float32"])):
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 1
    with pytest.raises(CorruptError, match=r"c\.1\.0 \(x\) is missing"):
        map_payload(chunk_path(tmp_path / "a", 1, 2), 52, "x")


def test_map_payload__holds_no_file_open(tmp_path: Path) -> None:
    written(tmp_path / "a", "float32", (ROWS, 3), range(1))
    path = chunk_path(tmp_path / "a", 0, 2)
    before = {*Path("/dev/fd").iterdir()}
    rows = [map_payload(path, 52, "x") for _ in range(50)]
    assert {*Path("/dev/fd").iterdir()} == before
    path.unlink()  # what is mapped stays
    assert all(same_bits(one, rows[0]) for one in rows)


@given(data=st.data())
def test_check_chunk__finds_any_flipped_bit(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("chunk") / "a"
    create_array(folder, (4, 3), 4, DTYPES["float16"])
    chunk = publish_chunk(folder, 0, every_bit_pattern(DTYPES["float16"], (4, 3)), 4)
    path = chunk_path(folder, 0, 2)
    assert check_chunk(pieces(path), chunk.digest, chunk.payload_crc32c) is None
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, len(content) * 8 - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    assert check_chunk(pieces(path), chunk.digest, chunk.payload_crc32c) is not None


def test_check_chunk__knows_a_chunk_of_other_rows(tmp_path: Path) -> None:
    """Whole and with a right checksum, as a swap or a restored old file is."""
    create_array(tmp_path / "a", (8, 3), 4, DTYPES["float32"])
    chunks = [publish_chunk(tmp_path / "a", i, np.full((4, 3), i, np.float32), 4) for i in range(2)]
    path = chunk_path(tmp_path / "a", 1, 2)
    assert check_chunk(pieces(path), chunks[0].digest, chunks[0].payload_crc32c) == (
        "its checksum is that of other rows"
    )
    path.write_bytes(b"")
    assert (
        check_chunk(pieces(path), chunks[1].digest, chunks[1].payload_crc32c)
        == "0 bytes instead of 52"
    )
