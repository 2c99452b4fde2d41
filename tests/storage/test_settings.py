"""A folder is a lake by its lake.toml, and what is none is refused in one line."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from actlake.storage import Lake
from actlake.storage import settings as module
from actlake.storage.errors import FormatError, InputError
from actlake.storage.settings import (
    FORMAT,
    CatalogPlace,
    StorePlace,
    new_settings,
    prepare_folder,
    read_settings,
    refuse_network_file_system,
    write_settings,
)
from tests.storage.conftest import python


@pytest.mark.parametrize("catalog", ["sqlite", "postgres: dbname=lake host=/a\\b\"c' 'port=1"])
def test_settings__come_back_as_written(tmp_path: Path, catalog: str) -> None:
    written = new_settings(catalog)
    digest = write_settings(tmp_path, written)
    assert read_settings(tmp_path) == written
    assert written.format == FORMAT
    assert digest.bytes == (tmp_path / "lake.toml").stat().st_size


def test_write_settings__refuses_a_lake(tmp_path: Path) -> None:
    write_settings(tmp_path, new_settings("sqlite"))
    before = (tmp_path / "lake.toml").read_bytes()
    with pytest.raises(InputError, match="become a lake"):
        write_settings(tmp_path, new_settings("sqlite"))
    assert (tmp_path / "lake.toml").read_bytes() == before


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_prepare_folder__refuses_what_is_there(tmp_path: Path, taken: str) -> None:
    place = tmp_path / "lake"
    if taken == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        prepare_folder(place, CatalogPlace())
    assert sorted(tmp_path.rglob("*")) in ([place], [place, place / "mine"])


def test_read_settings__says_what_is_no_lake(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FormatError, match="not a lake"):
            read_settings(place)


@pytest.mark.parametrize(
    "damage",
    [b"", b"format = 1\n", b"format =", b"\xff\xfe", b'format = "x"', b"format = 1\nlake = 'a'\0"],
)
def test_read_settings__says_that_the_file_is_damaged(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "lake.toml").write_bytes(damage)
    with pytest.raises(FormatError, match="is damaged") as caught:
        read_settings(tmp_path)
    assert "\n" not in str(caught.value)


def test_read_settings__refuses_a_newer_format_whatever_else_it_says(tmp_path: Path) -> None:
    text = f"format = {FORMAT + 1}\nactlake_version = '9.1'\n"
    (tmp_path / "lake.toml").write_text(text)
    with pytest.raises(FormatError, match=r"install actlake 9\.1 or newer"):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("written", "now", "said"),
    [
        ('"sqlite"', '"oracle"', "'oracle'"),
        ('"s3"', '"gcs"', "names a store that"),
        ("s3://bucket/x", "s3://key:hunter2@bucket/x", "names a store that"),
        ("s3://bucket/x", "s3://bucket/../x", "names a store that"),
    ],
)
def test_read_settings__refuses_a_place_it_does_not_know(
    tmp_path: Path, written: str, now: str, said: str
) -> None:
    write_settings(tmp_path, new_settings("sqlite", "s3://bucket/x/"))
    assert read_settings(tmp_path).store == StorePlace("s3", "s3://bucket/x")
    file = tmp_path / "lake.toml"
    file.write_text(file.read_text().replace(written, now))
    with pytest.raises(FormatError, match=said) as caught:
        read_settings(tmp_path)
    assert "hunter2" not in str(caught.value)


def test_network_file_system__is_found_in_the_mount_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "a share"
    share.mkdir()
    mounts = tmp_path / "mounts"
    escaped = str(share).replace(" ", "\\040")
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nhost:/x {escaped} nfs4 rw 0 0\n")
    monkeypatch.setattr(module, "MOUNTS", mounts)

    refuse_network_file_system(tmp_path)
    refuse_network_file_system(tmp_path / "a shared place")
    for place in (share, share / "lake"):
        with pytest.raises(InputError, match="network file system"):
            refuse_network_file_system(place)
    with pytest.raises(InputError, match="network file system"):
        Lake.create(share / "lake")
    assert not any(share.iterdir())


def test_open__refuses_a_lake_that_was_moved_to_a_network_file_system(
    empty_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("host:/x / nfs rw 0 0\n")
    monkeypatch.setattr(module, "MOUNTS", mounts)
    with pytest.raises(InputError, match="network file system"):
        Lake.open(empty_lake)


AS_SOMEBODY = """
import os, sys
from actlake.storage import Lake, LakeError
root = sys.argv[1]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    Lake.create(root + "/new")
except LakeError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user to lose its rights")
def test_read_only_folder__is_refused_in_one_line() -> None:
    with TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        out, err = python(AS_SOMEBODY, folder).communicate()
        assert out.startswith("InputError no lake can be made at"), (out, err)
        assert len(out.splitlines()) == 1
        assert not any(Path(folder).iterdir())
