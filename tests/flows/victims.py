"""Flows that run in a child process, where something is done to them at a moment or at a step.

The children are forked from a server that has the heavy imports behind it, so that a kill costs a
fraction of a second.
"""

import math
import os
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from pkgutil import resolve_name
from threading import Lock, Thread
from typing import Any

from actlake.storage import pace
from tests.forked import CONTEXT, child

LONGEST_SECONDS = 300.0

Flow = Callable[[Path], object]

STEPS = {
    # Who may do it: claims, the record of the run, the snapshot that it reads.
    "claim": ("actlake.storage.claims:Claims", "take"),
    "start": ("actlake.storage.run", "_record_start"),
    "pin": ("actlake.storage.claims:Claims", "pin"),
    # Files: written aside, flushed, named.
    "write": ("actlake.storage.durable", "_write_all"),
    "fsync": ("os", "fsync"),
    "link": ("os", "link"),
    "unlink": ("pathlib:Path", "unlink"),
    "rename": ("pathlib:Path", "rename"),
    # Objects, where the lake has a bucket.
    "put": ("actlake.storage.bucket:Bucket", "create"),
    "erase": ("actlake.storage.bucket:Bucket", "delete"),
    # The commit: rows staged, the lock, the transaction, and what is written beside it.
    "stage": ("actlake.storage.catalog:Catalog", "stage_parquet"),
    "lock": ("fcntl", "flock"),
    "begin": ("actlake.storage.transaction:Transaction", "__init__"),
    "register": ("actlake.storage.transaction:Transaction", "register"),
    "name": ("actlake.storage.claims:Claims", "register_name"),
    "hashes": ("actlake.storage.claims:Claims", "record_files"),
    "commit": ("duckdb:DuckDBPyConnection", "execute", "COMMIT"),
    "land": ("actlake.storage.transaction:Transaction", "commit"),
    "record": ("actlake.storage.catalog:Catalog", "_record"),
    "unpin": ("actlake.storage.claims:Claims", "unpin"),
    "end": ("actlake.storage.run", "_record_end"),
    "release": ("actlake.storage.claims:Claims", "_touch"),
    # Of single flows.
    "checkpoint": ("actlake.flows.train", "_save_checkpoint"),
    "replace": ("pathlib:Path", "replace"),
    "swap": ("actlake.storage.compaction", "replace_files"),
    "remove": ("shutil", "rmtree"),
    # What costs: a document cut into rows, a shard captured, encoded, summarized, a batch learned.
    "spool": ("actlake.storage.spool", "_contents"),
    "capture": ("actlake.flows.shard_capture", "capture_shard"),
    "encode": ("actlake.flows.encode", "encode_shard"),
    "summarize": ("actlake.flows.summary_states", "_block"),
    "train": ("actlake.analytics.dictionaries.topk:Trainer", "step"),
}
"""Every step of the commit protocol, in its order, and of the flows: the function that is called
there, and its first argument where only that tells the step."""


@dataclass(frozen=True, slots=True)
class Attack:
    """What is done to a child; by default nothing."""

    after: float | None = None
    """SIGKILL after so many seconds of its processor time: a busy machine does not shift it."""
    at: str | None = None
    """``step:n`` is the moment when the n-th call of a step begins, ``step:n:end`` when it ends."""
    sends: signal.Signals = signal.SIGKILL
    """What it sends itself at that moment."""
    raises: int | None = None
    """Instead: the error number that this step fails with, from that call on."""
    largest_bytes: int | None = None
    """Of any file that it writes, as a quota has it."""
    flush_seconds: float = 0.0
    """What each flush takes longer."""
    lapse_seconds: float | None = None
    """After which silence takes a claim from its owner, as this child sees it."""
    patience: float = 0.0
    """Times as long as a commit takes, that the next one waits for more, see ``Pace``: by default
    each shard has its own, so that steps are as many each time."""


NOTHING = Attack()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    calls: Mapping[str, int]
    """How often each step began; known of a killed child too."""
    seconds: float = 0.0
    """Of processor time; 0 unless the flow came to its end."""
    error: str | None = None
    """Class and message of what the flow raised."""

    @property
    def killed(self) -> bool:
        return self.seconds == 0.0 and self.error is None


class Victim:
    """A child at work on ``flow``."""

    def __init__(self, flow: Flow, lake: Path, attack: Attack = NOTHING) -> None:
        self._messages, theirs = CONTEXT.Pipe(duplex=False)
        self._calls: Counter[str] = Counter()
        self.process: BaseProcess = child(_child, flow, lake, attack, theirs)
        self.process.start()
        theirs.close()

    def reach(self, step: str, call: int = 1) -> None:
        """Wait until a step has begun so often."""
        while self._calls[step] < call:
            self._next()

    def end(self) -> Ended:
        """Wait for its end."""
        seconds, error = 0.0, None
        try:
            while True:
                match self._next():
                    case float(found):
                        seconds = found
                    case str(text):
                        error = text
        except EOFError:
            pass
        self.process.join(LONGEST_SECONDS)
        assert self.process.exitcode in (0, -signal.SIGKILL), self.process.exitcode
        return Ended(self._calls, seconds, error)

    def _next(self) -> object:
        """What the child says next, but None where it says that a step begins."""
        assert self._messages.poll(LONGEST_SECONDS), "the child is silent"
        try:
            kind, value = self._messages.recv()
        except OSError as error:  # killed while it spoke
            raise EOFError from error
        if kind == "step":
            self._calls[value] += 1
            return None
        return value


def run(flow: Flow, lake: Path, **attack: Any) -> Ended:
    """Run ``flow`` in a child under that ``Attack``, which comes to its moment; how it ended."""
    ended = Victim(flow, lake, Attack(**attack)).end()
    if "at" in attack and "raises" not in attack:
        assert ended.killed, f"it never came to {attack['at']}: {ended}"
    if not attack:
        assert ended.seconds, f"the flow failed: {ended.error}"
    return ended


def _child(flow: Flow, lake: Path, attack: Attack, report: Connection) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    started, lock = time.process_time(), Lock()

    def say(kind: str, value: object) -> None:
        with lock:
            report.send((kind, value))

    _prepare(attack)
    for step in STEPS:
        _trace(step, attack, say)
    if attack.after is not None:
        Thread(target=_kill, args=(started + attack.after,), daemon=True).start()
    try:
        flow(lake)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        say("error", f"{type(error).__name__}: {error}")
    else:
        say("seconds", time.process_time() - started)


def _prepare(attack: Attack) -> None:
    pace.PATIENCE, pace.LONGEST_SECONDS = attack.patience, math.inf
    if attack.largest_bytes is not None:  # its signal is ignored in Python, so that writes fail
        resource.setrlimit(resource.RLIMIT_FSIZE, (attack.largest_bytes,) * 2)
    if attack.flush_seconds:
        fsync = os.fsync

        def slowly(descriptor: int) -> None:
            time.sleep(attack.flush_seconds)
            fsync(descriptor)

        os.fsync = slowly  # type: ignore[assignment]  # it takes a descriptor here
    if attack.lapse_seconds is not None:
        from actlake.storage import claims

        claims.LAPSE_SECONDS = attack.lapse_seconds
        claims.HEARTBEAT_SECONDS = attack.lapse_seconds / 5


def _kill(moment: float) -> None:
    while time.process_time() < moment:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


def _trace(step: str, attack: Attack, say: Callable[[str, object], None]) -> None:
    """Say each call of ``step``, and do there what the attack wants."""
    place, attribute, *first = STEPS[step]
    owner = resolve_name(place)
    original, calls = getattr(owner, attribute), 0
    name, number, *end = (attack.at or "::").split(":")
    fatal = int(number or 0) if name == step else 0

    def traced(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if first and args[1:2] != tuple(first):
            return original(*args, **kwargs)
        calls += 1
        say("step", step)
        if fatal and end != ["end"]:
            _strike(attack, calls, fatal)
        result = original(*args, **kwargs)
        if fatal and end == ["end"]:
            _strike(attack, calls, fatal)
        return result

    setattr(owner, attribute, traced)


def _strike(attack: Attack, calls: int, fatal: int) -> None:
    if attack.raises is not None and calls >= fatal:
        raise OSError(attack.raises, os.strerror(attack.raises))
    if attack.raises is None and calls == fatal:
        os.kill(os.getpid(), attack.sends)
