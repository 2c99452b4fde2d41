"""What needs real keys: claims on work, names, pins and file hashes, in ``claims.sqlite``.

DuckLake has no primary keys, so mutual exclusion lives beside it. This file is never the
catalog's: two SQLite libraries in one process drop each other's POSIX locks.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError, NameTakenError

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
        url = sa.URL.create("sqlite", database=str(root / "claims.sqlite"))
        # No pool: a connection lives for one transaction, so threads and forks share none.
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
        sa.event.listen(self._engine, "connect", _prepare)
        METADATA.create_all(self._engine)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            # Take SQLite's write lock at once: a read first could not be upgraded under contention.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

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
        done = Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                self._touch(claim, time.time())

        thread = Thread(target=beat, name=f"heartbeat {key}", daemon=True)
        thread.start()
        try:
            yield claim
        finally:
            done.set()
            thread.join()
            self._touch(claim, 0.0)

    def is_current(self, claim: Claim) -> bool:
        """Whether nobody has taken ``claim`` over."""
        query = sa.select(CLAIMS.c.fencing_token).where(CLAIMS.c.key == claim.key)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar() == claim.fencing_token

    def is_alive(self, key: str) -> bool:
        """Whether a live process holds a claim on ``key``."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(CLAIMS).where(CLAIMS.c.key == key)).one_or_none()
        return row is not None and _alive(row.owner, row.heartbeat)

    def _touch(self, claim: Claim, heartbeat: float) -> None:
        mine = (CLAIMS.c.key == claim.key) & (CLAIMS.c.fencing_token == claim.fencing_token)
        with self._transaction() as connection:
            connection.execute(sa.update(CLAIMS).where(mine).values(heartbeat=heartbeat))

    def register_name(self, kind: str, name: str, fingerprint: str, new_id: str) -> str:
        """The id behind a name: ``new_id`` if it was free, the old one if it means the same.

        NameTakenError if it is registered with another fingerprint.
        """
        values = {"kind": kind, "name": name, "id": new_id, "fingerprint": fingerprint}
        with self._transaction() as connection:
            connection.execute(insert(NAMES).values(values).on_conflict_do_nothing())
            same = (NAMES.c.kind == kind) & (NAMES.c.name == name)
            row = connection.execute(sa.select(NAMES).where(same)).one()
        if row.fingerprint != fingerprint:
            raise NameTakenError(
                f"the {kind} name {name!r} is taken: it was made from other inputs or settings; "
                "choose another name"
            )
        return str(row.id)

    def release_name(self, kind: str, name: str) -> None:
        """Make a name free again, after what it named is gone."""
        same = (NAMES.c.kind == kind) & (NAMES.c.name == name)
        with self._transaction() as connection:
            connection.execute(sa.delete(NAMES).where(same))

    def pin(self, snapshot: int, why: str) -> None:
        """Keep ``snapshot`` alive for the reason ``why``, until it is unpinned."""
        with self._transaction() as connection:
            connection.execute(insert(PINS).values(snapshot=snapshot, why=why).on_conflict_do_nothing())

    def unpin(self, why: str) -> None:
        """Drop the pins of the reason ``why``."""
        with self._transaction() as connection:
            connection.execute(sa.delete(PINS).where(PINS.c.why == why))

    def pins(self) -> list[tuple[int, str]]:
        """Every (snapshot, why), by snapshot."""
        with self._engine.connect() as connection:
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
        with self._transaction() as connection:
            for path in paths:
                connection.execute(sa.delete(FILES).where(FILES.c.path == path))

    def files(self) -> dict[str, Digest]:
        """What every recorded file must be, by its path in the lake."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(FILES).order_by(FILES.c.path))
            return {row.path: Digest(row.bytes, row.xxh3_128) for row in rows}


def _prepare(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # we say BEGIN ourselves
    for pragma in ("journal_mode = WAL", "busy_timeout = 30000", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]  # sqlite3.Connection


def _owner() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


def _alive(owner: str, heartbeat: float) -> bool:
    """Whether the owner's process runs: known at once on this machine, by heartbeat elsewhere."""
    if heartbeat < time.time() - LAPSE_SECONDS:
        return False
    host, pid, started = owner.rsplit(":", 2)
    return host != socket.gethostname() or _started(int(pid)) == started


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
