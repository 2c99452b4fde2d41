"""Runs: one execution of a flow, its key, its claims, and everything it commits."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa

from actlake.storage.catalog import Catalog, author
from actlake.storage.claims import Claim, Claims
from actlake.storage.duck import one_line
from actlake.storage.durable import Digest
from actlake.storage.elsewhere import joined
from actlake.storage.errors import BusyError, LakeError
from actlake.storage.fields import arrow_schema
from actlake.storage.handle import Handle, first_row
from actlake.storage.http_faults import http_fault
from actlake.storage.keys import Json, fingerprint
from actlake.storage.names import NAMED, means_the_same
from actlake.storage.settings import FORMAT, actlake_version, refuse_links
from actlake.storage.snapshots import current_snapshot
from actlake.storage.store import Store
from actlake.storage.transaction import Replaced, StagedRows, Transaction

__all__ = ["Run", "claimed", "pin_of", "started_run"]

T = TypeVar("T")
POLL_SECONDS = 0.5
_Started = tuple[dict[str, Any], StagedRows]
"""The row of a run, and its file."""


class Run:
    """A flow at work: the only way into the lake's tables."""

    def __init__(
        self,
        run: str,
        key: str,
        flow: str,
        root: Path,
        catalog: Catalog,
        claims: Claims,
        claim: Claim,
        resources: ExitStack,
    ) -> None:
        self.run = run
        self.key = key
        self.flow = flow
        self.root = root
        self.catalog = catalog
        self.claims = claims
        self.claim = claim
        self.done = False
        """Whether an earlier run with the same key has completed, so that nothing is left to do."""
        self.snapshot_after: int | None = None
        self._holding = {claim.key: claim}
        self._resources = resources

    def __reduce__(self) -> tuple[Any, ...]:
        held = tuple(self._holding.values())
        return joined, (self.root, self.run, self.key, self.flow, self.claim, held)

    @property
    def store(self) -> Store:
        """Where the lake's files are."""
        return self.catalog.store

    def hold(self, *keys: str) -> None:
        """Until this run ends, no other works on ``keys``; waits for a live one that does.

        Names are held while what they stand for is written, since runs with different keys may
        make the same thing. Call it once a run, with all that it needs, or two may wait for
        each other.
        """
        for key in sorted(set(keys) - self._holding.keys()):
            held = claimed(self.catalog, self.claims, key)
            self._holding[key] = self._resources.enter_context(held)

    def commit(
        self,
        change: Callable[[Transaction], T],
        message: str,
        files: Mapping[str, Digest] | None = None,
        *,
        staged: Sequence[StagedRows] = (),
        folders: Sequence[Path] = (),
    ) -> T:
        """Run ``change`` in one transaction; refused if another process took the work over.

        What is in ``staged`` and ``folders`` is removed if the commit does not take it in.
        """
        result, snapshot = self.catalog.commit(
            change,
            f"{self.flow} {self.run}: {message}",
            claims=list(self._holding.values()),
            staged=staged,
            folders=folders,
            files=files,
        )
        self.snapshot_after = snapshot or self.snapshot_after
        return result

    def examine(self, look: Callable[[Transaction], T]) -> T:
        """Run ``look`` under the commit lock, at the newest snapshot, and change no table."""
        return self.catalog.examine(look, claims=list(self._holding.values()))

    def exists(self, table: str, column: str, name: str, fingerprint: str) -> bool:
        """Whether ``table`` has something of that name; NameTakenError if it is another thing."""
        # Table and column are ours, never a user's.
        query = f"SELECT fingerprint FROM {table} WHERE {column} = $name"  # noqa: S608
        found = self.examine(lambda transaction: transaction.rows(query, name=name))
        return means_the_same(column, name, fingerprint, found)

    def append(
        self,
        tables: Mapping[str, pa.Table],
        message: str,
        *,
        check: Callable[[Transaction], None] | None = None,
        staged: Sequence[StagedRows] = (),
        folders: Sequence[Path] = (),
        files: Mapping[str, Digest] | None = None,
    ) -> None:
        """Add rows to several tables at once, or to none.

        check
            Runs first in the transaction and raises to refuse it.
        staged
            Rows that were staged before, beside ``tables``.

        BusyError if something of a name that is to be made has just been made by another run.
        """
        fresh = self.catalog.stage_all(tables, beside=staged)

        def change(transaction: Transaction) -> None:
            if check is not None:
                check(transaction)
            for table in NAMED.keys() & tables.keys():
                self._register_names(transaction, table, tables[table])
            for one in (*fresh, *staged):
                transaction.register(one)

        self.commit(change, message, files, staged=(*fresh, *staged), folders=folders)

    def _register_names(self, transaction: Transaction, table: str, rows: pa.Table) -> None:
        kind = NAMED[table]
        query = f"SELECT {kind} FROM {table} WHERE {kind} = $name"  # noqa: S608 ours
        for row in rows.to_pylist():
            if transaction.rows(query, name=row[kind]):
                raise BusyError(
                    f"another run has just made the {kind} {row[kind]}; run this again to see "
                    "what is left to do"
                )
            id_ = row.get("id", row["fingerprint"])
            self.claims.register_name(kind, row[kind], row["fingerprint"], id_)


@contextmanager
def started_run(
    flow: str,
    parameters: Mapping[str, Json],
    inputs: Mapping[str, str],
    *,
    root: Path,
    catalog: Catalog,
    claims: Claims,
    reader: Callable[[], Handle],
    prefect_run: str | None = None,
    prepare: Callable[[], object] | None = None,
) -> Iterator[Run]:
    """A run of ``flow``, recorded in ``runs``; ``done`` if its key has completed before.

    inputs
        Name and fingerprint of everything that the flow reads: with the parameters, its key.
    prefect_run
        Id of the Prefect flow run that carries it out.
    prepare
        Called where there is something to do, when nobody else is at it and nothing is recorded
        yet: what it refuses leaves no trace.

    Waits while a live process runs the same key; BusyError if this very thread does. The
    snapshot that it reads stays pinned until it ends; one that ends by an exception is recorded
    as failed, and one that was killed as crashed, by the run that follows it.
    """
    key = fingerprint(flow, parameters, inputs, FORMAT)
    refuse_links(root)  # that came after the lake was opened
    with ExitStack() as resources:
        claim = resources.enter_context(claimed(catalog, claims, f"run:{key}"))
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        name = f"{stamp[:-3]}-{uuid4().hex[:4]}"
        run = Run(name, key, flow, root, catalog, claims, claim, resources)
        query = "SELECT count(*) FROM runs WHERE key = $key AND state = 'completed'"
        if first_row(reader().execute(query, {"key": key})) != (0,):
            run.done = True
            yield run
            return
        if prepare is not None:
            prepare()
        try:
            snapshot = current_snapshot(reader())
            started = _record_start(run, parameters, inputs, snapshot, prefect_run)
        except BaseException:
            with suppress(LakeError):
                claims.unpin(pin_of(run.run))
            raise
        try:
            yield run
        except BaseException as error:
            # Whatever happens here, the first error is the one to tell.
            with suppress(LakeError, OSError, duckdb.Error):
                _record_end(run, started, "failed", _one_line(error))
            if isinstance(error, duckdb.IOException) and (away := http_fault(one_line(error))):
                raise away from error
            raise
        _record_end(run, started, "completed", None)


@contextmanager
def claimed(catalog: Catalog, claims: Claims, key: str) -> Iterator[Claim]:
    """A claim on ``key``, as soon as no live process holds it."""
    with ExitStack() as resources:
        claim = None
        while claim is None:
            while not claims.is_free(key):
                time.sleep(POLL_SECONDS)
            # Under the commit lock, so that no commit of a silent owner is under way as it loses
            # its claim: that commit is done, or will find that it came too late.
            with catalog.locked():
                if claims.is_free(key):
                    claim = resources.enter_context(claims.held(key))
        yield claim


def _record_start(
    run: Run,
    parameters: Mapping[str, Json],
    inputs: Mapping[str, str],
    snapshot: int,
    prefect_run: str | None,
) -> _Started:
    row = {
        "run": run.run,
        "key": run.key,
        "flow": run.flow,
        "parameters": json.dumps(parameters, sort_keys=True),
        "state": "running",
        "started": _now(),
        "snapshot_before": snapshot,
        "inputs": json.dumps(inputs, sort_keys=True),
        "code_version": actlake_version(),
        "host": socket.gethostname(),
        "prefect_run": prefect_run,
        "author": author(),
    }
    staged = run.catalog.stage("runs", pa.Table.from_pylist([row], arrow_schema("runs")))

    def change(transaction: Transaction) -> list[tuple[object, ...]]:
        # Under the lock, so that whoever has it sees no pin of a live run that is not recorded.
        run.claims.pin(snapshot, pin_of(run.run))
        # We hold the key's claim, so whatever still says running is dead.
        dead = "SELECT run FROM runs WHERE key = $key AND state = 'running'"
        crashed = transaction.rows(dead, key=run.key)
        if crashed:
            statement = "UPDATE runs SET state = 'crashed' WHERE key = $key AND state = 'running'"
            transaction.execute(statement, key=run.key)
        transaction.register(staged)
        return crashed

    message = f"{run.flow} {run.run}: started"
    crashed, _ = run.catalog.commit(change, message, claims=[run.claim], staged=[staged])
    for (one,) in crashed:
        run.claims.unpin(pin_of(str(one)))
    return row, staged


def _record_end(run: Run, started: _Started, state: str, error: str | None) -> None:
    row, first = started
    facts = {
        "state": state,
        "error": error,
        "ended": _now(),
        "snapshot_after": run.snapshot_after,
    }
    last = run.catalog.stage("runs", pa.Table.from_pylist([row | facts], arrow_schema("runs")))

    def change(transaction: Transaction) -> None:
        appender = transaction.appender
        if appender is not None and appender.is_live("runs", first.path.name):
            # An update would leave a list of deleted rows, which every later look at runs reads.
            transaction.replace(Replaced("runs", [first.uri], 1), [last])
        else:  # merged with those of other runs meanwhile
            those = ", ".join(f"{name} = ${name}" for name in facts)
            transaction.execute(f"UPDATE runs SET {those} WHERE run = $run", run=run.run, **facts)  # noqa: S608

    # Before, since nobody would look for the pin of a run that has ended.
    run.claims.unpin(pin_of(run.run))
    message = f"{run.flow} {run.run}: {state}"
    run.catalog.commit(change, message, claims=[run.claim], staged=[last])


def pin_of(run: str) -> str:
    """Why the snapshot that a run reads is pinned."""
    return f"read by run {run}"


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
