"""DuckDB connections that state their limits, find their extensions offline and attach a lake.

An in-memory DuckDB reads the lake; the facts stay in DuckLake (a catalog and Parquet).
The extensions come from wheels (``duckdb-extension-ducklake``, ``duckdb-extension-sqlite-scanner``)
that hold DuckDB's own signed binaries for one DuckDB version, so a cluster without internet works.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import duckdb

from actlake.storage.database import Database
from actlake.storage.durable import disk_error
from actlake.storage.errors import FormatError, InputError, LakeError, NotFoundError
from actlake.storage.threads import default_threads

__all__ = ["LAKE", "attach_lake", "connect", "end", "literal", "load_extension", "one_line"]

LAKE = "lake"
"""The name under which every connection attaches the lake."""

_Identity = tuple[str, int, int, int]
_verified: set[_Identity] = set()
"""Extension files of which DuckDB has checked the signature in this process."""

_KIND = re.compile(r"^(?:TransactionContext Error: )?[A-Z][A-Za-z ]* Error: ")
_SOURCE_LINE = re.compile(r"\n\s*LINE \d+: .*", re.DOTALL)
_LONGEST_MESSAGE = 600
_PLACEHOLDER = re.compile(r"\{[A-Z_]+\}")


def connect(
    *,
    extensions: Sequence[str] = (),
    memory_limit: str = "2GB",
    threads: int | None = None,
    spill: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with ``extensions``, which loads nothing by itself.

    ``threads`` defaults to one a core that this process may use. Larger-than-memory work spills
    under ``spill``, and fails where there is none. Python variables are not tables, timestamps are
    in UTC.

    Raises LakeError when an extension is neither installed nor downloadable.
    """
    # A signature costs half a second of a core for every connection, and a library that is loaded
    # is not loaded again: so it is checked once a process, unless the file has changed.
    identities = {_identity(name) for name in extensions}
    verified = identities <= _verified
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": memory_limit,
        "threads": threads or default_threads(),
        "allow_unsigned_extensions": verified,
        "temp_directory": "" if spill is None else str(spill),
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        # It keeps 100 KB a small file; the operating system has local files in memory anyway.
        "enable_external_file_cache": "false",
    }
    con = duckdb.connect(config=config)
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    for name in extensions:
        load_extension(con, name)
    con.execute("SET GLOBAL allow_unsigned_extensions = false")  # cannot be set back
    _verified.update(one for one in identities if one is not None)
    return con


def _identity(name: str) -> _Identity | None:
    """What changes when the file of an extension does; None where DuckDB has it, not a wheel."""
    file = _extension_file(name)
    if file is None:
        return None
    facts = file.stat()
    return str(file), facts.st_ino, facts.st_size, facts.st_ctime_ns


def load_extension(con: duckdb.DuckDBPyConnection, name: str) -> None:
    """``name`` is loaded: from its wheel, else as DuckDB has it installed, else downloaded.

    Raises LakeError that says what to install. A locked connection cannot load anything.
    """
    file = _extension_file(name)
    try:
        if file is not None:
            con.execute(f"LOAD {literal(file)}")
        else:
            con.execute(f"INSTALL {literal(name)}")
            con.execute(f"LOAD {literal(name)}")
    except duckdb.Error as error:
        wheel = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
        raise LakeError(
            f"DuckDB {duckdb.__version__} cannot load its extension {name}; "
            f"run `pip install {wheel}` ({one_line(error)})"
        ) from error


@cache
def _extension_file(name: str) -> Path | None:
    spec = find_spec(f"duckdb_extension_{name}")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        # The binary is tied to one DuckDB: another version's wheel is as good as none.
        version = Path(folder) / "extensions" / f"v{duckdb.__version__}"
        for file in sorted(version.glob("*.duckdb_extension")):
            return file
    return None


def attach_lake(
    con: duckdb.DuckDBPyConnection,
    database: Database,
    data: str,
    *,
    read_only: bool,
    snapshot: int | None = None,
) -> None:
    """The lake in ``database`` is attached as ``lake``, and is the default; at its newest, or at
    ``snapshot``.

    ``data`` is where the tables' files are now, whatever the catalog was made with, so a lake may
    be moved. A catalog that does not exist is made, unless ``read_only``. A lake attached at a
    snapshot is read-only.

    Raises FormatError for what is no catalog, NotFoundError for an unknown snapshot, InputError for
    a path that DuckLake would misread, BusyError when another process keeps the catalog locked,
    UnreachableError when its server is away.
    """
    for place in (database.catalog, data):
        if _PLACEHOLDER.search(str(place)):
            raise InputError(f"DuckLake fills in {{NAMES}} inside {place}; move the lake elsewhere")
    if read_only:
        database.check()
    options = [
        f"DATA_PATH {literal(f'{data}/')}",
        "OVERRIDE_DATA_PATH true",
        "DATA_INLINING_ROW_LIMIT 0",
        *database.options,
    ]
    if read_only:
        options.append("READ_ONLY")
    if snapshot is not None:
        options.append(f"SNAPSHOT_VERSION {int(snapshot)}")
    source = literal(f"ducklake:{database.source}")
    try:
        con.execute(f"ATTACH {source} AS {LAKE} ({', '.join(options)})")
        con.execute(f"USE {LAKE}")
    except (duckdb.Error, UnicodeDecodeError) as error:  # bytes of a damaged catalog are no text
        message = one_line(error)
        if fault := database.fault(message, database.catalog):
            raise fault from error
        if snapshot is not None and "snapshot" in message.lower():
            raise NotFoundError(
                f"no snapshot {snapshot} in {database.catalog}; list those there are with "
                "`actlake log`"
            ) from error
        raise disk_error(data, message) or FormatError(
            f"cannot read {database.catalog} as a lake's catalog: {message}; restore a backup"
        ) from error


def end(con: duckdb.DuckDBPyConnection) -> None:
    """Close ``con``, whatever it was at.

    To close it within a transaction whose server is gone would end the process: DuckDB throws where
    nobody can catch.
    """
    with suppress(duckdb.Error):
        con.execute("ROLLBACK")
    con.close()


def literal(value: str | Path) -> str:
    """``value`` as a quoted SQL string, for the statements that take no parameters."""
    text = str(value)
    if "\0" in text:
        raise LakeError(f"{text!r} holds a NUL character, which no path or name may; leave it out")
    return "'" + text.replace("'", "''") + "'"


def one_line(error: BaseException) -> str:
    """What DuckDB complains of, with its candidate names, as one line without its source excerpt.

    At most 600 characters, because lists of candidate functions can be very long.
    """
    text = _SOURCE_LINE.sub("", _KIND.sub("", str(error)))
    parts = [" ".join(line.split()).rstrip("!.") for line in text.splitlines()]
    parts = [part[:1].lower() + part[1:] for part in parts if part]
    line = "; ".join(parts) or type(error).__name__
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + "…"
