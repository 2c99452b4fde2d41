"""Steps by the workers of a Dask scheduler, on any machines."""

import os
import sys
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from socket import create_connection, gethostname
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

from actlake.flows.loaded_model import forget_all
from actlake.flows.packed import packed, unpacked
from actlake.flows.runners import Runner, Step, finished, in_order
from actlake.storage.duck import one_line
from actlake.storage.errors import InputError, LakeError, UnreachableError

__all__ = ["DaskWorkers"]

T = TypeVar("T")
R = TypeVar("R")
CONNECT_SECONDS = 5
_unpacking = Lock()


class DaskWorkers(Runner):
    """The workers of the Dask scheduler at ``address``, such as ``tcp://node1:8786``.

    The scheduler and each worker have actlake installed; a worker reaches the lake's folder, or has
    a copy of its ``lake.toml``, at the path that it has here, and models too. Those of one machine
    that see the same GPUs take them by turns.
    """

    elsewhere = True

    def __init__(self, address: str) -> None:
        self.address = address if "://" in address else f"tcp://{address}"
        client = _client(self.address)
        try:
            self._most(client)  # before anything is written
        finally:
            client.close()

    def _most(self, client: Any) -> int:
        """Steps that may be under way: one is computed by a worker, and where it has more threads
        than one, the one before is written meanwhile."""
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            raise UnreachableError(
                f"the Dask scheduler at {self.address} has no workers; start some with "
                f"`dask worker {self.address} --nthreads 2`"
            )
        return sum(min(2, worker["nthreads"]) for worker in workers)

    @property
    def threads(self) -> int:
        return 1  # which is what Dask gives a worker, unless it is told otherwise

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` comes to for each item, in order, as soon as it is there."""
        if not items:
            return
        client = _client(self.address)
        # Packed, since the scheduler unpacks what tasks are made of, and it has no lake; with each
        # task, since what was sent to workers beforehand is lost with the last that had it.
        work = packed(step)

        places: dict[str, int] = {}

        def submit(item: T) -> Any:
            return client.submit(_one, work, places, item, pure=False)

        try:
            places |= _places(client.run(_sees))
            yield from in_order(submit, items, ahead=self._most(client), settle=_waited)
        except _lost() as error:
            raise LakeError(
                f"{name} was given up, since the scheduler at {self.address} or several workers, "
                "one after the other, were lost; see their logs, and run this again to go on"
            ) from error
        except (ImportError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "deserializ" not in str(error):
                raise
            raise LakeError(
                f"the scheduler at {self.address} or a worker of it cannot import what {name} "
                f"needs ({one_line(error)}); install the same version of actlake there"
            ) from error
        finally:
            with suppress(Exception):  # what went wrong before is the one to tell
                client.run(_forget)
            client.close()


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise InputError("dask is not installed; pip install 'actlake[dask]'") from None
    try:
        _knock(address)
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call] # theirs
    # TypeError of TLS without certificates.
    except (OSError, OverflowError, TypeError, ValueError) as error:
        raise UnreachableError(
            f"no Dask scheduler answers at {address[:200]}; give an address such as "
            "tcp://node1:8786"
        ) from error


def _knock(address: str) -> None:
    """OSError or ValueError where nobody is: a client would go on trying in a thread."""
    place = urlsplit(address)
    if place.scheme in ("tcp", "tls"):
        create_connection((place.hostname, place.port or 0), CONNECT_SECONDS).close()
    elif place.scheme != "inproc":
        raise ValueError(f"no scheduler has an address such as {address!r}")


def _sees() -> tuple[str, str | None, int]:
    """The machine of a worker, what it may see of its GPUs, and its process."""
    return gethostname(), os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def _places(seen: Mapping[str, tuple[str, str | None, int]]) -> dict[str, int]:
    """By address, the place of each worker's process among those that see the same GPUs.

    Who started workers may have dealt GPUs already, each its own (``CUDA_VISIBLE_DEVICES``), or all
    of them in another order, as dask-cuda does: then each takes the first that it sees.
    """
    processes = defaultdict[tuple[str, str | None], list[int]](list)
    places = {}
    for address, (machine, visible, process) in sorted(seen.items()):
        alike = processes[machine, visible]
        if process not in alike:
            alike.append(process)
        places[address] = alike.index(process)
    return places


def _one(step: bytes, places: Mapping[str, int], item: Any) -> Any:
    with _unpacking:
        work = unpacked(step)
    if "torch" in sys.modules:  # steps that compute nothing on a GPU need none
        from distributed import get_worker

        from actlake.flows.extraction.devices import take

        address = get_worker().address
        # One that came since has no place, and any will do.
        take(places[address] if address in places else crc32(address.encode()))
    return finished(work(item))


def _forget() -> None:
    """Let go of what a Dask worker, which lives on, holds of the step that it was sent last."""
    unpacked.cache_clear()
    forget_all()


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
