"""A link that leads out of a lake is told, and nothing outside is read, changed or removed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actlake.flows.delete import delete
from actlake.flows.gc import gc
from actlake.storage import Lake
from actlake.storage.errors import CorruptError, LakeError
from tests.storage.conftest import Planted


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _linked(place: Path, outside: Path) -> Path:
    """Move a file or folder of the lake outside, and leave a link; where it is now."""
    moved = outside / place.name
    place.rename(moved)
    place.symlink_to(moved)
    return moved


def _chunk(lake: Lake) -> Path:
    return sorted(lake.tensor("t:float32").folder.glob("c.*"))[0]


def _table(lake: Lake) -> Path:
    return sorted((lake.root / "tables/main/documents").glob("*.parquet"))[0]


PLACES: dict[str, Callable[[Lake], Path]] = {
    "a chunk": _chunk,
    "a table file": _table,
    "a folder of a tensor": lambda lake: lake.tensor("t:float32").folder,
    "the folder of tensors": lambda lake: lake.root / "tensors",
    "the folder of a table": lambda lake: _table(lake).parent,
    "the folder of all tables": lambda lake: lake.root / "tables" / "main",
    "the folder of tables": lambda lake: lake.root / "tables",
    "lake.toml": lambda lake: lake.root / "lake.toml",
}


def _verify(lake: Lake) -> list[str]:
    return [str(fault) for fault in lake.verify()]


def _delete(lake: Lake) -> list[str]:
    delete(lake, kind="tensor", name="t:float32", cascade=True)
    return []


def _gc(lake: Lake) -> list[str]:
    gc(lake, expire_days=0, keep_snapshots=1, grace_hours=0)
    return []


@pytest.fixture
def copy(planted: Planted, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted.root, tmp_path / "lake"))


@pytest.mark.parametrize("place", PLACES)
def test_link__out_of_the_lake_is_told_by_verify_and_followed_by_no_removal(
    place: str, copy: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep", "utf-8")
    lake = Lake.open(copy)
    linked = PLACES[place](lake)
    lake.close()
    _linked(linked, outside)
    before = _hashes(outside)
    told = []
    for attempt in (_verify, _delete, _gc):
        try:
            lake = Lake.open(copy)
            told += attempt(lake)
            lake.close()
        except LakeError as error:
            told.append(str(error))
    assert any("link" in one for one in told), told
    assert _hashes(outside) == before


def test_reader__does_not_follow_a_link_to_other_rows(copy: Path, tmp_path: Path) -> None:
    lake = Lake.open(copy)
    chunk = _chunk(lake)
    other = tmp_path / "other"
    other.write_bytes(bytes(chunk.stat().st_size))
    chunk.unlink()
    chunk.symlink_to(other)
    with pytest.raises(CorruptError):
        lake.tensor("t:float32")[0:1]
    lake.close()
