"""Dense shards: written, read in order, gathered at random, and drawn as a shuffled epoch."""

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from zarr.codecs import Crc32cCodec

from actlake.storage import Batches, Document, Lake, Rowset, Tensor
from actlake.storage.adapters import TorchBatch, to_torch
from benchmarks.measure import Benchmark, Case, Side, timed
from benchmarks.peer import Peer, installed
from benchmarks.sizes import Sizes

Rows = NDArray[np.float16]
ZARR_CHUNK_ROWS = 1024
READS, GATHERS = 4, 32
"""Calls a round: one takes milliseconds, and something else may run just then."""
PIECE_ROWS = 32 * 128
"""That are read at a time: SAELens' store reads 32 windows of 128."""
MIXED_ROWS = 1 << 15
"""Of SAELens' buffer: its default, 20 windows of 128, would not hold three batches."""
GATHERED = 300_000
"""Rows of width 576 that are to be gathered in a second, at the least."""


def tensors(sizes: Sizes, folder: Path) -> Benchmark:
    """float16 rows through the lake, through plain files, and through zarr-python."""
    lake = Lake.create(folder / "lake")
    lake.create_corpus("corpus", [Document("document", "text")])
    with ExitStack() as open_peers:
        peer = open_peers.enter_context(Peer("dense.py")) if installed() else None
        yield _writes(sizes, folder / "writes", lake, peer)
        shutil.rmtree(folder / "writes")
        yield from _reads(sizes, folder / "reads", lake, peer)


def _writes(sizes: Sizes, folder: Path, lake: Lake, peer: Peer | None) -> Case:
    folder.mkdir()
    rows, rowset, work = _rows(lake, "written", sizes.written_rows, sizes.tensor_width)
    shards = [rowset.grid.span(shard) for shard in range(len(rowset.grid))]

    def lake_write(number: int) -> float:
        name = f"write-{number}"
        seconds = timed(lambda: _write_tensor(lake, name, rowset, rows))
        shutil.rmtree(lake.tensor(name).folder)  # the lake is thrown away, and disks are small
        return seconds

    def raw_write(_number: int) -> float:
        raw = folder / "raw"
        raw.mkdir()
        seconds = timed(lambda: write_files(raw, [rows[a:b] for a, b in shards]))
        shutil.rmtree(raw)
        return seconds

    def zarr_write(_number: int) -> float:
        seconds = timed(lambda: _write_zarr(folder / "written.zarr", rows))
        shutil.rmtree(folder / "written.zarr")
        return seconds

    peers = {}
    if peer is not None:
        rows.tofile(folder / "rows")
        given = {"rows": str(folder / "rows"), "width": rows.shape[1]}
        peers = {
            "SAELens, no fsync": peer.side(
                "saelens_write", folder=str(folder / "saelens"), **given
            ),
            "safetensors, fsync": peer.side(
                "safetensors_write",
                folder=str(folder / "safetensors"),
                shard_rows=rowset.shard_rows,
                **given,
            ),
        }
    return Case(
        "tensor write",
        f"{work}, checksummed",
        "raw files, CRC-32C, fsync",
        {
            "actlake": lake_write,
            "raw files, CRC-32C, fsync": raw_write,
            "zarr-python, no fsync": zarr_write,
            **peers,
        },
        targets={"actlake": 1 / 0.8},
        behind={"SAELens, no fsync": 3.0},
        amount=rows.nbytes / 2**20,
        unit="MiB",
    )


def _reads(sizes: Sizes, folder: Path, lake: Lake, peer: Peer | None) -> Benchmark:
    folder.mkdir()
    rows, rowset, work = _rows(lake, "read", sizes.tensor_rows, sizes.tensor_width)
    peers = _Peers(peer, folder, rows, rowset.shard_rows)
    _write_tensor(lake, "kept", rowset, rows)
    tensor = lake.tensor("kept")
    with (folder / "flat").open("xb") as file:
        rows.tofile(file)
        os.fsync(file.fileno())  # or it would be written back while it is read
    flat = np.asarray(np.memmap(folder / "flat", np.float16, mode="r", shape=rows.shape))
    foreign = _write_zarr(folder / "kept.zarr", rows)
    yield Case(
        "tensor read",
        f"{work}, copied into memory in order",
        "copy of a memory map",
        {
            "actlake": lambda _: timed(lambda: tensor[:], times=READS),
            "copy of a memory map": lambda _: timed(flat.copy, times=READS),
            "zarr-python": lambda _: timed(lambda: foreign[:]),
            **peers.read,
        },
        targets={"actlake": 1 / 0.8},
        amount=rows.nbytes / 2**20,
        unit="MiB",
    )
    yield Case(
        "tensor read in pieces",
        f"{work}, {PIECE_ROWS:,} rows at a time",
        "copies of a memory map",
        {
            "actlake": lambda _: timed(lambda: _in_pieces(tensor), times=READS),
            "copies of a memory map": lambda _: timed(lambda: _copies(flat), times=READS),
            **peers.pieces,
        },
        targets={"actlake": 1 / 0.8},
        behind={"SAELens": 2.0},
        amount=rows.nbytes / 2**20,
        unit="MiB",
    )

    def index(number: int) -> NDArray[np.int64]:
        return np.random.default_rng(number).integers(0, len(rows), sizes.gather_rows)

    sample = index(0)
    assert np.array_equal(tensor.rows(sample), rows[sample])
    assert np.array_equal(foreign.oindex[sample], rows[sample])
    yield Case(
        "tensor gather",
        f"{sizes.gather_rows:,} random rows of {work}",
        "index of a memory map",
        {
            "actlake": lambda n: timed(lambda: tensor.rows(index(n)), times=GATHERS),
            "index of a memory map": lambda n: timed(lambda: flat[index(n)], times=GATHERS),
            "zarr-python": lambda n: timed(lambda: foreign.oindex[index(n)]),
            **peers.gather(sizes.gather_rows),
        },
        targets={"actlake": 1 / 0.7},
        allowed={"actlake": sizes.gather_rows / GATHERED},
        amount=sizes.gather_rows,
        unit="rows",
    )

    size = sizes.batch_rows
    assert sum(map(len, tensor.batches(size, seed=0))) == len(rows)
    assert sum(len(rows) for rows, _ in _loader(tensor, size, 0)) == len(rows)
    trainers = "actlake, to_torch in a DataLoader"
    yield Case(
        "tensor epoch",
        f"{work}, as shuffled float32 batches of {size:,} rows{peers.mixing}",
        "np.take of random rows in RAM",
        {
            "actlake": lambda n: timed(lambda: _drain_batches(tensor, size, n)),
            "np.take of random rows in RAM": lambda n: timed(lambda: _take(rows, size, n)),
            trainers: lambda n: timed(lambda: _drain_loader(tensor, size, n)),
            **peers.epoch(size),
        },
        targets=dict.fromkeys(("actlake", trainers), 1 / 0.7),
        amount=rows.nbytes / 2**20,
        unit="MiB",
    )


class _Peers:
    """The sides of SAELens and of safetensors chunks that read; none without these tools."""

    def __init__(self, peer: Peer | None, folder: Path, rows: Rows, shard_rows: int) -> None:
        self.read: dict[str, Side] = {}
        self.pieces: dict[str, Side] = {}
        self.mixing = ""
        """What its shuffle is, in words, where it is installed."""
        self._peer = peer
        if peer is None:
            return
        rows.tofile(folder / "rows")
        given = self._given = {"rows": str(folder / "rows"), "width": rows.shape[1]}
        self.mixing = (
            f"; SAELens' buffer of {MIXED_ROWS:,} rows shuffles within itself, of rows in memory"
        )
        self._saelens = str(folder / "saelens")
        chunks = {"folder": str(folder / "safetensors")}
        peer.seconds("saelens_write", folder=self._saelens, **given)
        peer.seconds("safetensors_write", shard_rows=shard_rows, **chunks, **given)
        self.read = {"safetensors": peer.side("safetensors_read", **chunks)}
        self.pieces = {"SAELens": peer.side("saelens_read", folder=self._saelens)}

    def gather(self, rows: int) -> dict[str, Side]:
        """Of so many random rows."""
        peer = self._peer
        if peer is None:
            return {}
        where = {"folder": self._saelens, "rows": rows}
        return {"SAELens": lambda n: peer.seconds("saelens_gather", seed=n, **where)}

    def epoch(self, batch_rows: int) -> dict[str, Side]:
        """Of all rows, through its mixing buffer."""
        peer = self._peer
        if peer is None:
            return {}
        given = {**self._given, "buffer_rows": MIXED_ROWS, "batch_rows": batch_rows}
        return {"SAELens' mixing buffer": lambda n: peer.seconds("saelens_epoch", seed=n, **given)}


def _rows(lake: Lake, name: str, count: int, width: int) -> tuple[Rows, Rowset, str]:
    """Random rows, a rowset for them, and how many they are in words."""
    random = np.random.default_rng(0)
    rows = np.empty((count, width), np.float16)
    for start in range(0, len(rows), 1 << 14):
        part = rows[start : start + (1 << 14)]
        part[:] = random.standard_normal(part.shape, np.float32)
    columns = {"document": np.zeros(count, np.int64)}
    rowset = lake.create_rowset(name, corpus="corpus", columns=columns, width_hint=width)
    return rows, rowset, f"{rows.nbytes / 2**20:,.0f} MiB in {len(rowset.grid)} shards"


def _write_tensor(lake: Lake, name: str, rowset: Rowset, rows: Rows) -> None:
    shard_rows = rowset.shard_rows
    with lake.create_tensor(name, rowset=rowset.name, width=rows.shape[1]) as writer:
        for start in range(0, len(rows), shard_rows):
            writer.append(rows[start : start + shard_rows])


def write_files(folder: Path, shards: list[Rows]) -> None:
    """What the disk and the checksum alone cost: one file a shard, flushed."""
    for number, rows in enumerate(shards):
        payload = rows.reshape(-1).view(np.uint8)
        payload.flags.writeable = False  # google-crc32c takes no other buffer without a copy
        checksum = google_crc32c.value(payload)
        with (folder / str(number)).open("xb", buffering=0) as file:
            file.write(payload.data)
            file.write(checksum.to_bytes(4, "little"))
            os.fsync(file.fileno())


def _write_zarr(path: Path, rows: Rows) -> zarr.Array[Any]:
    """zarr-python's own writer, with the codecs of actlake and chunks of a common size."""
    array = zarr.create_array(
        path,
        shape=rows.shape,
        chunks=(min(ZARR_CHUNK_ROWS, len(rows)), rows.shape[1]),
        dtype=rows.dtype,
        filters=None,
        compressors=[Crc32cCodec()],
    )
    array[:] = rows
    return array


def _in_pieces(tensor: Tensor) -> None:
    for start in range(0, len(tensor), PIECE_ROWS):
        tensor[start : start + PIECE_ROWS]


def _copies(rows: Rows) -> None:
    for start in range(0, len(rows), PIECE_ROWS):
        rows[start : start + PIECE_ROWS].copy()


def _drain_batches(tensor: Tensor, size: int, seed: int) -> None:
    for _ in tensor.batches(size, seed=seed):
        pass


def _loader(tensor: Tensor, size: int, seed: int) -> DataLoader[TorchBatch]:
    stream = to_torch(Batches([tensor], size, seed=seed))
    return DataLoader(stream, batch_size=None, num_workers=0)


def _drain_loader(tensor: Tensor, size: int, seed: int) -> None:
    for _, (values,) in _loader(tensor, size, seed):
        values.float()


def _take(rows: Rows, size: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(rows))
    for start in range(0, len(rows), size):
        rows.take(order[start : start + size], axis=0).astype(np.float32)
