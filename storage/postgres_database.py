"""A catalog in Postgres, for many machines that share the data files, in a bucket or a folder.

DuckDB's library and psycopg read the same words, as libpq does, and take what is secret, or differs
from machine to machine, from the environment: ``PGUSER``, ``PGPASSWORD``, ``PGPASSFILE``. Each lake
has a schema of its own. Locks belong to sessions, so connect to the server itself or through a pool
that keeps sessions apart.
"""

import hashlib
import os
import re
import shlex
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from actlake.storage.database import Database
from actlake.storage.errors import BusyError, FormatError, InputError, LakeError, UnreachableError

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresDatabase", "check_words"]

OLDEST = 120_000
"""Server version that DuckLake asks for, as libpq numbers it: 12.0."""
LOCK_SECONDS = 120
DEFAULTS = {
    "application_name": "actlake",
    "connect_timeout": "10",
    # A machine that is gone without a word frees its locks within a minute, not in two hours.
    "keepalives_idle": "20",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
SECRET = re.compile(r"password|secret", re.IGNORECASE)
_LEAD = re.compile(r".*?\bconnection to server [^:]* failed: (?:FATAL: *)?", re.DOTALL)

LOST = (
    "connection to server",
    "could not receive data from server",
    "could not send data to server",
    "could not translate host name",
    "failed to resolve host",
    "consuming input failed",
    "no connection to the server",
    "server closed the connection",
    "the connection is closed",
    "the connection is lost",
    "SSL connection has been closed",
    "terminating connection",
    "timeout expired",
    "the database system is",
    "unsuccessful query result",
)
"""How libpq, psycopg and DuckDB say that no answer came."""

REMEDIES = {
    "permission denied": "let the role (PGUSER) create schemas in the database and use this lake's",
    "password": "set PGUSER and PGPASSWORD, or PGPASSFILE",
    "fe_sendauth": "set PGUSER and PGPASSWORD, or PGPASSFILE",
    "authentication": "set PGUSER and PGPASSWORD, or PGPASSFILE",
    "role ": "set PGUSER to a role that there is",
    "pg_hba.conf": "let this machine and role in there",
    "database ": "create the database, or correct lake.toml",
    "too many": "let the server take more connections",
    "read-only transaction": "connect to the primary, not to a replica",
}
"""What to do, by what the server complains of; the first that is found in it."""


def check_words(words: str) -> dict[str, str]:
    """``words`` as libpq reads them, by name; InputError if they are none, or hold a secret."""
    try:
        if find_spec("psycopg") is None:
            raise ImportError
        from psycopg import ProgrammingError, conninfo
    except ImportError:
        raise LakeError(
            "a catalog in Postgres needs psycopg; run `pip install 'actlake[postgres]'`"
        ) from None
    try:
        found = {name: str(value) for name, value in conninfo.conninfo_to_dict(words).items()}
    except ProgrammingError:  # which may repeat a secret
        raise InputError(
            "the catalog's database is named in words of libpq, such as "
            "`dbname=lake host=db.example.org port=5432`; correct them"
        ) from None
    for name in found:
        if SECRET.search(name):
            raise InputError(
                f"the catalog's words hold {name}, which would be stored; leave it out and set "
                "PGPASSWORD or PGPASSFILE"
            )
    if "dbname" not in found:
        raise InputError("the catalog's words lack dbname=…; name the database")
    return found


class PostgresDatabase(Database):
    """The schema ``schema`` of the Postgres database that ``words`` name, as libpq reads them."""

    extensions = ("ducklake", "postgres_scanner")
    asks = "postgres_query"
    by_bytes = 'COLLATE "C"'
    names = ("Postgres", "Postgres")
    transient = (
        "Transaction conflict",
        "maximum retry count",
        "Failed to commit",
        "duplicate key value violates unique constraint",
        *LOST,
    )

    def __init__(self, words: str, schema: str) -> None:
        given: dict[str, Any] = {**DEFAULTS, **check_words(words)}
        from psycopg import connect
        from psycopg.conninfo import make_conninfo

        conninfo = make_conninfo("", **given)

        self.schema = schema
        self.words = words
        self.catalog = self.keyed = f"Postgres ({words}, schema {schema})"
        self.source = f"postgres:{conninfo}"
        self.options = (f"META_SCHEMA '{schema}'",)
        engine = sa.create_engine(
            "postgresql+psycopg://",
            creator=lambda: connect(conninfo),
            pool_size=2,
            max_overflow=-1,
            pool_pre_ping=True,  # a connection that was lost meanwhile is replaced
        )
        _refuse_old(engine, self.catalog)
        _forget_in_children(engine)
        weakref.finalize(self, engine.dispose)
        self.engine = engine.execution_options(schema_translate_map={None: schema})

    def insert(self, table: sa.Table) -> postgresql.Insert:
        return postgresql.insert(table)

    def clock(self) -> sa.ColumnElement[float]:
        # The server's: those of the machines may be minutes apart.
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        key = self._lock_key(name)
        with self.connection() as connection:
            # Without a transaction, which would hold back the server's cleaning while we work.
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
            try:
                yield
            finally:
                with suppress(sa.exc.DBAPIError):  # lost, and the lock with it
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))

    def _lock_key(self, name: str) -> int:
        digest = hashlib.sha256(f"{self.schema}/{name}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    def reach(self) -> None:
        with self.connection():
            pass

    def prepare(self) -> None:
        with self.transaction() as connection:
            connection.execute(sa.schema.CreateSchema(self.schema, if_not_exists=True))

    def check(self) -> None:
        with self.connection() as connection:
            if not sa.inspect(connection).has_schema(self.schema):
                raise FormatError(
                    f"{self.catalog} holds no such schema; see that lake.toml names the right "
                    "database, or restore the schema with pg_restore"
                )

    def faults(self) -> Iterator[tuple[str, str]]:
        """None: the server checks its pages itself, as they are read."""
        yield from ()

    def backup_elsewhere(self) -> str | None:
        words = shlex.quote(f"--dbname={self.words}")
        return f"`pg_dump --format=custom --schema={self.schema} --file=catalog.dump {words}`"

    def fault(self, said: str, place: str) -> LakeError | None:
        lost = any(text in said for text in LOST)
        said = " ".join(_LEAD.sub("", said).split())
        if "lock timeout" in said:
            return BusyError(
                f"{place} has been locked for {LOCK_SECONDS} s; see which process holds it, and "
                "try again"
            )
        if "deadlock" in said or "could not serialize" in said:
            return BusyError(f"{place} is busy ({said}); try again")
        if "the database system is" not in said:  # starting, or shutting down
            for text, remedy in REMEDIES.items():
                if text in said:
                    return UnreachableError(f"{place} refuses us ({said}); {remedy}")
        if lost:
            return UnreachableError(
                f"{place} does not answer ({said}); see that it runs and can be reached from "
                "here, then run this again"
            )
        return None


def _refuse_old(engine: sa.Engine, place: str) -> None:
    """Look at the server's version on each new connection, which costs no question."""

    def refuse(connection: "psycopg.Connection[Any]", _record: object) -> None:
        found = connection.info.server_version
        if found < OLDEST:
            raise FormatError(
                f"{place} is version {found // 10_000} and DuckLake needs {OLDEST // 10_000}; "
                "use a newer server"
            )

    sa.event.listen(engine, "connect", refuse)


def _forget_in_children(engine: sa.Engine) -> None:
    """A fork must not talk on its parent's connections, nor close them."""
    known = weakref.ref(engine)

    def forget() -> None:
        if (engine := known()) is not None:
            engine.dispose(close=False)

    os.register_at_fork(after_in_child=forget)
