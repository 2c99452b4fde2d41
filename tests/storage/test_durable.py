"""A file is whole or absent, and nothing is ever replaced."""

import os
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from actlake.storage.durable import (
    Digest,
    digest,
    make_folder,
    publish,
    publish_folder,
    replace_file,
    staging_path,
)


def test_publish__writes_all_pieces_and_their_digest(tmp_path: Path) -> None:
    pieces: list[bytes | bytearray | memoryview] = [b"one", bytearray(), memoryview(b"three")]
    found = publish(tmp_path / "a", pieces)
    assert (tmp_path / "a").read_bytes() == b"onethree"
    assert found == Digest(8, xxhash.xxh3_128(b"onethree").hexdigest()) == digest(tmp_path / "a")
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


@given(content=st.binary(max_size=3 << 10), cut=st.integers(0, 3 << 10))
def test_digest__is_that_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, cut: int
) -> None:
    place = tmp_path_factory.mktemp("digest") / "a"
    assert publish(place, [content[:cut], content[cut:]]) == digest(place)
    assert digest(place) == Digest(len(content), xxhash.xxh3_128(content).hexdigest())


def test_publish__never_replaces(tmp_path: Path) -> None:
    publish(tmp_path / "a", [b"first"])
    with pytest.raises(FileExistsError):
        publish(tmp_path / "a", [b"second"])
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [*tmp_path.iterdir()] == [tmp_path / "a"]


def test_publish__that_fails_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> list[bytes]:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        publish(tmp_path / "a", (piece for piece in [b"x", *pieces()]))
    assert [*tmp_path.iterdir()] == []


def test_publish__flushes_the_file_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut after the name appears must not show an empty file."""
    happened: list[str] = []
    fsync, link = os.fsync, os.link

    def seen_fsync(descriptor: int) -> None:
        happened.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def seen_link(source: Path, target: Path) -> None:
        happened.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "link", seen_link)
    publish(tmp_path / "a", [b"x"])
    assert [Path(name).suffix for name in happened[:1]] == [".tmp"]
    assert happened[1:] == ["link", str(tmp_path)]


def test_publish_folder__gives_the_name_or_refuses(tmp_path: Path) -> None:
    for attempt in range(2):
        staged = staging_path(tmp_path / "final")
        staged.mkdir()
        (staged / "file").write_text(str(attempt))
        if attempt == 0:
            publish_folder(staged, tmp_path / "final")
        else:
            with pytest.raises(FileExistsError):
                publish_folder(staged, tmp_path / "final")
    assert (tmp_path / "final" / "file").read_text() == "0"
    assert [*tmp_path.iterdir()] == [tmp_path / "final"]


def test_replace_file__replaces_whole(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "er" / "a"
    for text in (b"a longer first", b"second"):
        replace_file(place, text)
        assert place.read_bytes() == text
    assert [*place.parent.iterdir()] == [place]


def test_make_folder__makes_what_is_missing(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_staging_path__is_beside_and_never_the_same(tmp_path: Path) -> None:
    paths = {staging_path(tmp_path / "x") for _ in range(100)}
    assert len(paths) == 100
    assert {path.parent for path in paths} == {tmp_path}
    assert all(path.name.startswith(".x.") and path.suffix == ".tmp" for path in paths)
