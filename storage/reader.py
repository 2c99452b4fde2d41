"""The connection through which a lake is read: with its views, behind its walls, for threads."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from threading import local

import duckdb

from actlake import sql
from actlake.storage.duck import LAKE
from actlake.storage.errors import CorruptError
from actlake.storage.firings import Firings, register
from actlake.storage.guard import sandboxed
from actlake.storage.handle import Handle
from actlake.storage.reading import Reading

__all__ = ["Reader"]

SEARCH_PATH = f"SET search_path = '{LAKE}.main,memory.main'"


class Reader:
    """Ours and people's queries share it: to attach a lake costs more than most queries."""

    def __init__(self, attached: Handle, tables: str, reading: Reading) -> None:
        """Of a connection that has the lake attached, whose tables are in the folder ``tables``;
        its codes are read by ``reading``."""
        _refuse_unmapped(attached)
        self._firings = Firings(reading, self._aside)
        attached.told(lambda: register(attached.raw))
        attached.told(lambda: _make_views(attached.raw, {"firings": self._firings.view}))
        attached.execute(SEARCH_PATH)
        self.connection = attached.told(lambda: sandboxed(attached.raw, [tables]))
        self._attached = attached
        self._threads = local()
        self._free: list[duckdb.DuckDBPyConnection] = []

    def close(self) -> None:
        self._threads = local()
        self._free.clear()
        self.connection.close()

    def handle(self) -> Handle:
        """This thread's handle on the connection; a query through it ends the rows of the last.

        One for each query would cost as much as a small query, for its search path alone.
        """
        if not hasattr(self._threads, "handle"):
            self._threads.handle = self.fresh_handle()
        handle: Handle = self._threads.handle
        return handle

    @contextmanager
    def _aside(self) -> Generator[None]:
        """``handle`` is another in here: a query on this thread's may be what asks."""
        before = vars(self._threads).get("handle")
        self._threads.handle = self.fresh_handle()
        try:
            yield
        finally:
            self._threads.handle.close()
            if before is None:
                del self._threads.handle
            else:
                self._threads.handle = before

    def fresh_handle(self) -> Handle:
        """One for rows that are taken while other queries run."""
        handle = self._attached.cursor().execute(SEARCH_PATH)
        handle.needs = self._firings
        return handle

    def lend(self) -> duckdb.DuckDBPyConnection:
        """The connection of a ``fresh_handle``, or one that was given back."""
        try:
            return self._free.pop()
        except IndexError:
            return self.fresh_handle().raw

    def take_back(self, handle: duckdb.DuckDBPyConnection) -> None:
        """A handle on which nothing is left to fetch."""
        self._free.append(handle)


def _refuse_unmapped(attached: Handle) -> None:
    """CorruptError where columns are mapped in a way that DuckLake does not know.

    It complains of that once, and ends the process when it is asked again.
    """
    query = f"""
        SELECT "type" FROM __ducklake_metadata_{LAKE}.ducklake_column_mapping
        WHERE "type" <> 'map_by_name'
    """  # noqa: S608 - ours
    for (way,) in attached.execute(query).fetchall():
        raise CorruptError(
            f"the lake's catalog maps columns in a way called {way!r}, which there is not; put it "
            "back from a backup with `actlake restore`"
        )


def _make_views(connection: duckdb.DuckDBPyConnection, ours: Mapping[str, str]) -> None:
    """All views, ``ours`` in another way, but those of tables that the snapshot does not have.

    They live beside the lake, in this connection's own memory, and follow its snapshot.
    """
    connection.execute("SET search_path = 'memory.main,lake.main'")
    connection.execute("BEGIN")  # in one transaction DuckLake asks its catalog once
    for view in sql.names("views"):
        # A snapshot from before a table or column was added has no more to show.
        with suppress(duckdb.CatalogException, duckdb.BinderException):
            connection.execute(ours.get(view) or sql.text("views", view))
    connection.execute("COMMIT")
