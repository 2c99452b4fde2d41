"""The store that is a folder."""

import errno
import os
from pathlib import Path

import pytest

from actlake.storage.errors import DiskError
from actlake.storage.local_store import LocalStore
from actlake.storage.store import Store
from tests.storage.conformance.store import StoreTests


class TestLocalStore(StoreTests):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return LocalStore(tmp_path.resolve())


def test_remove__touches_nothing_outside(tmp_path: Path) -> None:
    """What is to go is named by tables, which may say anything."""
    others = tmp_path / "others"
    others.mkdir()
    (lake := tmp_path / "lake").mkdir()
    for path in (others, lake / ".." / "others"):
        assert LocalStore(lake).remove(path) is None
    assert others.is_dir()


def test_settle__tells_what_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    path = tmp_path / "file"
    path.write_bytes(b"x")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DiskError, match=f"{path} cannot be written .*make it writable, then run"):
        LocalStore(tmp_path).settle(path)
