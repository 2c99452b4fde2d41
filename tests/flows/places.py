"""Where a lake may be: tests of whole lakes run on each, which ``lake.toml`` alone tells apart.

A module has a fixture ``place`` with ``params=PLACES``, by which servers are for the soak; a test
``with_servers`` is the other way round.
"""

import re
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier, Literal

from actlake.storage.bucket import Bucket
from actlake.storage.lake import Lake
from actlake.storage.s3_store import S3Store
from actlake.storage.settings import read_settings
from actlake.storage.stores import store_found
from tests.postgres import Server, fork_lake
from tests.s3 import Objects, fork_objects

__all__ = ["PLACES", "Folder", "Place", "Servers", "place_of", "with_servers"]

FOLDER, SERVERS = "sqlite-folder", "postgres-s3"
PLACES = [FOLDER, pytest.param(SERVERS, marks=pytest.mark.soak)]
with_servers = pytest.mark.parametrize(
    "place", [pytest.param(FOLDER, marks=pytest.mark.soak), SERVERS], indirect=True
)


class Place(ABC):
    """Where lakes are made."""

    backs_up: ClassVar[bool]
    """Whether a lake there backs its own catalog up."""
    texts: ClassVar[str]
    """Where all that a lake holds of texts is, as ``holding`` calls it."""

    @abstractmethod
    def create(self, root: Path) -> Lake:
        """A new, empty lake."""

    @abstractmethod
    def fork(self, source: Path, target: Path) -> Path:
        """``target``, a copy of the closed lake ``source`` that shares nothing with it."""

    @abstractmethod
    def remove(self, root: Path) -> None:
        """Nothing is left of the closed lake at ``root``."""

    @abstractmethod
    def elsewhere(self, root: Path, folder: Path) -> Path:
        """The lake at ``root`` as another machine has it, in ``folder``, where one can."""

    @abstractmethod
    def change(self, root: Path, statement: str) -> None:
        """Change a row of the databases of a closed lake, whose schema is ``{schema}``."""

    @abstractmethod
    def _contents(self, root: Path) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file and object of a lake."""

    def holding(self, root: Path, word: str) -> list[str]:
        """What of the lake at ``root`` holds a word, in bytes or in Parquet, whatever names it."""
        found = []
        for name, content in self._contents(root):
            held = word.encode() in content
            if name.endswith(".parquet"):
                held |= word in repr(pq.read_table(pa.BufferReader(content)).to_pylist())
            if held:
                found.append(name)
        return sorted(found)


class Folder(Place):
    """Everything in the lake's folder."""

    backs_up = True
    texts = "tables"

    def create(self, root: Path) -> Lake:
        return Lake.create(root)

    def fork(self, source: Path, target: Path) -> Path:
        return Path(shutil.copytree(source, target))

    def remove(self, root: Path) -> None:
        shutil.rmtree(root)

    def elsewhere(self, root: Path, folder: Path) -> Path:
        return root

    def change(self, root: Path, statement: str) -> None:
        file = "catalog.sqlite" if "ducklake" in statement else "claims.sqlite"
        with closing(sqlite3.connect(root / file)) as connection:
            cursor = connection.execute(statement.format(schema="main"))
            assert cursor.rowcount == 1
            connection.commit()

    def _contents(self, root: Path) -> Iterator[tuple[str, bytes]]:
        for path in root.rglob("*"):
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.read_bytes()


@dataclass(frozen=True)
class Servers(Folder):
    """The catalog in Postgres, the files in a bucket, and copies of them in the lake's folder."""

    backs_up = False
    texts = "bucket"

    postgres: Server
    s3: Objects

    def create(self, root: Path) -> Lake:
        words = f"postgres:{self.postgres.database()}"
        return Lake.create(root, catalog=words, store=self.s3.place())

    def fork(self, source: Path, target: Path) -> Path:
        return fork_objects(source, fork_lake(self.postgres, source, target), self.s3)

    def remove(self, root: Path) -> None:
        bucket = self._bucket(root)
        bucket.delete([one.key for one in bucket.below("")])
        database = Identifier(self._database(root))
        self.postgres.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(database))
        super().remove(root)

    def elsewhere(self, root: Path, folder: Path) -> Path:
        folder.mkdir()
        shutil.copy(root / "lake.toml", folder)
        return folder

    def change(self, root: Path, statement: str) -> None:
        schema = read_settings(root).catalog.schema
        done = self.postgres.execute(
            f"{statement.format(schema=schema)} RETURNING 1", database=self._database(root)
        )
        assert len(done) == 1

    def _contents(self, root: Path) -> Iterator[tuple[str, bytes]]:
        yield from super()._contents(root)
        bucket = self._bucket(root)
        for one in bucket.below(""):
            yield f"bucket/{one.key}", b"".join(bucket.pieces(one.key))
        yield from self._tables(root)

    def _tables(self, root: Path) -> Iterator[tuple[str, bytes]]:
        """Every table of the catalog's database as text, with the bytes that it shows in hex."""
        database = self._database(root)
        named = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|inf)'"
        tables = self.postgres.execute(named, database=database)
        assert tables
        whole = SQL("SELECT {}, coalesce(string_agg(t::text, ' '), '') FROM {} AS t")
        every = SQL(" UNION ALL ").join(
            whole.format(Literal(name), Identifier(schema, name)) for schema, name in tables
        )
        for name, text in self.postgres.execute(every, database=database):
            hexed = map(bytes.fromhex, re.findall(r"\\x((?:[0-9a-f]{2})+)", text))
            yield f"postgres/{name}", b" ".join([text.encode(), *hexed])

    def _bucket(self, root: Path) -> Bucket:
        store = store_found(root)
        assert isinstance(store, S3Store)
        return store._bucket

    def _database(self, root: Path) -> str:
        return str(conninfo_to_dict(read_settings(root).catalog.database)["dbname"])


def place_of(request: pytest.FixtureRequest) -> Place:
    """The place that a fixture is asked for; servers are started for what asks for them."""
    if request.param == FOLDER:
        return Folder()
    return Servers(request.getfixturevalue("postgres"), request.getfixturevalue("s3"))
