"""Shuffled batches of one or several tensors, by number: any of them without those before it.

Shards are dealt in an order that the seed decides, and the rows of eight at a time are mixed with
each other. Which rows a batch holds follows from the seed and its number alone, so any number of
workers deals the same batches, and a training that was ended goes on at the next one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

import numpy as np
import xxhash
from numpy.typing import NDArray

from actlake.storage.errors import IncompleteError, InputError
from actlake.storage.gathering import gather
from actlake.storage.keys import fingerprint
from actlake.storage.masks import mask_named, mask_rows
from actlake.storage.tensor_arrays import Stored, row_bytes

if TYPE_CHECKING:
    from actlake.storage.tensors import Tensor

__all__ = ["Batch", "Batches", "Keep"]

Held = dict[int, Stored]
"""Shards, by their number."""
Keep = Callable[[int, int], NDArray[np.bool_]]
B = TypeVar("B")
DEALING = 1
"""Version of which rows a batch holds, for who goes on in the middle."""
AHEAD = 2
"""Batches that are read while one is in use."""
MIXED_SHARDS = 8
"""Shards whose rows are mixed with each other."""


class Batch(NamedTuple):
    """The same rows of each tensor."""

    rows: NDArray[np.int64]
    """Their numbers in the rowset, shape (n,)."""
    values: tuple[NDArray[Any], ...]
    """Of each tensor in turn, in its stored dtype, of int8 in float32, shape (n, width)."""


class Batches(Sequence[Batch]):
    """``epochs`` times every row once, shuffled anew each time, ``size`` rows a batch.

    A sequence: ``batches[i]`` reads that batch alone, and costs least in order. The last batch of
    an epoch is smaller where ``size`` does not divide its rows. Memory holds
    ``peak_bytes``; shards are mapped, so what stays of them is the system's choice, but where the
    lake verifies always those that are being mixed are copies.

    It is for one thread, which has three of its own while it goes through all; ``copy.copy`` is for
    another. It pickles: in another process it reads the same committed shards, and asks no catalog.
    """

    def __init__(
        self,
        tensors: Sequence["Tensor"],
        size: int,
        *,
        seed: int,
        epochs: int = 1,
        mask: str = "all",
        keep: Keep | None = None,
    ) -> None:
        """Batches of ``tensors``, which share a rowset, for a transcoder or a crosscoder.

        Dealt are rows under ``mask`` of which ``keep(start, stop)``, shape (stop - start,), is
        true, and none of documents that were taken back; both are asked for every shard now, and
        kept as a bit a row. InputError if the tensors have different rows or the numbers make no
        batch; IncompleteError if a shard that is needed is not committed.
        """
        if size < 1:
            raise InputError(f"batches of {size} rows cannot be drawn; ask for 1 or more")
        if seed < 0 or epochs < 1:
            raise InputError(f"seed {seed} and {epochs} epochs deal nothing; give 0 or more, and 1")
        if not isinstance(tensors, Sequence):
            raise InputError(f"batches are drawn of a list of tensors; say [{tensors.name}]")
        if not tensors:
            raise InputError("batches of no tensor cannot be drawn; name one or more")
        rowset = tensors[0].rowset
        for other in tensors[1:]:
            if other.rowset.fingerprint != rowset.fingerprint or other.grid != tensors[0].grid:
                raise InputError(
                    f"tensor {other.name} has the rows of {other.rowset.name} and tensor "
                    f"{tensors[0].name} those of {rowset.name}, or in other shards; take tensors "
                    "of one rowset"
                )
        self.tensors = tuple(tensors)
        self.size = size
        self.seed = seed
        self.epochs = epochs
        self._grid = rowset.grid
        self._kept: list[NDArray[np.uint8]] | None = None
        """For each shard a bit a row, where some rows are left out."""
        counts = np.array([b - a for a, b in map(self._grid.span, range(len(self._grid)))])
        if mask != "all" or keep is not None or rowset.withdrawn:
            kept = self._asked(mask, keep)
            counts = np.array([np.bitwise_count(bits).sum() for bits in kept], np.int64)
            self._kept = kept
        for tensor in tensors:
            if lacking := [shard for shard in tensor.missing() if counts[shard]]:
                raise IncompleteError(
                    f"tensor {tensor.name} lacks {len(lacking)} of {len(counts)} shards; run its "
                    "extraction again to finish it"
                )
        self._counts = counts
        self.rows = int(counts.sum())
        """Rows of an epoch."""
        self._epoch = -1
        self._mixed: dict[int, NDArray[np.int64]] = {}
        """Rows of the groups of shards that the last batch came from, in order."""
        self._held: list[Held] = [{} for _ in self.tensors]
        """Shards of these groups, for each tensor."""

    def _asked(self, mask: str, keep: Keep | None) -> list[NDArray[np.uint8]]:
        reading, rowset = self.tensors[0]._reading, self.tensors[0].rowset
        named = mask_named(reading, mask)  # NotFoundError if there is none
        found = []
        for shard in range(len(self._grid)):
            span = self._grid.span(shard)
            under = mask_rows(reading, named, rowset, *span)
            if keep is not None:
                wanted = keep(*span)
                if wanted.shape != under.shape or wanted.dtype != bool:
                    raise InputError(
                        f"keep({span[0]}, {span[1]}) gave {wanted.dtype} of shape {wanted.shape}; "
                        f"let it give a bool for each of the {len(under)} rows"
                    )
                under = under & wanted
            found.append(np.packbits(under))
        return found

    @property
    def peak_bytes(self) -> int:
        """Bytes at most that one reader takes, who goes through all or asks for one after the
        other, the batch included.

        Four batches, of which one is in use and two are read, and the rows of one tensor as they
        are picked for these, of int8 also before they are restored; the order of the rows that are
        mixed; a bit a row where some are left out. Shards are mapped beside that.
        """
        rows = [tensor.width * tensor.dtype.itemsize for tensor in self.tensors]
        whole = [row_bytes("int8", one.width) for one in self.tensors if one.stored_dtype == "int8"]
        most = (2 + AHEAD) * sum(rows) + AHEAD * (max(rows) + max(whole, default=0))
        mixed = int(np.sort(self._counts)[-MIXED_SHARDS:].sum())
        bits = 0 if self._kept is None else sum(len(one) for one in self._kept)
        size = min(self.size, self.rows)
        return size * most + 8 * (3 * mixed + (8 + 4 * AHEAD) * size) + bits + 65_536

    @property
    def fingerprint(self) -> str:
        """The same for two that deal the same batches."""
        kept = xxhash.xxh3_128_hexdigest(b"".join(one.tobytes() for one in self._kept or ()))
        ids = [tensor.id for tensor in self.tensors]
        dealt = [DEALING, MIXED_SHARDS, self.size, self.seed]
        return fingerprint("batches", ids, dealt, kept)

    @property
    def epoch_batches(self) -> int:
        """Batches of one epoch."""
        return -(-self.rows // self.size)

    def taken(self, batches: int) -> dict[int, tuple[int, int]]:
        """What the first ``batches`` batches take of which shards, without reading them.

        How many rows, counted as often as they are dealt, and the number of the batch that has the
        first of them.
        """
        if not 0 <= batches <= len(self):
            raise InputError(f"there are {len(self)} batches, not {batches}; ask for so many")
        other = copy(self)  # what is being mixed here stays
        whole, rest = divmod(batches, max(1, self.epoch_batches))
        rows, first = whole * self._counts, dict[int, int]()
        # Every shard that is dealt at all has been within the first epoch.
        for epoch, count in {0: min(batches, self.epoch_batches), whole: rest}.items():
            for place in range(count):
                dealt = other._rows(epoch, place * self.size) // self._grid.shard_rows
                shards, n = np.unique(dealt, return_counts=True)
                if epoch == whole:
                    rows[shards] += n
                for shard in shards.tolist() if epoch == 0 else ():
                    first.setdefault(shard, place)
        return {shard: (int(rows[shard]), place) for shard, place in first.items()}

    def __len__(self) -> int:
        return self.epochs * self.epoch_batches

    def __iter__(self) -> Iterator[Batch]:
        """All of them in order; two are read by threads while one is in use."""
        return self.read_ahead(range(len(self)), lambda batch: batch)

    def read_ahead(
        self, numbers: Iterable[int], finish: Callable[[Batch], B], *, ahead: int = AHEAD
    ) -> Iterator[B]:
        """What ``finish`` makes of each batch, in order; ``ahead`` of them are read by two threads
        while one is in use, and what is mixed for them is by a third."""
        waiting: deque[Future[B]] = deque()
        planned = copy(self)._planned  # others may read these batches meanwhile

        def read(plan: Future[tuple[NDArray[np.int64], list[Held]]]) -> B:
            return finish(self._read(*plan.result()))

        with ThreadPoolExecutor(1, "mix") as mixing, ThreadPoolExecutor(AHEAD, "batch") as reading:
            try:
                for number in numbers:
                    waiting.append(reading.submit(read, mixing.submit(planned, number)))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()
                mixing.shutdown(wait=False, cancel_futures=True)

    @overload
    def __getitem__(self, number: int) -> Batch: ...
    @overload
    def __getitem__(self, number: slice) -> list[Batch]: ...
    def __getitem__(self, number: int | slice) -> Batch | list[Batch]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"no batch {number} of {len(self)}")
        return self._read(*self._planned(number % len(self)))

    def _planned(self, number: int) -> tuple[NDArray[np.int64], list[Held]]:
        """The rows of a batch, and the shards that they are in, for each tensor."""
        epoch, place = divmod(number, self.epoch_batches)
        rows = self._rows(epoch, place * self.size)
        needed: list[Held] = []
        for tensor, held in zip(self.tensors, self._held, strict=True):
            for shard in np.unique(rows // self._grid.shard_rows).tolist():
                if shard not in held:
                    held[shard] = tensor.stored(shard)
            needed.append(held)
        return rows, needed

    def _read(self, rows: NDArray[np.int64], shards: list[Held]) -> Batch:
        """By any thread: who plans the next batch adds to a ``Held`` that was given out at most."""
        values = []
        for tensor, held in zip(self.tensors, shards, strict=True):
            shape = self._grid.shard_rows, tensor.width
            values.append(gather(rows, *shape, tensor.dtype, held.__getitem__))
        return Batch(rows, tuple(values))

    def _rows(self, epoch: int, start: int) -> NDArray[np.int64]:
        """The rows that an epoch deals from its place ``start`` on, one batch of them."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._mixed.clear()
            random = np.random.default_rng([self.seed, epoch])
            self._dealt = random.permutation(len(self._counts))
            firsts = np.arange(0, len(self._dealt), MIXED_SHARDS)
            sizes = np.add.reduceat(self._counts[self._dealt], firsts)
            self._ends = np.cumsum(sizes)
        stop = min(start + self.size, self.rows)
        groups = range(
            int(np.searchsorted(self._ends, start, "right")),
            int(np.searchsorted(self._ends, stop, "left")) + 1,
        )
        # What is done with goes before the next is made.
        self._mixed = {one: self._mixed[one] for one in groups if one in self._mixed}
        used = {int(shard) for group in groups for shard in self._shards(group)}
        self._held = [{one: held[one] for one in used & held.keys()} for held in self._held]
        parts = []
        for group in groups:
            if group not in self._mixed:
                self._mixed[group] = self._mix(group)
            order = self._mixed[group]
            begin = int(self._ends[group]) - len(order)
            parts.append(order[max(start - begin, 0) : stop - begin])
        return np.concatenate(parts)

    def _shards(self, group: int) -> NDArray[np.int64]:
        return self._dealt[group * MIXED_SHARDS : (group + 1) * MIXED_SHARDS]

    def _mix(self, group: int) -> NDArray[np.int64]:
        """The rows of a group of shards, in the order in which they are dealt."""
        order = np.concatenate([self._rows_of(int(shard)) for shard in self._shards(group)])
        np.random.default_rng([self.seed, self._epoch, group + 1]).shuffle(order)
        return order

    def _rows_of(self, shard: int) -> NDArray[np.int64]:
        start, stop = self._grid.span(shard)
        if self._kept is None:
            return np.arange(start, stop)
        return start + np.flatnonzero(np.unpackbits(self._kept[shard], count=stop - start))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_epoch": -1, "_mixed": {}, "_held": [{} for _ in self.tensors]}
