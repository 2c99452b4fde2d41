"""Rows for PyTorch and Dask, which are imported here when they are asked for and nowhere before."""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from actlake.storage.batches import Batch, Batches
from actlake.storage.errors import IncompleteError, InputError

if TYPE_CHECKING:
    import dask.array
    import torch
    from torch.utils.data import IterableDataset

    from actlake.storage.tensors import Tensor

    class _Known(IterableDataset["TorchBatch"]): ...


if not TYPE_CHECKING:
    _Known = object  # until torch is there: see _dataset

__all__ = ["Position", "TorchBatch", "TorchBatches", "as_torch", "to_dask", "to_torch"]


class Position(TypedDict):
    """How far a stream has come; JSON holds it."""

    batch: int
    """Batches that were handed out since the first epoch began."""
    fingerprint: str
    """Of the batches, so that no others are gone on with."""


def to_dask(tensor: "Tensor") -> "dask.array.Array":
    """The tensor as a dask array, shape (rows, width), one block a shard, in the stored dtype, of
    int8 in float32.

    A block is mapped or read where it is computed, in any process that reaches the lake's files,
    and asks no catalog. Rows of documents that were taken back are NaN. IncompleteError if a shard
    is not committed; InputError without dask.
    """
    try:
        import dask.array as da
    except ImportError:
        raise InputError("dask is not installed; pip install 'actlake[dask]'") from None
    if lacking := tensor.missing():
        raise IncompleteError(
            f"tensor {tensor.name} lacks {len(lacking)} of {len(tensor.grid)} shards; run its "
            "extraction again to finish it"
        )
    spans = [tensor.grid.span(shard) for shard in range(len(tensor.grid))]
    name = f"actlake-{tensor.id}"
    graph = {(name, i, 0): (_shard, tensor.alone(i), i) for i in range(len(spans))}
    chunks = (tuple(stop - start for start, stop in spans), (tensor.width,))
    meta = np.empty((0, 0), tensor.dtype)
    return da.Array(graph, name, chunks, dtype=tensor.dtype, meta=meta)  # type: ignore[no-untyped-call] # theirs


def _shard(tensor: "Tensor", shard: int) -> NDArray[Any]:
    return np.asarray(tensor.shard(shard))


class TorchBatch(NamedTuple):
    """A ``Batch`` of torch tensors."""

    rows: "torch.Tensor"
    """Row numbers, int64, shape (n,)."""
    values: "tuple[torch.Tensor, ...]"
    """Of each tensor in turn, in its stored dtype, of int8 in float32, shape (n, width)."""


class TorchBatches(_Known):
    """Batches as torch tensors, in order, from where it is on; ``state_dict`` is where that is.

    ``to_torch`` makes it an IterableDataset of torch. Each worker of a DataLoader around it deals
    the batches whose turn it has, so that they come in the same order, and only the DataLoader
    knows how many it handed out: see ``state_dict``.
    """

    def __init__(self, batches: Batches, workers: int, prefetch: int, pin: bool | None) -> None:
        self.batches = batches
        self.workers = workers
        self.prefetch = prefetch
        self.pin = pin
        self.position = 0
        """Batches that were handed out."""

    def __len__(self) -> int:
        """Batches that are left."""
        return len(self.batches) - self.position

    def __iter__(self) -> Iterator[TorchBatch]:
        import torch
        from torch.utils.data import get_worker_info

        if self.position == len(self.batches) > 0:
            raise InputError(
                "the stream is at its end; make Batches of more epochs, or go back with "
                "load_state_dict"
            )
        numbers = range(self.position, len(self.batches))
        if (worker := get_worker_info()) is not None:
            yield from self._by_threads(numbers[worker.id :: worker.num_workers], pin=False)
            return
        pin = torch.cuda.is_available() if self.pin is None else self.pin
        for batch in self._by_workers(pin) if self.workers else self._by_threads(numbers, pin):
            self.position += 1  # before it is handed out: whoever has it has been given it
            yield batch

    def __reduce__(self) -> tuple[Any, ...]:
        # The class that torch knows is made in a function, where pickle does not find it.
        return _again, (self.batches, self.workers, self.prefetch, self.pin, self.position)

    def _by_threads(self, numbers: range, pin: bool) -> Iterator[TorchBatch]:
        def read(batch: Batch) -> TorchBatch:
            made = as_torch(batch)
            if not pin:
                return made
            return TorchBatch(made.rows.pin_memory(), tuple(v.pin_memory() for v in made.values))

        return self.batches.read_ahead(numbers, read, ahead=self.prefetch)

    def _by_workers(self, pin: bool) -> Iterator[TorchBatch]:
        from torch.utils.data import DataLoader

        loader: DataLoader[Any] = DataLoader(
            self.batches,  # type: ignore[arg-type] # a sequence is all that it asks for
            batch_size=None,
            sampler=range(self.position, len(self.batches)),
            num_workers=self.workers,
            collate_fn=as_torch,  # type: ignore[arg-type] # of one batch, as it makes none
            pin_memory=pin,
            prefetch_factor=self.prefetch,
            # A forked one would hold DuckDB's and torch's locks and none of their threads.
            multiprocessing_context="spawn",
        )
        yield from loader

    def state_dict(self, given: int = 0) -> Position:
        """Where the stream is: after the last batch that was handed out.

        In a DataLoader with workers, which have copies of it, it does not move: ``given`` are the
        batches that came from there.
        """
        return Position(batch=self.position + given, fingerprint=self.batches.fingerprint)

    def load_state_dict(self, state: Position) -> None:
        """Go on after the batches that ``state`` counts; InputError if it is of other batches."""
        if state["fingerprint"] != self.batches.fingerprint:
            raise InputError(
                "the position is one in other batches; give the tensors, size, seed and mask that "
                "it was saved with"
            )
        if not 0 <= state["batch"] <= len(self.batches):
            raise InputError(
                f"batch {state['batch']} is not in a stream of {len(self.batches)}; give as many "
                "epochs as when it was saved"
            )
        self.position = state["batch"]


def to_torch(
    batches: Batches, *, workers: int = 0, prefetch: int = 2, pin: bool | None = None
) -> TorchBatches:
    """``batches`` for a training loop in PyTorch: the same ones, in the same order, for any number
    of ``workers``.

    Threads, or each of the workers, which are processes, read ``prefetch`` batches ahead: so
    many, and one, are in memory beside what ``Batches`` says for every process. Threads are the
    faster way, as workers start anew, in seconds, and copy what they have read once more; they are
    for what else a loader of your own does with it, for which the stream is an IterableDataset:
    ``DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="spawn")``. A
    script that has workers asks ``if __name__ == "__main__":`` first, as they import it. With
    ``pin``, by default where there is CUDA, batches lie in pinned memory, but for those of such a
    loader, which has ``pin_memory`` of its own. InputError without torch.
    """
    try:
        import torch  # noqa: F401
    except ImportError:
        raise InputError("torch is not installed; pip install 'actlake[extract]'") from None
    if workers < 0 or prefetch < 1:
        raise InputError(
            f"{workers} workers that read {prefetch} batches ahead read none; give 0 workers or "
            "more, and 1 batch or more"
        )
    return _dataset()(batches, workers, prefetch, pin)


@cache
def _dataset() -> type[TorchBatches]:
    from torch.utils.data import IterableDataset

    class Stream(TorchBatches, IterableDataset[TorchBatch]):
        """What a DataLoader knows to be a stream."""

    return Stream


def _again(
    batches: Batches, workers: int, prefetch: int, pin: bool | None, position: int
) -> TorchBatches:
    stream = _dataset()(batches, workers, prefetch, pin)
    stream.position = position
    return stream


def as_torch(batch: Batch) -> "TorchBatch":
    """The same batch as torch tensors, without a copy."""
    return TorchBatch(_torch(batch.rows), tuple(_torch(values) for values in batch.values))


def _torch(array: NDArray[Any]) -> "torch.Tensor":
    import torch

    if array.dtype.name == "bfloat16":  # numpy's and torch's do not know each other
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
