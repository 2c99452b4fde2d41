"""Steps by other processes of this machine, and who else may do them.

Whoever does a step publishes files and returns receipts, which the flow commits in order: twice as
many shards as there are workers, and one, may be computed again after a kill, and what waited for
a commit.
"""

import os
import signal
import sys
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import count, cycle
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

from actlake.flows.packed import packed, unpacked
from actlake.flows.runners import Runner, Step, finished, in_order, settled
from actlake.storage.errors import InputError, LakeError
from actlake.storage.threads import default_threads

__all__ = ["OTHERS", "SHARED", "Processes", "runner_of"]

T = TypeVar("T")
R = TypeVar("R")
SHARED = ("extract", "encode", "summarize")
"""Verbs whose steps others can do."""
OTHERS = ("workers", "scheduler")
"""What may be given to them beside their own parameters: as of ``runner_of``."""
MOST = 1024

_numbers = count()
"""Of items: what their worker knows them by."""

_step: bytes
"""What this process, which is a worker, does to items."""
_writing: ThreadPoolExecutor
_written: dict[int, Future[Any]] = {}
"""By number: what it has computed, and writes."""


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
    """``count`` processes on this machine, each with its share of the cores and one of the GPUs.

    Each computes a step while it writes what the one before has made.
    """

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
        begin = (packed(step), self.threads, _gpus())
        workers = _workers(min(self.count, len(items)), *begin)
        turns = cycle(workers)

        def submit(item: T) -> _Made:
            return next(turns).submit(item)

        def settle(waiting: Iterable[_Made]) -> None:
            settled(future for one in waiting for future in one.futures)

        def stop() -> None:
            for worker in workers:
                worker.kill()

        try:
            # Of each worker one that it computes and one that it writes, and its next is there.
            yield from in_order(submit, items, ahead=2 * len(workers), settle=settle, stop=stop)
        except BrokenProcessPool as error:
            raise LakeError(
                f"a worker process of {name} has ended without a word, as one does that the system "
                "kills for its memory, or whose script does not ask for __main__; run this again "
                "to go on, with fewer workers"
            ) from error
        finally:
            _end(workers)


class _Worker:
    """A process and the items that it is given, one after the other."""

    def __init__(self, place: int, step: bytes, threads: int, gpus: Sequence[str]) -> None:
        begin = (place, step, threads, gpus)
        # A forked one would hold torch's and DuckDB's locks.
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, begin)
        self.pool.submit(os.getpid)  # starts it, so that what the system refuses is told by now
        self._last: _Made | None = None

    def submit(self, item: object) -> "_Made":
        """Have it computed, and what the one before comes to waited for after that."""
        made = _Made(self.pool, item)
        if self._last is not None:
            self._last.keep()
        self._last = made
        return made

    def kill(self) -> None:
        for process in active_children():
            if process.pid in {*self.pool._processes}:
                process.kill()


def _workers(number: int, *begin: Any) -> list[_Worker]:
    workers: list[_Worker] = []
    try:
        for place in range(number):
            workers.append(_Worker(place, *begin))
    except OSError as error:
        _end(workers)
        raise InputError(
            f"{number} worker processes cannot be ({error.strerror}), since each takes eight open "
            "files here; give fewer, or raise `ulimit -n`"
        ) from error
    return workers


def _end(workers: Sequence[_Worker]) -> None:
    """All together, since each takes a second."""
    for wait in (False, True):
        for worker in workers:
            worker.pool.shutdown(wait=wait, cancel_futures=True)


class _Made:
    """What a worker computes, and then writes while it computes the next."""

    def __init__(self, pool: ProcessPoolExecutor, item: object) -> None:
        self._pool, self._number = pool, next(_numbers)
        self.futures: list[Future[Any]] = [pool.submit(_make, self._number, item)]

    def keep(self) -> None:
        """Have it waited for."""
        if len(self.futures) == 1:
            self.futures.append(self._pool.submit(_keep, self._number))

    def result(self) -> Any:
        """What it comes to, waited for; raises what computing or writing it raised."""
        self.futures[0].result()
        self.keep()
        return self.futures[1].result()


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [one.strip() for one in named.split(",") if one.strip()]
    if "torch" not in sys.modules:  # steps that compute nothing on one
        return []
    from actlake.flows.extraction.devices import gpus

    return gpus()


def _begin(place: int, step: bytes, threads: int, gpus: Sequence[str]) -> None:
    """Make this process a worker."""
    global _step, _writing
    _step, _writing = step, ThreadPoolExecutor(1, "write")
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


def _make(number: int, item: Any) -> None:
    """Compute an item, and have it written behind what is computed next."""
    # Unpacked here and not as the process starts, so that what goes wrong is told.
    made = unpacked(_step)(item)
    _written[number] = _writing.submit(finished, made)


def _keep(number: int) -> Any:
    """What an item that was computed comes to."""
    return _written.pop(number).result()
