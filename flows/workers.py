"""Steps in other processes: on this machine, or wherever a Dask scheduler has workers.

A step goes to a worker by pickle, so it is a function of a module with what it needs; its lake and
run are opened anew there (``storage.elsewhere``). It publishes files and returns receipts, which
the flow commits in order: as many shards as there are workers, and one, may be computed again
after a kill.
"""

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing import get_context, parent_process
from socket import create_connection
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from actlake.flows.runners import Runner, in_order, settled
from actlake.storage.errors import InputError, LakeError, UnreachableError
from actlake.storage.threads import default_threads

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

__all__ = ["OTHERS", "SHARED", "DaskWorkers", "Processes", "runner_of"]

T = TypeVar("T")
R = TypeVar("R")
SHARED = ("extract", "encode", "summarize")
"""Verbs whose steps others can do."""
OTHERS = ("workers", "scheduler")
"""What may be given to them beside their own parameters: as of ``runner_of``."""
MOST = 1024
CONNECT_SECONDS = 5

_step: Callable[[Any], Any]
"""What this process, which is a worker, does to items."""


def runner_of(workers: int | None, scheduler: str | None) -> Runner | None:
    """Who carries steps out, for ``workers`` processes or a Dask scheduler's address; None for
    neither."""
    if scheduler is not None:
        if workers is not None:
            raise InputError(
                "a Dask scheduler has its own workers; give --workers or --scheduler, not both"
            )
        found = DaskWorkers(scheduler)
        _client(scheduler).close()  # before anything is written
        return found
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

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` returns for each item, in order, as soon as it is there."""
        if not items:  # processes take seconds to start
            return
        count = min(self.count, len(items))
        context = get_context("spawn")  # a forked one would hold torch's and DuckDB's locks
        places: SimpleQueue[int] = context.SimpleQueue()
        for place in range(count):
            places.put(place)
        begin = (step, places, self.threads, _gpus())
        pool = ProcessPoolExecutor(count, context, _begin, begin)

        def submit(item: T) -> Future[R]:
            return pool.submit(_do, item)

        try:
            yield from in_order(submit, items, ahead=count, settle=settled)
        except BrokenProcessPool as error:
            raise LakeError(
                f"a worker process of {name} has ended without a word, as one does that the system "
                "kills for its memory; run this again to go on, with fewer workers"
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


def _begin(
    step: Callable[[Any], Any], places: "SimpleQueue[int]", threads: int, gpus: Sequence[str]
) -> None:
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
    return _step(item)


class DaskWorkers(Runner):
    """The workers of the Dask scheduler at ``address``, such as ``tcp://node1:8786``.

    Each has actlake installed, and reaches the lake's folder, or has a copy of its ``lake.toml``,
    at the path that it has here, and models too.
    """

    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def threads(self) -> int:
        return 1  # which is what Dask gives a worker, unless it is told otherwise

    def map(self, name: str, step: Callable[[T], R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` returns for each item, in order, as soon as it is there."""
        if not items:
            return
        client = _client(self.address)
        try:
            count = len(client.scheduler_info(n_workers=-1)["workers"])
            if not count:
                raise UnreachableError(
                    f"the Dask scheduler at {self.address} has no workers; start some with "
                    f"`dask worker {self.address}`"
                )

            def submit(item: T) -> Any:
                return client.submit(step, item, pure=False)

            yield from in_order(submit, items, ahead=count, settle=_waited)
        except _lost() as error:
            raise LakeError(
                f"workers of {self.address} were lost at {name}, each after the other, or the "
                "scheduler was; see their logs, and run this again to go on"
            ) from error
        finally:
            client.close()


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("dask is not installed; pip install 'actlake[dask]'") from None
    try:
        _knock(address)
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call] # theirs
    except (OSError, OverflowError, ValueError) as error:
        raise UnreachableError(
            f"no Dask scheduler answers at {address[:200] or 'no address'}; give an address such "
            "as tcp://node1:8786"
        ) from error


def _knock(address: str) -> None:
    """OSError or ValueError where nobody is: a client would go on trying in a thread."""
    place = urlsplit(address)
    if place.scheme in ("tcp", "tls"):
        create_connection((place.hostname, place.port or 0), CONNECT_SECONDS).close()
    elif place.scheme != "inproc":
        raise ValueError(f"no scheduler has an address such as {address!r}")


def _waited(waiting: Iterable[Any]) -> None:
    """What a Dask worker has begun cannot be stopped."""
    for future in waiting:
        with suppress(Exception):  # which was told of the first one already
            future.result()


def _lost() -> tuple[type[BaseException], ...]:
    """What Dask raises once nobody is left to do a step."""
    from distributed import CancelledError
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    return CancelledError, CommClosedError, KilledWorker
