"""Writing activations that were made elsewhere: consecutive rows, through the same protocol."""

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from actlake.storage.errors import IncompleteError, InputError, LakeError
from actlake.storage.run import Run
from actlake.storage.tensor_writer import (
    TensorPlan,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
)

__all__ = ["TensorWriter"]


class TensorWriter:
    """Takes the rows of one tensor in order and commits them on shard edges.

    Use it in a ``with`` block, or call ``close``. After a crash, open it again with the same
    arguments and go on at ``next_row``.
    """

    def __init__(
        self, plan: TensorPlan, run: Run, committed: Callable[[str], set[int]], resources: ExitStack
    ) -> None:
        self._plan = plan
        self._run = run
        self._resources = resources
        self._id = plan_tensors(run, [plan])[plan.name]
        done = committed(self._id)
        self._shard = next(
            (shard for shard in range(len(plan.rowset.grid)) if shard not in done),
            len(plan.rowset.grid),
        )
        if done - set(range(self._shard)):
            raise LakeError(f"tensor {plan.name} has shards out of order; it was not written here")
        self._waiting: list[NDArray[Any]] = []
        self._rows_waiting = 0

    @property
    def next_row(self) -> int:
        """The row that the next ``append`` starts at."""
        grid = self._plan.rowset.grid
        committed = grid.rows if self._shard == len(grid) else grid.span(self._shard)[0]
        return committed + self._rows_waiting

    def append(self, rows: NDArray[np.floating[Any]]) -> None:
        """Take the next rows, shape (n, width), n ≥ 0; commits every shard that becomes full.

        InputError if the shape does not fit; PrecisionError if the stored dtype cannot hold them.
        """
        plan = self._plan
        if rows.ndim != 2 or rows.shape[1] != plan.width:
            raise InputError(f"tensor {plan.name} takes rows of shape (n, {plan.width}), not {rows.shape}")
        if self.next_row + len(rows) > plan.rowset.rows:
            raise InputError(
                f"tensor {plan.name} has {plan.rowset.rows:,} rows, and rows up to "
                f"{self.next_row + len(rows):,} were appended"
            )
        while len(rows):
            start, stop = plan.rowset.grid.span(self._shard)
            room = stop - start - self._rows_waiting
            self._waiting.append(np.array(rows[:room]))
            self._rows_waiting += len(self._waiting[-1])
            rows = rows[room:]
            if self._rows_waiting == stop - start:
                self._commit()

    def _commit(self) -> None:
        rows = np.concatenate(self._waiting)
        receipt = publish_shard(self._run, self._plan, self._id, self._shard, rows)
        commit_shards(self._run, [receipt], f"shard {self._shard} of {self._plan.name}")
        self._waiting, self._rows_waiting = [], 0
        self._shard += 1

    def close(self) -> None:
        """Seal the tensor; IncompleteError if rows are missing, which stay to be appended."""
        missing = self._plan.rowset.rows - self.next_row
        try:
            if missing:
                raise IncompleteError(
                    f"tensor {self._plan.name} lacks its last {missing:,} rows, so it is not "
                    "sealed; open it again and append from next_row"
                )
            seal(self._run, [self._plan], {self._plan.name: self._id})
        except BaseException as error:
            self._resources.__exit__(type(error), error, error.__traceback__)
            raise
        self._resources.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._resources.__exit__(kind, error, traceback)
