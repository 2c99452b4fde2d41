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

from actlake.storage import Batches, Document, Lake, Tensor
from actlake.storage.adapters import TorchBatch, to_torch
from benchmarks.measure import Benchmark, Case, Side, timed
from benchmarks.peer import Peer, installed
from benchmarks.sizes import Sizes

Rows = NDArray[np.float16]
ZARR_CHUNK_ROWS = 1024
READS, GATHERS = 4, 32
"""Calls a round: one takes milliseconds, and something else may run just then."""
MIXED_ROWS = 1 << 15
"""Of SAELens' buffer: its default, 20 windows of 128, would not hold three batches."""
GATHERED = 300_000
"""Rows of width 576 that are to be gathered in a second, at the least."""


def tensors(sizes: Sizes, folder: Path) -> Benchmark:
    """float16 rows through the lake, through plain files, and through zarr-python."""
    rows = _rows(sizes)
    lake = Lake.create(folder / "lake")
    lake.create_corpus("corpus", [Document("document", "text")])
    document = np.zeros(len(rows), np.int64)
    rowset = lake.create_rowset(
        "rows", corpus="corpus", columns={"document": document}, width_hint=sizes.tensor_width
    )
    shards = [rowset.grid.span(shard) for shard in range(len(rowset.grid))]
    work = f"{rows.nbytes / 2**20:,.0f} MiB in {len(shards)} shards"

    def lake_write(number: int) -> float:
        name = f"write-{number}"
        seconds = timed(lambda: _write_tensor(lake, name, rows))
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

    with ExitStack() as open_peers:
        peers = _Peers(open_peers, folder, rows, rowset.shard_rows)
        yield Case(
            "tensor write",
            f"{work}, checksummed",
            "raw files, CRC-32C, fsync",
            {
                "actlake": lake_write,
                "raw files, CRC-32C, fsync": raw_write,
                "zarr-python, no fsync": zarr_write,
                **peers.write,
            },
            targets={"actlake": 1 / 0.8},
            behind={"SAELens, no fsync": 3.0},
            amount=rows.nbytes / 2**20,
            unit="MiB",
        )
        yield from _reads(sizes, folder, lake, rows, work, peers)


def _reads(
    sizes: Sizes, folder: Path, lake: Lake, rows: Rows, work: str, peers: "_Peers"
) -> Benchmark:
    _write_tensor(lake, "kept", rows)
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
    """The sides of SAELens and of safetensors chunks; none where they are not installed."""

    def __init__(self, opened: ExitStack, folder: Path, rows: Rows, shard_rows: int) -> None:
        self.write: dict[str, Side] = {}
        self.read: dict[str, Side] = {}
        self.mixing = ""
        """What its shuffle is, in words, where it is installed."""
        self._peer: Peer | None = None
        if not installed():
            return
        rows.tofile(folder / "rows")
        peer = self._peer = opened.enter_context(Peer("dense.py"))
        given = self._given = {"rows": str(folder / "rows"), "width": rows.shape[1]}
        self.mixing = (
            f"; SAELens' buffer of {MIXED_ROWS:,} rows shuffles within itself, of rows in memory"
        )
        self._saelens = str(folder / "saelens")
        chunks = {"folder": str(folder / "safetensors")}
        self.write = {
            "SAELens, no fsync": peer.side("saelens_write", folder=self._saelens, **given),
            "safetensors, fsync": peer.side(
                "safetensors_write", shard_rows=shard_rows, **chunks, **given
            ),
        }
        self.read = {
            "SAELens": peer.side("saelens_read", folder=self._saelens),
            "safetensors": peer.side("safetensors_read", **chunks),
        }

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


def _rows(sizes: Sizes) -> Rows:
    random = np.random.default_rng(0)
    rows = np.empty((sizes.tensor_rows, sizes.tensor_width), np.float16)
    for start in range(0, len(rows), 1 << 14):
        part = rows[start : start + (1 << 14)]
        part[:] = random.standard_normal(part.shape, np.float32)
    return rows


def _write_tensor(lake: Lake, name: str, rows: Rows) -> None:
    shard_rows = lake.rowset("rows").shard_rows
    with lake.create_tensor(name, rowset="rows", width=rows.shape[1]) as writer:
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
