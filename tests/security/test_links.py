"""A link that leads out of a lake is told, and nothing outside is read, changed or removed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from actlake.flows.delete import delete
from actlake.flows.gc import gc
from actlake.storage import Lake
from actlake.storage.backup import back_up
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


def _there(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


PLACES: dict[str, Callable[[Lake], Path]] = {
    "a chunk": _chunk,
    "a table file": _table,
    "a folder of a tensor": lambda lake: lake.tensor("t:float32").folder,
    "the folder of tensors": lambda lake: lake.root / "tensors",
    "the folder of a table": lambda lake: _table(lake).parent,
    "the folder of all tables": lambda lake: lake.root / "tables" / "main",
    "the folder of tables": lambda lake: lake.root / "tables",
    "lake.toml": lambda lake: lake.root / "lake.toml",
    "a folder of codes": lambda lake: lake.codes("d@c").folder,
    "the folder of a rowset's column": lambda lake: (
        lake.tensor("t:float32").rowset.folder / "document"
    ),
    "the folder of dictionaries": lambda lake: _there(lake.root / "dictionaries"),
    "the folder of backups": lambda lake: _there(lake.root / "backups"),
    "the folder of checkpoints": lambda lake: _there(lake.root / "checkpoints"),
    "the catalog": lambda lake: lake.root / "catalog.sqlite",
    "the claims": lambda lake: lake.root / "claims.sqlite",
}


def _verify(lake: Lake) -> list[str]:
    return [str(fault) for fault in lake.verify()]


def _delete(lake: Lake) -> list[str]:
    delete(lake, kind="tensor", name="t:float32", cascade=True)
    return []


def _back_up(lake: Lake) -> list[str]:
    back_up(lake.root, lake._catalog, lake._claims, keep=1)
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
    for attempt in (_verify, _back_up, _delete, _gc):
        try:
            lake = Lake.open(copy)
            told += attempt(lake)
            lake.close()
        except LakeError as error:
            told.append(str(error))
    assert any("link" in one for one in told), told
    assert _hashes(outside) == before


def test_backup__is_not_written_through_a_link_that_came_after_the_lake_was_opened(
    copy: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "5").mkdir(parents=True)  # as what a killed backup leaves
    (outside / "5" / "precious").write_text("keep", "utf-8")
    lake = Lake.open(copy)
    (copy / "backups").symlink_to(outside)
    with pytest.raises(LakeError, match="backups is a link"):
        _back_up(lake)
    lake.close()
    assert (outside / "5" / "precious").read_text("utf-8") == "keep"
    assert [one.name for one in outside.iterdir()] == ["5"]


@pytest.mark.parametrize("name", ["checkpoints", "rowsets", "tensors", "dictionaries"])
def test_run__is_not_begun_beside_a_link_that_came_after_the_lake_was_opened(
    copy: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lake = Lake.open(copy)
    runs = lake.sql("SELECT count(*) FROM runs").rows()
    _linked(_there(copy / name), outside)
    before = _hashes(outside)
    with pytest.raises(LakeError, match=f"{name} is a link"), lake.run("test", {}, {}):
        raise AssertionError
    assert _hashes(outside) == before
    assert [*lake.sql("SELECT count(*) FROM runs").rows()] == [*runs]
    lake.close()


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
