"""Verify: what is wrong is found and named, whichever snapshot or database says what it must be."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import numpy as np
import pytest

from actlake.storage import Lake, verify
from actlake.storage.backup import back_up
from actlake.storage.backup_check import backup_faults
from actlake.storage.catalog_check import catalog_disagrees, names_disagree
from actlake.storage.durable import digest, replace_file
from actlake.storage.errors import CorruptError, FormatError
from actlake.storage.fields import TABLES
from actlake.storage.local_store import LocalStore
from actlake.storage.repair import mend_settings
from actlake.storage.sqlite_check import sqlite_faults
from actlake.storage.verify import Fault, verify_unopened
from tests.storage.conftest import Planted


@pytest.fixture
def root(planted: Planted, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted.root, tmp_path / "lake"))


def changed(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    replace_file(path, content)


def statement(file: Path, text: str, *values: object) -> None:
    """Change a database that nobody has open, as a flipped bit would."""
    with closing(sqlite3.connect(file)) as connection:
        cursor = connection.execute(text, values)
        assert cursor.rowcount == 1, text
        connection.commit()


def faults(root: Path) -> list[Fault]:
    with closing(Lake.open(root)) as lake:
        return [*lake.verify()]


def test_verify__reads_what_only_older_snapshots_name(root: Path) -> None:
    with closing(Lake.open(root)) as lake:
        chunk = lake.tensor("t:bfloat16").folder / "c.2.0"
        start, stop = lake.tensor("t:bfloat16").grid.span(2)
        delete = "DELETE FROM tensors WHERE tensor = 't:bfloat16'"
        lake._catalog.commit(lambda now: now.execute(delete), "test")
        receipts = "DELETE FROM shards WHERE owner = $owner"
        lake._catalog.commit(lambda now: now.execute(receipts, owner=chunk.parent.name), "test")
        assert [*lake.verify()] == []
        changed(chunk, 3)
        [fault] = lake.verify()
        assert fault.path == chunk.relative_to(root).as_posix()
        assert (fault.owner, fault.row_start, fault.row_stop) == ("t:bfloat16", start, stop)
        lake._claims.forget_files([f"tensors/{chunk.parent.name}/zarr.json"])
        assert [*lake.verify()] == []  # it was abandoned, so its files may be gone


def test_verify__tells_of_files_without_a_hash_and_adopts_them(root: Path) -> None:
    with closing(Lake.open(root)) as lake:
        [path, *_] = [one for one in lake._claims.files() if one.startswith("tables/main/tokens")]
        lake._claims.forget_files([path])
        told: list[str] = []
        assert [*lake.verify(tell=told.append)] == []
        assert [line.split(" ")[0] for line in told] == [path]
        assert lake._claims.files()[path] == digest(root / path)
        assert [*lake.verify(tell=told.append)] == []
        assert len(told) == 1


def test_verify__names_the_rows_of_tables(root: Path) -> None:
    postings = max((root / "tables/main/postings").iterdir(), key=lambda one: one.stat().st_size)
    tokens = max((root / "tables/main/tokens").iterdir(), key=lambda one: one.stat().st_size)
    for path in (postings, tokens):
        changed(path, 20)
    with closing(Lake.open(root)) as lake:
        rows = lake.rowset("c@w").rows
        found = {one.path: one for one in lake.verify()}
        assert len(found) == 2
        [of_tokens] = [one for path, one in found.items() if "tokens" in path]
        [of_postings] = [one for path, one in found.items() if "postings" in path]
    assert (of_tokens.owner, of_tokens.row_start, of_tokens.row_stop) == ("c@w", 0, rows)
    assert of_postings.owner == "d@c"
    assert of_postings.row_start is not None
    assert of_postings.row_stop is not None
    assert 0 <= of_postings.row_start < of_postings.row_stop <= of_postings.row_start + 4


DATA_FILE = "(SELECT max(data_file_id) FROM ducklake_data_file)"
LIES: dict[str, tuple[str, str, str]] = {
    "rows": (
        "catalog.sqlite",
        f"UPDATE ducklake_data_file SET record_count = record_count + 1 "
        f"WHERE data_file_id = {DATA_FILE}",
        "rows and not",
    ),
    "size": (
        "catalog.sqlite",
        f"UPDATE ducklake_data_file SET file_size_bytes = file_size_bytes + 4 "
        f"WHERE data_file_id = {DATA_FILE}",
        "bytes and not",
    ),
    "snapshot": (
        "catalog.sqlite",
        f"UPDATE ducklake_data_file SET begin_snapshot = begin_snapshot + 4096 "
        f"WHERE data_file_id = {DATA_FILE}",
        "the catalog has it from snapshot",
    ),
    "bounds": (
        "catalog.sqlite",
        "UPDATE ducklake_file_column_stats SET max_value = '1' || max_value WHERE rowid = "
        "(SELECT max(rowid) FROM ducklake_file_column_stats WHERE max_value GLOB '[0-9]*')",
        "other bounds or counts of its column",
    ),
    "name": (
        "claims.sqlite",
        "UPDATE names SET fingerprint = 'x' WHERE kind = 'tensor' AND name = 't:float16'",
        "names has another id or fingerprint",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_verify__finds_what_a_database_says_wrongly(root: Path, lie: str) -> None:
    file, text, what = LIES[lie]
    statement(root / file, text)
    with closing(Lake.open(root)) as lake:
        connection, recorded = lake.reading.connection().raw, lake.reading.recorded()
        found = [
            *(said for *_, said in catalog_disagrees(connection, LocalStore(root), recorded, ())),
            *(said for _, said in names_disagree(connection, lake._claims)),
        ]
    assert len(found) == 1, found
    assert what in found[0]


def test_verify__finds_a_path_and_a_hash_that_are_wrong(root: Path) -> None:
    path = f"UPDATE ducklake_data_file SET path = 'x' || path WHERE data_file_id = {DATA_FILE}"
    statement(root / "catalog.sqlite", path)
    statement(root / "claims.sqlite", "UPDATE files SET xxh3_128 = 'x' WHERE path = 'lake.toml'")
    found = faults(root)
    assert (found[0].path, found[0].what) == ("lake.toml", "its content changed")
    assert any(one.what == "missing" and "/x" in one.path for one in found)


def test_verify__finds_broken_pages(root: Path) -> None:
    with closing(sqlite3.connect(root / "catalog.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert [*sqlite_faults([root / "catalog.sqlite", root / "claims.sqlite"])] == []
    content = bytearray((root / "catalog.sqlite").read_bytes())
    content[4096 * 5 : 4096 * 5 + 8] = bytes(8)  # the head of a page
    replace_file(root / "catalog.sqlite", content)
    [(file, what), *_] = sqlite_faults([root / "catalog.sqlite", root / "claims.sqlite"])
    assert file == root / "catalog.sqlite"
    assert len(what.splitlines()) == 1
    assert next(verify_unopened(root)).path == "catalog.sqlite"
    (root / "claims.sqlite").unlink()
    assert ("claims.sqlite", "missing") in {
        (path.name, what) for path, what in sqlite_faults([root / "claims.sqlite"])
    }


def test_unopened__lakes_are_verified_too(root: Path) -> None:
    [migrations, *_] = (root / "tables/main/migrations").glob("*.parquet")
    before = migrations.read_bytes()
    replace_file(migrations, before[:-40])
    with pytest.raises(CorruptError, match="actlake verify"):
        Lake.open(root)
    [fault] = verify_unopened(root)
    assert fault.path == migrations.relative_to(root).as_posix()
    replace_file(migrations, before)

    with closing(Lake.open(root)) as lake:
        back_up(root, lake._catalog, lake._claims, keep=1)
    settings = (root / "lake.toml").read_bytes()
    for content in (settings[:-30], settings.replace(b"format", b"fbrmat"), None):
        if content is None:
            (root / "lake.toml").unlink()
        else:
            replace_file(root / "lake.toml", content)
        with pytest.raises(FormatError):
            Lake.open(root)
        [fault] = verify_unopened(root)
        assert fault.path == "lake.toml"
        assert mend_settings(root)
        assert (root / "lake.toml").read_bytes() == settings
    assert not mend_settings(root)
    assert faults(root) == []


def test_backups__hold_a_hash_of_their_own_record(root: Path) -> None:
    with closing(Lake.open(root)) as lake:
        backup = back_up(root, lake._catalog, lake._claims, keep=1)
        assert [*lake.verify()] == []
    record = backup.folder / "backup.json"
    for file in sorted(backup.folder.iterdir()):
        size = file.stat().st_size
        for byte in np.linspace(0, size - 2, 40 if file == record else 3).astype(int).tolist():
            before = file.read_bytes()
            changed(file, byte)
            # White space between the words of the record says nothing.
            same = file == record and is_same(before, file.read_bytes())
            assert same or [path for path, _ in backup_faults(root)], (file, byte)
            replace_file(file, before)
    (backup.folder / "claims.sqlite").unlink()
    assert [path for path, _ in backup_faults(root)] == [f"backups/{backup.snapshot}/claims.sqlite"]
    assert [one.owner for one in faults(root)] == ["backup"]


def is_same(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("most", [verify.SMALL_BYTES, 0])
def test_checks__hold_small_tables_and_read_others_where_they_lie(
    root: Path, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []
    execute = duckdb.DuckDBPyConnection.execute

    def listening(con: duckdb.DuckDBPyConnection, query: str, *given: object) -> object:
        held.extend(re.findall("^CREATE TEMP TABLE ([a-z_]+)", query))
        return execute(con, query, *given)

    monkeypatch.setattr(duckdb.DuckDBPyConnection, "execute", listening)
    monkeypatch.setattr(verify, "SMALL_BYTES", most)
    assert faults(root) == []
    with closing(Lake.open(root)) as lake:
        empty = {table for table in TABLES if lake.table(table).collect().is_empty()}
    assert {*held} == ({*TABLES} if most else empty)
    assert 0 < len(empty) < len(TABLES)
