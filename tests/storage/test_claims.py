"""Claims in a SQLite file: what every database keeps, and what is special to files."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy

from actlake.storage.claims import Claims
from actlake.storage.errors import BusyError, FormatError
from actlake.storage.settings import CatalogPlace
from actlake.storage.sqlite_database import SqliteDatabase
from tests.storage.conformance.claims import ClaimsTests
from tests.storage.conftest import python

CREATOR = """
import sys
from pathlib import Path
from actlake.storage.claims import Claims
from actlake.storage.sqlite_database import SqliteDatabase
Claims(SqliteDatabase(Path(sys.argv[1]))).create()
"""


class TestSqliteClaims(ClaimsTests):
    @pytest.fixture
    def place(self) -> CatalogPlace:
        return CatalogPlace()


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    found = Claims(SqliteDatabase(tmp_path))
    found.create()
    return found


def test_create__may_race(tmp_path: Path) -> None:
    racers = [python(CREATOR, tmp_path) for _ in range(3)]
    assert [(racer.communicate()[1], racer.returncode) for racer in racers] == [("", 0)] * 3


def test_damaged_or_lost_file__is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such table"):
        Claims(SqliteDatabase(tmp_path)).pins()
    (tmp_path / "claims.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(FormatError, match="not a database") as caught:
        Claims(SqliteDatabase(tmp_path)).pins()
    assert len(str(caught.value).splitlines()) == 1


def test_locked_file__is_busy(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(tmp_path / "claims.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with claims.database.engine.connect() as probe:
        assert probe.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30000
        assert probe.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert probe.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    sqlalchemy.event.listen(
        claims.database.engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA busy_timeout = 10"),
    )
    with pytest.raises(BusyError, match="locked"):
        claims.pin(1, "x")
    assert claims.pins() == []  # readers are not kept waiting
    other.execute("ROLLBACK")
    other.close()
    claims.pin(1, "x")
