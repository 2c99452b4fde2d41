"""What needs real keys: claims on work, names, pins and file hashes.

DuckLake has no primary keys, so mutual exclusion lives beside it, in the same database.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread, get_native_id
from typing import Any

import sqlalchemy as sa

from actlake.storage.database import Database
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError, InputError, LakeError

__all__ = ["Claim", "Claims"]

HEARTBEAT_SECONDS = 5.0
LAPSE_SECONDS = 60.0
"""A claim whose owner has been silent this long belongs to whoever takes it."""

METADATA = sa.MetaData()
CLAIMS = sa.Table(
    "claims",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("fencing_token", sa.BigInteger, nullable=False),
    sa.Column("heartbeat", sa.Double, nullable=False),
)
NAMES = sa.Table(
    "names",
    METADATA,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
)
PINS = sa.Table(
    "pins",
    METADATA,
    sa.Column("snapshot", sa.BigInteger, primary_key=True),
    sa.Column("why", sa.Text, primary_key=True),
)
FILES = sa.Table(
    "files",
    METADATA,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("xxh3_128", sa.Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do one piece of work, until somebody takes it over."""

    key: str
    fencing_token: int
    """Grows with every change of owner; a commit with an old one is refused."""


class Claims:
    """The four keyed tables in ``database``; every method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = Lock()
        self._held: dict[str, Claim] = {}
        self._idle = Event()

    def create(self) -> None:
        """Make the tables, unless another process has just done so."""
        self.database.prepare()
        with self._transaction() as connection:
            METADATA.create_all(connection)

    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        return self.database.transaction()

    def _connection(self) -> AbstractContextManager[sa.Connection]:
        return self.database.connection()

    def take(self, key: str) -> Claim:
        """A claim on ``key``; BusyError if a live process holds it."""
        with self._transaction() as connection:
            row = self._claim(connection, key)
            if row is not None and _alive(row.owner, row.silent):
                raise _busy(key, row.owner)
            token = 1 if row is None else row.fencing_token + 1
            clock = self.database.clock()
            values = {"owner": _owner(), "fencing_token": token, "heartbeat": clock}
            statement = self.database.insert(CLAIMS).values(key=key, **values)
            # Only if it is still as it was read: Postgres lets two read at the same time.
            unchanged = CLAIMS.c.fencing_token == token - 1
            statement = statement.on_conflict_do_update(
                index_elements=["key"], set_=values, where=unchanged
            )
            if connection.execute(statement.returning(CLAIMS.c.key)).one_or_none() is None:
                raise _busy(key, "another process")
        return Claim(key, token)

    def _claim(self, connection: sa.Connection, key: str) -> Any:
        """The row of ``key``, with the seconds that its owner has been silent; None if none."""
        silent = (self.database.clock() - CLAIMS.c.heartbeat).label("silent")
        query = sa.select(CLAIMS.c.owner, CLAIMS.c.fencing_token, silent)
        return connection.execute(query.where(CLAIMS.c.key == key)).one_or_none()

    @contextmanager
    def held(self, key: str) -> Iterator[Claim]:
        """A claim on ``key``, kept alive by a thread until the block ends."""
        claim = self.take(key)
        with self._lock:
            if not self._held:
                self._idle = Event()
                Thread(target=self._beat, args=(self._idle,), name="heartbeat", daemon=True).start()
            self._held[key] = claim
        try:
            yield claim
        finally:
            with self._lock:
                del self._held[key]
                if not self._held:
                    self._idle.set()
                with suppress(LakeError):  # then it lapses, and what went wrong before matters more
                    self._touch([claim], 0.0)

    def _beat(self, idle: Event) -> None:
        """One thread for all claims, since an extraction may hold a hundred."""
        while not idle.wait(HEARTBEAT_SECONDS):
            with self._lock, suppress(LakeError):  # one that is missed is no lapse
                self._touch(self._held.values(), self.database.clock())

    def _touch(self, claims: Iterable[Claim], heartbeat: float | sa.ColumnElement[float]) -> None:
        mine = (CLAIMS.c.key == sa.bindparam("k")) & (CLAIMS.c.fencing_token == sa.bindparam("t"))
        rows = [{"k": claim.key, "t": claim.fencing_token} for claim in claims]
        if rows:
            with self._transaction() as connection:
                statement = sa.update(CLAIMS).where(mine).values(heartbeat=heartbeat)
                connection.execute(statement, rows)

    def lost(self, claims: Sequence[Claim]) -> list[Claim]:
        """Those of ``claims`` that somebody has taken over."""
        keys = [claim.key for claim in claims]
        query = sa.select(CLAIMS.c.key, CLAIMS.c.fencing_token).where(CLAIMS.c.key.in_(keys))
        with self._connection() as connection:
            current = {(row.key, row.fencing_token) for row in connection.execute(query)}
        return [claim for claim in claims if (claim.key, claim.fencing_token) not in current]

    def is_free(self, key: str) -> bool:
        """Whether no live process holds a claim on ``key``.

        BusyError if this very thread does, since waiting for it would never end.
        """
        with self._connection() as connection:
            row = self._claim(connection, key)
        if row is None or not _alive(row.owner, row.silent):
            return True
        if row.owner == _owner():
            raise BusyError(
                f"this thread is at work on {key} already; close the writer or leave the run "
                "that it has open"
            )
        return False

    def register_name(self, kind: str, name: str, fingerprint: str, id_: str) -> None:
        """Remember what a name means. Call it in the commit that makes the name: under its lock,
        and after the tables were seen to lack the name, what stood here is left of a crash."""
        values = {"kind": kind, "name": name, "id": id_, "fingerprint": fingerprint}
        statement = self.database.insert(NAMES).values(values)
        new = {"id": statement.excluded.id, "fingerprint": statement.excluded.fingerprint}
        with self._transaction() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["kind", "name"], set_=new)
            )

    def release_name(self, kind: str, name: str) -> None:
        """Make a name free again, after what it named is gone."""
        same = (NAMES.c.kind == kind) & (NAMES.c.name == name)
        with self._transaction() as connection:
            connection.execute(sa.delete(NAMES).where(same))

    def names(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Id and fingerprint of every name, by (kind, name)."""
        with self._connection() as connection:
            rows = connection.execute(sa.select(NAMES).order_by(NAMES.c.kind, NAMES.c.name))
            return {(row.kind, row.name): (row.id, row.fingerprint) for row in rows}

    def pin(self, snapshot: int, why: str) -> None:
        """Keep ``snapshot`` alive until ``why`` is unpinned; InputError if that is blank."""
        if not why.strip():
            raise InputError("a pin needs a reason, by which it can be found; say what it is for")
        with self._transaction() as connection:
            statement = self.database.insert(PINS).values(snapshot=snapshot, why=why)
            connection.execute(statement.on_conflict_do_nothing())

    def unpin(self, why: str) -> None:
        """Drop the pins of the reason ``why``."""
        with self._transaction() as connection:
            connection.execute(sa.delete(PINS).where(PINS.c.why == why))

    def pins(self) -> list[tuple[int, str]]:
        """Every (snapshot, why), by snapshot."""
        with self._connection() as connection:
            rows = connection.execute(sa.select(PINS).order_by(PINS.c.snapshot, PINS.c.why))
            return [(row.snapshot, row.why) for row in rows]

    def record_files(self, digests: Mapping[str, Digest]) -> None:
        """Remember what each file, named by its path in the lake, must be."""
        rows = [
            {"path": path, "bytes": one.bytes, "xxh3_128": one.xxh3_128}
            for path, one in sorted(digests.items())  # two who lock rows must do so in one order
        ]
        if rows:
            statement = self.database.insert(FILES)
            new = {"bytes": statement.excluded.bytes, "xxh3_128": statement.excluded.xxh3_128}
            statement = statement.on_conflict_do_update(index_elements=["path"], set_=new)
            with self._transaction() as connection:
                connection.execute(statement, rows)

    def forget_files(self, paths: Iterable[str]) -> None:
        """Drop the hashes of ``paths``."""
        rows = [{"p": path} for path in paths]
        if rows:
            with self._transaction() as connection:
                connection.execute(sa.delete(FILES).where(FILES.c.path == sa.bindparam("p")), rows)

    def files(self) -> dict[str, Digest]:
        """What every recorded file must be, by its path in the lake."""
        with self._connection() as connection:
            rows = connection.execute(sa.select(FILES).order_by(FILES.c.path))
            return {row.path: Digest(row.bytes, row.xxh3_128) for row in rows}


def _busy(key: str, owner: str) -> BusyError:
    return BusyError(f"{key} is being worked on by {owner}; wait for it, or end that process")


def _host() -> str:
    """This machine since it was started; two containers, or two machines of one name, are told
    apart, as they do not see each other's processes."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
        start = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        space = start = ""
    return f"{socket.gethostname()}:{start}:{space}"


def _owner() -> str:
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}:{get_native_id()}"


def _alive(owner: str, silent: float) -> bool:
    """Whether the owner's process runs: known at once on this machine, elsewhere by how many
    seconds it has been ``silent``."""
    if silent > LAPSE_SECONDS:
        return False
    host, pid, started, _thread = owner.rsplit(":", 3)
    return host != _host() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """When a process of this machine started, so that a reused id is told apart; "" if it ended."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if state in "ZX" else fields[18]
    try:  # without /proc: signal 0 asks whether it exists
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"
