"""The database that holds a lake's facts: what a catalog, and the keyed tables beside it, need.

There are two: ``SqliteDatabase``, files in the lake for the processes of one machine, and
``PostgresDatabase``, a server for many machines. ``lake.toml`` says which.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy as sa

from actlake.storage.errors import FormatError, LakeError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["Database"]


class Database(ABC):
    """Where one lake's catalog is."""

    extensions: ClassVar[tuple[str, ...]]
    """Of DuckDB, with which the catalog is attached."""
    asks: ClassVar[str]
    """The function of DuckDB that lets the database itself answer a query, with its indexes; tables
    that DuckDB reads are read whole."""
    schema: str
    """Of the catalog's tables in the database."""
    by_bytes: ClassVar[str]
    """What makes it compare texts by their bytes."""
    transient: ClassVar[tuple[str, ...]]
    """What DuckDB complains of where the same commit, made again, may land."""

    source: str
    """What DuckLake attaches; holds no secret."""
    options: tuple[str, ...]
    """Of the ``ATTACH``."""
    names: tuple[str, str]
    """How faults call the catalog, and the tables beside it."""
    catalog: str
    """How messages call the catalog."""
    keyed: str
    """How messages call the tables beside it."""
    engine: sa.Engine
    """Connections to the tables beside it."""

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        """A connection to the keyed tables; what goes wrong on it is a LakeError."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise self.fault(said, self.keyed) or FormatError(
                f"{self.keyed} cannot be used ({said}); restore it from a backup of the lake"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A connection whose writes are committed when the block ends, or not at all."""
        with self.connection() as connection:
            self.begin(connection)
            yield connection
            connection.commit()

    def begin(self, connection: sa.Connection) -> None:
        """Begin a transaction that will write."""
        connection.begin()

    @abstractmethod
    def insert(self, table: sa.Table) -> "sqlite.Insert | postgresql.Insert":
        """An INSERT that can say what happens on a conflict."""

    @abstractmethod
    def clock(self) -> sa.ColumnElement[float]:
        """Seconds since 1970, by one clock for all who share the database."""

    @abstractmethod
    def locked(self, name: str) -> AbstractContextManager[None]:
        """Nobody else holds the lock ``name`` of this lake, neither a process nor a thread of this.

        BusyError if it is not free for two minutes. It is freed when its holder ends, however that
        ends.
        """

    @abstractmethod
    def reach(self) -> None:
        """UnreachableError if there is a server that cannot be asked."""

    @abstractmethod
    def prepare(self) -> None:
        """Make room for a new catalog."""

    @abstractmethod
    def check(self) -> None:
        """As ``reach``, and FormatError if there is no catalog."""

    @abstractmethod
    def faults(self) -> Iterator[tuple[str, str]]:
        """Which of ``names`` is damaged, and how, as far as the database can tell."""

    @abstractmethod
    def backup_elsewhere(self) -> str | None:
        """The command that backs the catalog up, if it is not in the lake."""

    @abstractmethod
    def fault(self, said: str, place: str) -> LakeError | None:
        """What the complaint ``said`` means, in words that name ``place``; None if it is none of
        those that have a remedy of their own."""

    def meaning(self, said: str) -> LakeError | None:
        """``fault`` of the catalog."""
        return self.fault(said, self.catalog)
