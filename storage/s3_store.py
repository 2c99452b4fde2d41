"""The store whose files are objects of an S3 bucket, with copies of those that were read here.

What the catalog names lies in the bucket; ``lake.toml``, a SQLite catalog, checkpoints, backups and
what is being written lie in the lake's folder. A folder is published object by object, the one that
all of its kind have first: of two writers of the same folder one is refused before it has put
anything. Nothing is named by a half of it, since a commit comes after all.
"""

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import duckdb

from actlake.storage.bucket import Bucket, access
from actlake.storage.copies import Copies
from actlake.storage.duck import literal
from actlake.storage.durable import (
    Buffer,
    Digest,
    digest_of,
    is_staged,
    make_folder,
    staging_path,
    writing,
)
from actlake.storage.errors import FormatError, InputError, LakeError
from actlake.storage.local_store import LocalStore
from actlake.storage.settings import FOLDERS
from actlake.storage.store import StoredFile

__all__ = ["S3Store"]

AT_ONCE = 8
"""Objects of a folder that are put at the same time."""
MARK = "lake"
"""The object that holds the id of the lake whose place this is."""


class S3Store(LocalStore):
    """The files of the lake at ``root`` that are in the bucket, and folder, ``url``."""

    extensions = ("httpfs",)

    def __init__(self, root: Path, url: str) -> None:
        super().__init__(root)
        self._access = access(url)
        self._url = url.rstrip("/")
        self._bucket = Bucket(self._url, self._access)
        self._copies = Copies(root / folder for folder in FOLDERS)

    def __reduce__(self) -> tuple[type["S3Store"], tuple[Path, str]]:
        return S3Store, (self.root, self._url)  # with the credentials of the process there

    def _key(self, path: Path) -> str | None:
        """Of the object or folder in the bucket; None for what lies in the lake's folder."""
        inside = path.relative_to(self.root)
        if inside.parts[:1] and inside.parts[0] in FOLDERS:
            return None if any(is_staged(Path(one)) for one in inside.parts) else inside.as_posix()
        return None

    def begin(self, lake: str) -> None:
        if next(self._bucket.below(""), None):
            raise InputError(f"{self._url} holds something already; name an empty place")
        if lake:
            self._mark(lake)

    def _mark(self, lake: str) -> None:
        """The place is that of ``lake``, and refuses to be that of another."""
        again = False
        try:
            self._bucket.create(MARK, lake.encode())
            again = True
            self._bucket.create(MARK, lake.encode())
        except FileExistsError:
            if again:
                return
            raise InputError(f"{self._url} has just become a lake; name another place") from None
        raise InputError(
            f"{self._url} replaces an object where it was told not to (If-None-Match), so writers "
            "could not keep apart; use a store that knows conditional puts"
        )

    def check(self, lake: str) -> None:
        try:
            found = b"".join(self._bucket.pieces(MARK))
        except FileNotFoundError:
            found = b""
        if found != lake.encode():
            raise FormatError(
                f"{self._url} is {'another lake' if found else 'no lake'}; correct lake.toml"
            )

    # Reading

    def uri(self, path: Path) -> str:
        return f"{self._url}/{path.relative_to(self.root).as_posix()}".removesuffix("/.")

    def admit(self, connection: duckdb.DuckDBPyConnection) -> None:
        given = self._access
        server = given.endpoint.partition("://")
        options = {
            "KEY_ID": given.key,
            "SECRET": given.secret,
            "REGION": given.region,
            "SCOPE": self._url,
            **({"SESSION_TOKEN": given.token} if given.token else {}),
            **({"ENDPOINT": server[2].rstrip("/"), "URL_STYLE": "path"} if given.endpoint else {}),
        }
        said = ", ".join(f"{name} {literal(value)}" for name, value in options.items())
        ssl = "false" if server[0] == "http" else "true"
        connection.execute("SET GLOBAL enable_external_file_cache = true")  # each byte costs a trip
        connection.execute(f"SET GLOBAL http_timeout = {max(1, round(given.seconds))}")
        connection.execute(
            f"CREATE OR REPLACE TEMPORARY SECRET lake (TYPE s3, {said}, USE_SSL {ssl})"
        )

    def local(self, path: Path) -> Path:
        key = self._key(path)
        if key is None or self._copies.there(path):
            return path
        content = self._bucket.pieces(key)
        try:
            first = next(content, b"")
        except FileNotFoundError:
            return path
        self._copies.keep(path, _chained(first, content))
        return path

    def drop_copy(self, path: Path) -> bool:
        if self._key(path) is None:
            return False
        path.unlink(missing_ok=True)
        return True

    def pieces(self, path: Path) -> Iterator[bytes]:
        key = self._key(path)
        return super().pieces(path) if key is None else self._bucket.pieces(key)

    def exists(self, path: Path) -> bool:
        if self._key(path) is None:
            return super().exists(path)
        return next(self.files(path), None) is not None

    def files(self, path: Path) -> Iterator[StoredFile]:
        key = self._key(path)
        if key is None:
            yield from super().files(path)
            return
        for one in self._bucket.at(key):
            yield StoredFile(self.root / one.key, one.bytes)

    def children(self, folder: Path) -> list[Path]:
        key = self._key(folder)
        if key is None:
            return super().children(folder)
        return [self.root / one for one in self._bucket.children(key)]

    def written(self, path: Path) -> datetime:
        key = self._key(path)
        if key is None:
            return super().written(path)
        times = [one.written for one in self._bucket.at(key)]
        if not times:
            raise FileNotFoundError(2, "no such object", self.uri(path))
        return max(times)

    # Writing

    def publish(self, path: Path, pieces: Iterable[Buffer]) -> Digest:
        key = self._key(path)
        if key is None:
            return super().publish(path, pieces)
        content = b"".join(pieces)
        self._bucket.create(key, content)
        if not key.startswith("tables/"):  # which DuckDB reads there
            with suppress(LakeError):  # a copy is no promise
                self._copies.keep(path, [content])
        return digest_of([content])

    @contextmanager
    def new_folder(self, final: Path) -> Iterator[Path]:
        key, staged = self._named(final), staging_path(final)
        try:
            with writing(final):
                make_folder(final.parent)
                staged.mkdir()
                yield staged
            files = [one for one in staged.rglob("*") if one.is_file()]
            # What says what an array is comes first: all folders of a kind have it.
            files.sort(key=lambda one: (one.name != "zarr.json", one))

            def put(one: Path) -> None:
                content = one.read_bytes()
                self._bucket.create(f"{key}/{one.relative_to(staged).as_posix()}", content)

            for one in files[:1]:
                put(one)
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(put, files[1:]))  # after a failure no more are begun
            with suppress(OSError):  # a copy is no promise
                for one in files:
                    copy = final / one.relative_to(staged)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    one.replace(copy)
                    self._copies.came(copy.stat().st_size)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def link(self, old: Path, staged: Path, final: Path) -> None:  # noqa: ARG002 - never moved
        self._bucket.copy(self._named(old), self._named(final))

    def replace(self, path: Path, content: Buffer) -> None:
        key = self._key(path)
        if key is None:
            super().replace(path, content)
        else:
            self._bucket.put(key, bytes(content))
            self.drop_copy(path)

    def settle(self, path: Path) -> Digest:
        return super().settle(path) if self._key(path) is None else self.digest(path)

    def touch(self, path: Path) -> None:
        """An object cannot be touched, so the smallest is put again, byte for byte."""
        if self._key(path) is None:
            super().touch(path)
        elif smallest := min(self.files(path), key=lambda one: one.bytes, default=None):
            key = self._named(smallest.path)
            self._bucket.put(key, b"".join(self._bucket.pieces(key)))

    def remove(self, path: Path) -> int | None:
        if self._key(path) is None:
            return super().remove(path)
        found = [*self.files(path)]
        self._bucket.delete([self._named(one.path) for one in found])
        super().remove(path)
        return sum(one.bytes for one in found) if found else None

    def tidy(self) -> None:
        disk = LocalStore(self.root)
        for folder in (self.root / name for name in FOLDERS):
            # The disk first: of what is published meanwhile, the object is there before the copy.
            here = _named_in(disk, folder) if folder.is_dir() else set()
            for one in here - _named_in(self, folder) if here else here:
                if not is_staged(one):
                    disk.remove(one)

    def _named(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _named_in(store: LocalStore, folder: Path) -> set[Path]:
    """What the catalog may name in ``folder``: files of tables, folders of arrays."""
    if folder.name == "tables":
        return {one.path for one in store.files(folder)}
    return {*store.children(folder)}


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
