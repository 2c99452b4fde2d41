"""What readers and writers ask of the place of a lake's files, whatever place it is."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actlake.storage.durable import Digest, digest_of, make_folder, staging_path
from actlake.storage.errors import DiskError
from actlake.storage.store import Store
from tests.storage.conftest import fresh_name


def now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def inside(store: Store, path: Path) -> dict[str, int]:
    """Sizes of the files at and below ``path``."""
    return {one.path.relative_to(store.root).as_posix(): one.bytes for one in store.files(path)}


def fill(store: Store, folder: Path, files: dict[str, bytes]) -> None:
    with store.new_folder(folder) as staged:
        for name, content in files.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_bytes(content)


class StoreTests:
    """With the fixture ``store``, an empty one."""

    @pytest.fixture
    def folder(self, store: Store) -> Path:
        """Where nothing is, in a folder of whose files every test has some."""
        make_folder(store.root / "tensors" / "shared")
        return store.root / "tensors" / fresh_name()

    def test_publish__makes_a_file_that_is_never_replaced(self, store: Store, folder: Path) -> None:
        make_folder(folder)
        path = folder / "c.0.0"
        assert not store.exists(path)
        written = store.publish(path, [b"some", memoryview(b"thing")])
        assert written == Digest(9, digest_of([b"something"]).xxh3_128)
        assert store.digest(path) == written
        assert store.local(path).read_bytes() == b"something"
        for content in (b"something", b"else"):
            with pytest.raises(FileExistsError):
                store.publish(path, [content])
        assert b"".join(store.pieces(path)) == b"something"
        assert store.exists(path)
        assert store.exists(folder)

    def test_file__that_is_not_there_is_told(self, store: Store, folder: Path) -> None:
        path = folder / "none"
        assert not store.exists(path)
        assert not store.local(path).exists()
        assert [*store.files(path)] == []
        assert store.remove(path) is None
        with pytest.raises(FileNotFoundError):
            store.digest(path)
        with pytest.raises(FileNotFoundError):
            store.written(path)
        store.touch(path)
        assert not store.exists(path)

    def test_new_folder__has_all_its_files_or_none(self, store: Store, folder: Path) -> None:
        with store.new_folder(folder) as staged:
            (staged / "a").mkdir()
            (staged / "a" / "zarr.json").write_bytes(b"{}")
            (staged / "a" / "c.0").write_bytes(b"123")
            assert not store.exists(folder)
        name = folder.relative_to(store.root).as_posix()
        assert inside(store, folder) == {f"{name}/a/c.0": 3, f"{name}/a/zarr.json": 2}
        assert store.local(folder / "a" / "c.0").read_bytes() == b"123"
        other_files = {"a/zarr.json": b"{ }", "b": b"x"}
        with pytest.raises(FileExistsError):
            fill(store, folder, other_files)
        assert inside(store, folder) == {f"{name}/a/c.0": 3, f"{name}/a/zarr.json": 2}
        other = folder.with_name(fresh_name())
        with pytest.raises(DiskError):
            fill(store, other, {"c.0": b"123", ".": b""})
        assert not store.exists(other)
        assert [one for one in folder.parent.iterdir() if one.name.startswith(".")] == []

    def test_link__is_a_file_of_its_own(self, store: Store, folder: Path) -> None:
        fill(store, folder, {"zarr.json": b"{}", "c.0": b"123"})
        new = folder.with_name(fresh_name())
        with store.new_folder(new) as staged:
            store.link(folder / "c.0", staged / "c.0", new / "c.0")
            (staged / "zarr.json").write_bytes(b"[]")
        assert store.remove(folder) == 5
        assert b"".join(store.pieces(new / "c.0")) == b"123"
        assert b"".join(store.pieces(new / "zarr.json")) == b"[]"

    def test_children__are_files_and_folders(self, store: Store, folder: Path) -> None:
        make_folder(folder / "b")
        store.publish(folder / "b" / "c.0", [b"1"])
        store.publish(folder / "a.1", [b"22"])
        assert store.children(folder) == [folder / "a.1", folder / "b"]
        assert folder in store.children(folder.parent)
        assert sum(inside(store, folder).values()) == 3
        assert inside(store, folder / "a.1") == {
            (folder / "a.1").relative_to(store.root).as_posix(): 2
        }

    def test_written__is_the_newest_and_touch_is_now(self, store: Store, folder: Path) -> None:
        make_folder(folder)
        before = now() - timedelta(seconds=1.5)  # some stores know whole seconds
        store.publish(folder / "a", [b"1"])
        store.publish(folder / "b", [b"22"])
        first = store.written(folder)
        assert before < first <= now()
        assert before < store.written(folder / "a") <= first
        time.sleep(1.05)
        store.touch(folder)
        assert store.written(folder) > first
        assert b"".join(store.pieces(folder / "a")) == b"1"
        assert sum(inside(store, folder).values()) == 3

    def test_replace__puts_other_bytes_in_its_place(self, store: Store, folder: Path) -> None:
        make_folder(folder)
        store.publish(folder / "a", [b"wrong"])
        assert store.local(folder / "a").read_bytes() == b"wrong"
        store.replace(folder / "a", b"right")
        assert store.local(folder / "a").read_bytes() == b"right"
        assert store.digest(folder / "a") == digest_of([b"right"])

    def test_remove__takes_a_folder_and_nothing_beside_it(self, store: Store, folder: Path) -> None:
        make_folder(folder)
        beside = folder.with_name(f"{folder.name}0")
        make_folder(beside)
        for one in (folder / "a", folder / "b", beside / "a"):
            store.publish(one, [b"123"])
        assert store.remove(folder / "a") == 3
        assert not store.local(folder / "a").exists()
        assert store.remove(folder) == 3
        assert not store.exists(folder)
        assert not folder.exists()
        assert store.exists(beside / "a")

    def test_what_is_not_the_catalogs__stays_on_the_disk(self, store: Store) -> None:
        path = store.root / fresh_name()
        store.publish(path, [b"1"])
        assert path.read_bytes() == b"1"
        assert store.local(path) == path
        assert not store.drop_copy(path)
        store.replace(path, b"2")
        assert b"".join(store.pieces(path)) == b"2"
        make_folder(store.root / "tensors")
        staged = staging_path(store.root / "tensors" / "x")
        staged.write_bytes(b"123")
        assert store.exists(staged)
        assert store.written(staged) > now() - timedelta(hours=1)
        assert store.remove(staged) == 3
        assert store.remove(path) == 1
