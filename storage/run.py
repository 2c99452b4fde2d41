"""Runs: one execution of a flow, its key, its claim, and everything it commits."""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import duckdb
import pyarrow as pa

from actlake.storage.catalog import Catalog, StagedRows, Transaction
from actlake.storage.claims import Claim, Claims
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError, NameTakenError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import Json, fingerprint
from actlake.storage.settings import FORMAT, actlake_version

__all__ = ["Run", "started_run"]

T = TypeVar("T")
POLL_SECONDS = 0.5


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

    def commit(
        self,
        change: Callable[[Transaction], T],
        message: str,
        files: Mapping[str, Digest] | None = None,
    ) -> T:
        """Run ``change`` in one transaction; refused if another process took the work over."""
        text = f"{self.flow} {self.run}: {message}"
        result, snapshot = self.catalog.commit(change, text, claim=self.claim, files=files)
        self.snapshot_after = snapshot
        return result

    def examine(self, look: Callable[[Transaction], T]) -> T:
        """Run ``look`` under the commit lock, at the newest snapshot, and change no table."""
        return self.catalog.examine(look, claim=self.claim)

    def exists(self, table: str, column: str, name: str, fingerprint: str) -> bool:
        """Whether ``table`` has something of that name; NameTakenError if it is another thing."""
        # Table and column are ours, never a user's.
        query = f"SELECT fingerprint FROM {table} WHERE {column} = $name"  # noqa: S608
        found = self.examine(lambda transaction: transaction.rows(query, name=name))
        if found and found != [(fingerprint,)]:
            raise NameTakenError(
                f"the {column} name {name!r} is taken: it was made from other inputs or settings; "
                "choose another name"
            )
        return bool(found)

    def append(
        self,
        tables: Mapping[str, pa.Table],
        message: str,
        *,
        check: Callable[[Transaction], None] | None = None,
        staged: tuple[StagedRows, ...] = (),
        files: Mapping[str, Digest] | None = None,
    ) -> None:
        """Add rows to several tables at once, or to none.

        check
            Runs first in the transaction and raises to refuse it.
        staged
            Rows that were staged before, beside ``tables``.
        """
        fresh = [self.catalog.stage(name, rows) for name, rows in tables.items() if len(rows)]

        def change(transaction: Transaction) -> None:
            if check is not None:
                check(transaction)
            for one in (*fresh, *staged):
                transaction.register(one)

        self.commit(change, message, files)


@contextmanager
def started_run(
    flow: str,
    parameters: Mapping[str, Json],
    inputs: Mapping[str, str],
    *,
    root: Path,
    catalog: Catalog,
    claims: Claims,
    reader: Callable[[], duckdb.DuckDBPyConnection],
) -> Iterator[Run]:
    """A run of ``flow``, recorded in ``runs``; ``done`` if its key has completed before.

    inputs
        Name and fingerprint of everything that the flow reads: with the parameters, its key.

    Waits while a live process runs the same key. The snapshot that it reads stays pinned until
    it ends; one that ends by an exception is recorded as failed, and one that was killed as
    crashed, by the run that follows it.
    """
    key = fingerprint(flow, parameters, inputs, FORMAT)
    with _claimed(claims, f"run:{key}") as claim:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        run = Run(f"{stamp}-{uuid4().hex[:6]}", key, flow, root, catalog, claims, claim)
        query = "SELECT count(*) FROM runs WHERE key = $key AND state = 'completed'"
        if reader().execute(query, {"key": key}).fetchone() != (0,):
            run.done = True
            yield run
            return
        snapshot = _current_snapshot(reader())
        claims.pin(snapshot, f"read by run {run.run}")
        try:
            _record_start(run, parameters, inputs, snapshot)
            try:
                yield run
            except BaseException as error:
                _record_end(run, "failed", _one_line(error))
                raise
            _record_end(run, "completed", None)
        finally:
            claims.unpin(f"read by run {run.run}")


@contextmanager
def _claimed(claims: Claims, key: str) -> Iterator[Claim]:
    while True:
        while claims.is_alive(key):
            time.sleep(POLL_SECONDS)
        holding = claims.held(key)
        try:
            claim = holding.__enter__()
        except BusyError:  # somebody was faster
            continue
        break
    try:
        yield claim
    finally:
        holding.__exit__(None, None, None)


def _record_start(
    run: Run, parameters: Mapping[str, Json], inputs: Mapping[str, str], snapshot: int
) -> None:
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
    }
    staged = run.catalog.stage("runs", pa.Table.from_pylist([row], arrow_schema("runs")))

    def change(transaction: Transaction) -> None:
        # We hold the key's claim, so whatever still says running is dead.
        transaction.execute(
            "UPDATE runs SET state = 'crashed' WHERE key = $key AND state = 'running'", key=run.key
        )
        transaction.register(staged)

    run.catalog.commit(change, f"{run.flow} {run.run}: started", claim=run.claim)


def _record_end(run: Run, state: str, error: str | None) -> None:
    def change(transaction: Transaction) -> None:
        transaction.execute(
            "UPDATE runs SET state = $state, error = $error, ended = $ended, "
            "snapshot_after = $snapshot WHERE run = $run",
            state=state,
            error=error,
            ended=_now(),
            snapshot=run.snapshot_after,
            run=run.run,
        )

    run.catalog.commit(change, f"{run.flow} {run.run}: {state}", claim=run.claim)


def _current_snapshot(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT id FROM lake.current_snapshot()").fetchone()
    return 0 if row is None else int(row[0])


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
