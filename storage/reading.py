"""How a lake's files are read: as they are, or held against what was committed.

``never`` looks at the size of a file alone. ``first-read``, the default, reads all of a file the
first time that this lake opens it and trusts it from then on; a chunk in whose place another file
has come is read again. Of shards of 64 MiB, in memory, the first row takes 7 ms instead of 0.5, the
first pass two to three times as long, and later ones as long as without. ``always`` does so at
every call and returns a copy, of which the very bytes were checked: 3 times as long for a pass over
shards, 10 times for a gather, 18 ms for a row. ``python -m benchmarks.reading`` measures it.

Queries in SQL are checked by ``always`` alone, all files of every table that they read, since one
may need any of them. Weights of dictionaries and partials are checked in every mode,
partials as they are opened.

What a chunk must be stands in its receipt, not in its own trailer: a chunk of other rows, or an
older one of the same rows, has a trailer that fits it. Every other file has its hash in ``files``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, get_args

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from actlake import sql
from actlake.storage.arrays import corrupt, rows_in
from actlake.storage.duck import literal
from actlake.storage.durable import Digest, linked
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.facts import Facts
from actlake.storage.handle import Handle
from actlake.storage.mapped_chunks import Chunk, MappedChunks
from actlake.storage.statements import tables_named
from actlake.storage.store import Store

__all__ = ["MODES", "Bounds", "Mode", "Reading"]

Mode = Literal["never", "first-read", "always"]
MODES: tuple[Mode, ...] = get_args(Mode)
Bounds = tuple[str, str] | tuple[int, int]
"""Smallest and largest value that a reader looks for in a column."""


class Reading:
    """How the readers of one lake read: each holds this, and asks it for its files."""

    def __init__(
        self,
        store: Store,
        mode: Mode,
        connection: Callable[[], Handle],
        recorded: Callable[[], Mapping[str, Digest]],
    ) -> None:
        """Read the lake in ``store``; ``recorded`` tells the hash of every file but chunks.

        InputError if there is no such mode.
        """
        if mode not in MODES:
            raise InputError(f"a lake verifies {', '.join(MODES)}, not {mode!r}; choose one")
        self.store = store
        self.root = store.root
        self.mode = mode
        self.connection = connection
        self.recorded = recorded
        self._recorded: Mapping[str, Digest] = {}
        self._receipts: dict[str, dict[tuple[str, int], int]] = {}
        """CRC-32C of each chunk before its trailer, by array and shard, by owner."""
        self._facts = Facts(connection)
        self.masked: dict[tuple[str, str, int], NDArray[np.uint8]] = {}
        """What ``masks`` has asked for: a bit a row, by rowset, predicate and first row."""
        self._sound: set[Path] = set()
        """Files but chunks that were found to be what was committed."""
        self._mapped = MappedChunks()

    def __getstate__(self) -> dict[str, Any]:
        beside = self._mapped.beside
        return {
            "store": self.store,
            "mode": self.mode,
            "receipts": self._receipts,
            "beside": beside,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In another process: chunks of which there are receipts, and no catalog."""
        self.__init__(state["store"], state["mode"], _elsewhere, _elsewhere)  # type: ignore[misc]
        self._receipts = state["receipts"]
        self._mapped = MappedChunks(beside=state["beside"])

    def holding(self, owner: str, arrays: Iterable[str], shard: int) -> "Reading":
        """One for that shard of some arrays alone."""
        one = Reading(self.store, self.mode, self.connection, self.recorded)
        one._mapped = MappedChunks(beside=False)
        known = self._receipts.get(owner, {})
        keys = [(array, shard) for array in arrays]
        one._receipts = {owner: {key: known[key] for key in keys if key in known}}
        return one

    def chunk(
        self, chunk: Chunk, shape: tuple[int, ...], dtype: np.dtype[Any], file_bytes: int
    ) -> NDArray[Any]:
        """The rows of a chunk, read-only, whose file has ``file_bytes`` with padding and trailer.

        A memory map; with ``always`` a copy, of which the bytes that are returned were checked.
        CorruptError if the file is missing, has another size, or is checked and another.
        """
        try:
            return self._chunk(chunk, shape, dtype, file_bytes)
        except CorruptError:
            if not self.store.drop_copy(chunk.path):
                raise
            return self._chunk(chunk, shape, dtype, file_bytes)

    def _chunk(
        self, chunk: Chunk, shape: tuple[int, ...], dtype: np.dtype[Any], file_bytes: int
    ) -> NDArray[Any]:
        path = self.store.local(chunk.path)
        found = self._mapped.at(chunk, path, shape, dtype, file_bytes)
        if self.mode == "never" or (self.mode == "first-read" and found.is_sound):
            return found.rows
        payload, rows = found.payload, found.rows
        if self.mode == "always":  # a mapped file may change after it was checked
            payload = np.array(payload)
            payload.flags.writeable = False
            rows = rows_in(payload, shape, dtype)
        committed = self._receipts.get(chunk.owner, {}).get((chunk.array, chunk.shard))
        if google_crc32c.value(payload) != committed:
            raise corrupt(path, chunk.what, "is not what was committed")
        self._mapped.found_sound(path, found)
        return rows

    def receipts(self, owner: str) -> dict[tuple[str, int], int]:
        """Size in bytes of every chunk of ``owner`` that is committed, by array and shard.

        Whoever makes a reader asks for them: what a chunk must be is known from then on, also when
        its tensor is deleted meanwhile.
        """
        query = """
            SELECT "array", shard, bytes, payload_crc32c FROM shards
            WHERE owner = $owner AND "array" <> 'postings'
        """
        rows = self.facts("shards", query, owner=owner)
        committed = {(row["array"], row["shard"]): row["payload_crc32c"] for row in rows}
        self._receipts.setdefault(owner, {}).update(committed)
        return {(row["array"], row["shard"]): row["bytes"] for row in rows}

    def complete(self, owner: str) -> None:
        """As ``receipts``, of a rowset, of which all are there from its first commit on."""
        if self.mode != "never" and owner not in self._receipts:
            self.receipts(owner)

    def file(self, path: str, what: str) -> bytes:
        """The content of a small file, named by its path in the lake."""
        self._check(path, what)
        try:
            return b"".join(self.store.pieces(self.root / path))
        except OSError as error:
            raise corrupt(self.root / path, what, f"cannot be read ({error.strerror})") from error

    def table(self, table: str, **wanted: Bounds) -> None:
        """CorruptError if a file of ``table``, as of now, is not what was committed.

        Of the files that, by the catalog, may hold rows with a value of each column within the
        bounds ``wanted``; bounds are inclusive. Nothing is read with ``never``.
        """
        if self.mode == "never":
            return
        for path, _ in self._holding(table, (), wanted):
            self._check(path, f"table {table}")

    def may_hold(self, table: str, **wanted: Bounds) -> bool:
        """Whether some file of ``table``, by the catalog, may hold such a row: to ask costs much
        less than a query that finds none."""
        return any(self._holding(table, (), wanted))

    def _holding(
        self, table: str, columns: Iterable[str], wanted: Mapping[str, Bounds]
    ) -> Iterator[tuple[str, bool]]:
        """Each such file, and whether it holds rows, with all of ``columns`` and ``wanted``."""
        for path, names, lowest, highest, whole in self._facts.files(table, (*wanted, *columns)):
            bounds = zip(lowest or (), highest or (), strict=True)
            stored = dict(zip(names or (), bounds, strict=True))
            if all(_may_hold(stored.get(name), asked) for name, asked in wanted.items()):
                yield path, whole

    def source(self, table: str, *columns: str, **wanted: Bounds) -> str:
        """What stands in a FROM for ``table``, whose rows within the bounds ``wanted`` and whose
        ``columns``, beside those, are asked for: their files, checked as by ``table``.

        DuckLake asks its catalog several milliseconds for the same names, in each query. It has to
        where rows were deleted, where a file is older than a column, and where the lake's path has
        a wildcard in it.
        """
        files = [*self._holding(table, columns, wanted)]
        for path, _ in files:
            self._check(path, f"table {table}")
        root = self.store.uri(self.root)
        if not files or not all(whole for _, whole in files) or any(one in root for one in "*?["):
            return table
        names = (literal(self.store.uri(self.root / path)) for path, _ in files)
        # Or a folder above that is called corpus=wiki would be a column.
        return f"read_parquet([{', '.join(names)}], hive_partitioning = false)"

    def bounds(self, table: str, path: str, *columns: str) -> dict[str, tuple[str, str]]:
        """Smallest and largest value of each of ``columns`` in a file, as the catalog has them.

        Empty for a file that the snapshot does not name.
        """
        for file, names, lowest, highest, _ in self._facts.files(table, columns):
            if file == path:
                return dict(zip(names, zip(lowest, highest, strict=True), strict=True))
        return {}

    def facts(self, table: str, query: str, **named: str) -> list[dict[str, Any]]:
        """``Facts.rows``, when the files that may hold them have been checked, as by ``table``."""
        with self.standing():
            # What is known of this snapshot was read from files that were checked.
            if self.mode == "always" or not self._facts.known(query, **named):
                self.table(table, **{column: (value, value) for column, value in named.items()})
            return self._facts.rows(table, query, **named)

    def standing(self) -> AbstractContextManager[object]:
        """See ``Facts.standing``."""
        return self._facts.standing()

    def forget(self) -> None:
        """Let go of what was asked for, as ``Facts.forget``, and of the files that are mapped."""
        self._facts.forget()
        self._mapped.clear()

    def statement(self, select: str) -> None:
        """With ``always``, ``table`` for every table that ``select`` reads, also through views."""
        if self.mode != "always":
            return
        waiting, seen = [select], set[str]()
        while waiting:
            for name in tables_named(self.connection(), waiting.pop()) - seen:
                seen.add(name)
                if name in sql.names("views"):
                    waiting.append(sql.text("views", name).partition(" AS\n")[2])
                else:
                    self.table(name)

    def _check(self, path: str, what: str) -> None:
        file = self.root / path
        if self.mode == "never" or (self.mode == "first-read" and file in self._sound):
            return
        if path not in self._recorded:
            self._recorded = self.recorded()
        expected = self._recorded.get(path)
        if linked(file):
            raise corrupt(file, what, "is a link, or reached through one")
        try:
            # A crash may have left it without a hash; ``verify`` adopts it.
            if expected is not None and self.store.digest(file) != expected:
                raise corrupt(file, what, "is not what was committed")
        except FileNotFoundError:
            raise corrupt(file, what, "is missing") from None
        except OSError as error:
            raise corrupt(file, what, f"cannot be read ({error.strerror})") from error
        self._sound.add(file)


def _elsewhere() -> Any:
    raise InputError(
        "a reader that was sent to another process reads rows; open the lake there to ask for more"
    )


def _may_hold(stored: tuple[str | None, str | None] | None, asked: Bounds) -> bool:
    low, high = stored or (None, None)
    if low is None or high is None:  # a file of deleted rows, or one without statistics
        return True
    if isinstance(asked[0], str):
        return low <= str(asked[1]) and asked[0] <= high
    return int(low) <= int(asked[1]) and asked[0] <= int(high)
