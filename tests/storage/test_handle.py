"""Whatever DuckDB makes of a damaged catalog or Parquet file, every reader tells in one line."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from actlake.storage import Lake
from actlake.storage.durable import replace_file
from actlake.storage.errors import CorruptError, QueryError, RoomError
from actlake.storage.handle import unreadable
from tests.storage.conftest import Planted

DATA_FILES = """
    UPDATE ducklake_data_file SET {} WHERE table_id IN (
        SELECT table_id FROM ducklake_table WHERE table_name IN ('masks', 'corpora')
    )
"""


def said(text: str) -> Callable[[Path], None]:
    """Changes the catalog, as flipped bits would."""

    def change(root: Path) -> None:
        with closing(sqlite3.connect(root / "catalog.sqlite")) as connection:
            assert connection.execute(text).rowcount > 0
            connection.commit()

    return change


def cut(root: Path) -> None:
    for table in ("masks", "corpora"):
        for file in (root / "tables" / "main" / table).glob("*.parquet"):
            replace_file(file, file.read_bytes()[:-9])


DAMAGES = {
    "another path": said(DATA_FILES.format("path = 'b' || path")),
    "no text": said(DATA_FILES.format("path = CAST(x'ff' AS TEXT)")),
    "cut files": cut,
}
READERS: dict[str, Callable[[Lake], object]] = {
    "mask": lambda lake: lake.mask("all"),
    "table": lambda lake: lake.table("masks").collect(),
    "columns of a table": lambda lake: lake.table("masks").select("mask").collect(),
    "sql": lambda lake: lake.sql("SELECT mask FROM masks").rows(),
    "fingerprint": lambda lake: lake.corpus_fingerprint("c"),
    "write": lambda lake: lake.create_mask("new", "position > 4"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage__is_one_line_wherever_it_is_met(
    planted: Planted, tmp_path: Path, damage: str
) -> None:
    root = Path(shutil.copytree(planted.root, tmp_path / "lake"))
    DAMAGES[damage](root)
    with closing(Lake.open(root, verify="never")) as lake:
        for name, reader in READERS.items():
            with pytest.raises(QueryError if name == "sql" else CorruptError) as caught:
                reader(lake)
            assert "\n" not in str(caught.value)


def test_reader__of_one_row_of_a_table_is_held_against_its_file(
    planted: Planted, tmp_path: Path
) -> None:
    """Also where only a fingerprint, or which shards there are, is asked for."""
    root = Path(shutil.copytree(planted.root, tmp_path / "lake"))
    for table in ("corpora", "shards"):
        for file in (root / "tables" / "main" / table).glob("*.parquet"):
            replace_file(file, file.read_bytes() + b"x")
    id_ = planted.lake.tensor("t:bfloat16").id
    with closing(Lake.open(root, verify="always")) as lake:
        for ask in (lambda: lake.corpus_fingerprint("c"), lambda: lake.committed_shards(id_)):
            with pytest.raises(CorruptError, match="is not what was committed"):
                ask()


def test_query_without_room__is_no_damage() -> None:
    error = unreadable(duckdb.OutOfMemoryException("failed to allocate 2 GiB"))
    assert isinstance(error, RoomError)
    assert "ask for less at once" in str(error)


def test_catalog__that_would_end_the_process_is_refused(planted: Planted, tmp_path: Path) -> None:
    root = Path(shutil.copytree(planted.root, tmp_path / "lake"))
    said("UPDATE ducklake_column_mapping SET type = 'map_by_jame'")(root)
    with pytest.raises(CorruptError, match="a way called 'map_by_jame'"):
        Lake.open(root)
