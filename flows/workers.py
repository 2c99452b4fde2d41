"""Steps by other processes of this machine, and who else may do them.

Whoever does a step publishes files and returns receipts, which the flow commits in order: as many
shards as there are workers, and one, may be computed again after a kill.
"""

import os
import signal
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from actlake.flows.packed import packed, unpacked
from actlake.flows.runners import Runner, Step, finished, in_order, settled
from actlake.storage.errors import InputError, LakeError
from actlake.storage.threads import default_threads

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

__all__ = ["OTHERS", "SHARED", "Processes", "runner_of"]

T = TypeVar("T")
R = TypeVar("R")
SHARED = ("extract", "encode", "summarize")
"""Verbs whose steps others can do."""
OTHERS = ("workers", "scheduler")
"""What may be given to them beside their own parameters: as of ``runner_of``."""
MOST = 1024

_step: bytes
"""What this process, which is a worker, does to items."""


def runner_of(workers: int | None, scheduler: str | None) -> Runner | None:
    """Who carries steps out, for ``workers`` processes or a Dask scheduler's address; None for
    neither."""
    if scheduler is not None:
        if workers is not None:
            raise InputError(
                "a Dask scheduler has its own workers; give --workers or --scheduler, not both"
            )
        from actlake.flows.dask_workers import DaskWorkers

        return DaskWorkers(scheduler)
    return None if workers is None else Processes(workers)


class Processes(Runner):
    """``count`` processes on this machine, each with its share of the cores and one of the GPUs."""

    elsewhere = True

    def __init__(self, count: int) -> None:
        if not 1 <= count <= MOST:
            raise InputError(f"{count} worker processes cannot be; give 1 to {MOST:,}")
        self.count = count

    @property
    def threads(self) -> int:
        return max(1, default_threads() // self.count)

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` comes to for each item, in order, as soon as it is there."""
        if not items:  # processes take seconds to start
            return
        count = min(self.count, len(items))
        context = get_context("spawn")  # a forked one would hold torch's and DuckDB's locks
        places: SimpleQueue[int] = context.SimpleQueue()
        for place in range(count):
            places.put(place)
        begin = (packed(step), places, self.threads, _gpus())
        pool = ProcessPoolExecutor(count, context, _begin, begin)

        def submit(item: T) -> Future[R]:
            return pool.submit(_do, item)

        def stop() -> None:
            for process in active_children():
                if process.pid in {*pool._processes}:
                    process.kill()

        try:
            yield from in_order(submit, items, ahead=count, settle=settled, stop=stop)
        except BrokenProcessPool as error:
            raise LakeError(
                f"a worker process of {name} has ended without a word, as one does that the system "
                "kills for its memory, or whose script does not ask for __main__; run this again "
                "to go on, with fewer workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip()]
    if "torch" not in sys.modules:  # steps that compute nothing on one
        return []
    from actlake.flows.extraction.devices import gpus

    return gpus()


def _begin(step: bytes, places: "SimpleQueue[int]", threads: int, gpus: Sequence[str]) -> None:
    """Make this process a worker."""
    global _step
    _step = step
    place = places.get()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[place % len(gpus)]
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:  # which has asked for it already
        sys.modules["torch"].set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it says when to stop
    Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for its next item for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _do(item: Any) -> Any:
    # Unpacked here and not as the process starts, so that what goes wrong is told.
    return finished(unpacked(_step)(item))
