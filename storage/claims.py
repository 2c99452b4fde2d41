"""What needs real keys: claims on work, names, pins and file hashes, in ``claims.sqlite``.

DuckLake has no primary keys, so mutual exclusion lives beside it. This file is never the
catalog's: two SQLite libraries in one process drop each other's POSIX locks.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread, get_native_id

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from actlake.storage.durable import Digest, disk_error
from actlake.storage.errors import BusyError, FormatError, InputError, LakeError

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
    """The four keyed tables of the lake at ``root``; every method is one short transaction."""

    def __init__(self, root: Path) -> None:
        self._file = root / "claims.sqlite"
        url = sa.URL.create("sqlite", database=str(self._file))
        # No pool: a connection lives for one transaction, so threads and forks share none.
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        sa.event.listen(self._engine, "connect", _prepare)
        self._lock = Lock()
        self._held: dict[str, Claim] = {}
        self._idle = Event()

    def create(self) -> None:
        """Make the tables, unless another process has just done so."""
        with self._transaction() as connection:
            METADATA.create_all(connection)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._connection() as connection:
            # Take SQLite's write lock at once: a read first could not be upgraded under contention.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DatabaseError as error:
            if "locked" in str(error.orig):
                raise BusyError(f"{self._file} is locked; try again") from error
            raise disk_error(self._file, str(error.orig)) or FormatError(
                f"{self._file} cannot be used ({error.orig}); restore it from a backup of the lake"
            ) from error

    def take(self, key: str) -> Claim:
        """A claim on ``key``; BusyError if a live process holds it."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(CLAIMS).where(CLAIMS.c.key == key)).one_or_none()
            if row is not None and _alive(row.owner, row.heartbeat):
                raise BusyError(
                    f"{key} is being worked on by {row.owner}; wait for it, or end that process"
                )
            token = 1 if row is None else row.fencing_token + 1
            values = {"owner": _owner(), "fencing_token": token, "heartbeat": time.time()}
            statement = insert(CLAIMS).values(key=key, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values))
        return Claim(key, token)

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
                self._touch(self._held.values(), time.time())

    def _touch(self, claims: Iterable[Claim], heartbeat: float) -> None:
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
            row = connection.execute(sa.select(CLAIMS).where(CLAIMS.c.key == key)).one_or_none()
        if row is None or not _alive(row.owner, row.heartbeat):
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
        statement = insert(NAMES).values(values)
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
            connection.execute(
                insert(PINS).values(snapshot=snapshot, why=why).on_conflict_do_nothing()
            )

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
            for path, one in digests.items()
        ]
        if rows:
            statement = insert(FILES)
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


def _prepare(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]  # sqlite3.Connection


def _host() -> str:
    """This machine; two containers of one name are told apart, as they do not see each other."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
    except OSError:
        space = ""
    return f"{socket.gethostname()}:{space}"


def _owner() -> str:
    return f"{_host()}:{os.getpid()}:{_started(os.getpid())}:{get_native_id()}"


def _alive(owner: str, heartbeat: float) -> bool:
    """Whether the owner's process runs: known at once on this machine, by heartbeat elsewhere."""
    if heartbeat < time.time() - LAPSE_SECONDS:
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
