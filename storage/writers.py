"""Writing activations that were made elsewhere: consecutive rows, through the same protocol."""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import chain
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.storage.behind import Behind
from actlake.storage.errors import IncompleteError, InputError, LakeError
from actlake.storage.keys import Json, check_name, fingerprint
from actlake.storage.precision import cast
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt, shards_told
from actlake.storage.tensor_writer import (
    TensorPlan,
    abandon_tensors,
    commit_shards,
    publish_shard,
    seal,
)

__all__ = ["TensorWriter", "given"]


def given(
    name: str,
    rowset: Rowset,
    width: int,
    model: str,
    site: str,
    dtype: str,
    provenance: Mapping[str, Json],
) -> TensorPlan:
    """The plan of a tensor whose rows come from elsewhere."""
    return TensorPlan(
        name=name,
        model=check_name("model", model),
        model_fingerprint=fingerprint(model),
        site=site,
        module=site,
        side="given",
        rowset=rowset,
        dtype=dtype,
        compute_dtype="unknown",
        width=width,
        provenance=tuple(provenance.items()),
    )


class TensorWriter:
    """Takes the rows of one tensor in order and commits them on shard edges.

    Use it in a ``with`` block, or call ``close``. After a crash, open it again with the same
    arguments and go on at ``next_row``. One that ends before its first shard leaves no tensor; one
    that nobody has any more, and nobody has closed, commits the shards that are full.
    """

    def __init__(
        self,
        plan: TensorPlan,
        run: Run,
        ids: Mapping[str, str],
        committed: set[int],
        resources: ExitStack,
    ) -> None:
        self._plan = plan
        self._run = run
        self._ids = ids
        self._resources = resources
        self._first = self._shard = len(committed)
        self._waiting: list[NDArray[Any]] = []
        self._rows_waiting = 0
        # Which does not know this, so that a writer that nobody has any more ends at once.
        self._behind = Behind(partial(_commit, run, plan.name))
        resources.callback(self._behind.close)  # before the run ends
        weakref.finalize(self, self._behind.close)  # the same where nobody closes it
        self._closed = self._failed = False

    @property
    def next_row(self) -> int:
        """The row that the next ``append`` starts at."""
        return self._full_rows + self._rows_waiting

    @property
    def _committed(self) -> int:
        """Shards that are."""
        return self._first + self._behind.done

    @property
    def _full_rows(self) -> int:
        return min(self._shard * self._plan.rowset.shard_rows, self._plan.rowset.rows)

    def append(self, rows: NDArray[np.floating[Any]]) -> None:
        """Take the next rows, shape (n, width), n ≥ 0.

        A shard that becomes full is on the disk as this returns; it is committed soon, with others
        that become full meanwhile, and at the latest by ``close``. Raises what went wrong with
        that, too, and then takes no more: open it again.

        InputError if the shape does not fit; PrecisionError if the stored dtype cannot hold
        them. What is refused is not taken: other rows may be appended in its place.
        """
        plan, start = self._plan, self.next_row
        if self._closed or self._failed:
            raise InputError(f"the writer of tensor {plan.name} is closed; open it again")
        if rows.ndim != 2 or rows.shape[1] != plan.width:
            raise InputError(
                f"tensor {plan.name} takes no rows of shape {rows.shape}; give (n, {plan.width})"
            )
        if (stop := start + len(rows)) > plan.rowset.rows:
            raise InputError(
                f"tensor {plan.name} has {plan.rowset.rows:,} rows, and rows up to {stop:,} "
                "were appended; append no more than it has"
            )
        # Before any of them is taken.
        rows = cast(rows, plan.dtype, what=f"tensor {plan.name}, rows {start:,} to {stop:,}")
        while len(rows):
            first, after = plan.rowset.grid.span(self._shard)
            room = after - first - self._rows_waiting
            taken, rows = rows[:room], rows[room:]
            if len(taken) == room:
                self._publish(taken)
            else:  # a copy, since the caller may fill its array anew
                self._waiting.append(np.array(taken))
                self._rows_waiting += len(taken)

    def _publish(self, rows: NDArray[Any]) -> None:
        """Write the next shard, which ``rows`` complete; it is committed behind what is appended
        next."""
        whole = np.concatenate([*self._waiting, rows]) if self._waiting else rows
        name, shard = self._plan.name, self._shard
        receipts = publish_shard(self._run, self._plan, self._ids[name], shard, whole, checked=True)
        with self._failing():
            self._behind.give(receipts)
            self._waiting, self._rows_waiting = [], 0
            self._shard += 1

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Where a commit has failed, nothing more is taken."""
        try:
            yield
        except BaseException:
            self._failed = True
            self._shard, self._waiting, self._rows_waiting = self._committed, [], 0
            raise

    def close(self) -> None:
        """Seal the tensor; IncompleteError if rows are missing, which may be appended later."""
        if self._closed:
            return
        with self:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._closed:
            return
        self._closed = True
        with self._resources:  # the run ends as failed where an error comes out of here
            try:
                if error is not None:
                    raise error
                with self._failing():
                    self._behind.wait()
                self._seal()
            except BaseException:
                self._behind.close()  # a commit may be under way
                if self._committed == 0:
                    with suppress(LakeError):  # what went wrong before matters more
                        abandon_tensors(self._run, self._ids)
                raise

    def _seal(self) -> None:
        if missing := self._plan.rowset.rows - self._full_rows:
            raise IncompleteError(
                f"tensor {self._plan.name} lacks its last {missing:,} rows, so it is not "
                "sealed; open it again and append from next_row"
            )
        seal(self._run, [self._plan], self._ids)


def _commit(run: Run, name: str, shards: list[list[Receipt]]) -> None:
    """Commit shards of the tensor ``name``, of each its receipts."""
    told = shards_told([receipts[0].shard for receipts in shards])
    commit_shards(run, [*chain.from_iterable(shards)], f"{told} of {name}")
