"""A lake in a folder that this process may not write is read as it is."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from actlake.storage import sqlite_copy
from tests.storage.conftest import Planted, python

WRITER = """
import sys
from actlake.storage import Lake
Lake.open(sys.argv[1]).create_mask("another", "position > 3")
"""
SOMEBODY = """
import os, sys, tempfile
from contextlib import closing
from actlake.storage import Lake, LakeError
temporary, warm, *roots = sys.argv[1:]

def look(root):
    with closing(Lake.open(root)) as lake:
        yield len(lake.sql("SELECT * FROM masks").rows())
        yield float(lake.tensor("t:float32")[:].sum())
        yield len(lake.at(lake.newest_snapshot()).sql("SELECT * FROM masks").rows())
        for write in (
            lambda: lake.create_mask("m", "position > 1"),
            lambda: lake.pin("mine"),
            lambda: lake.create_tensor("new", rowset="c@w", width=1),
        ):
            try:
                yield write()
            except LakeError as error:
                yield f"{type(error).__name__}: {error}".split(" (")[0]

list(look(warm))  # while it may still read what it imports
os.setgroups([]); os.setgid(65534); os.setuid(65534)
tempfile.tempdir = temporary
for root in roots:
    print(root, *look(root), sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user to lose its rights")
def test_somebody_elses_lake__is_read_and_not_written(planted: Planted) -> None:
    with TemporaryDirectory() as folder:  # pytest's own are closed to other users
        Path(folder).chmod(0o755)
        (temporary := Path(folder, "tmp")).mkdir()
        temporary.chmod(0o777)
        lakes = {name: Path(folder, name) for name in ("warm", "closed", "open", "left", "log")}
        for name in ("warm", "closed", "open"):
            shutil.copytree(planted.root, lakes[name])
        # While somebody reads, in a process of its own, nobody takes the log into the database.
        with closing(sqlite3.connect(lakes["open"] / "catalog.sqlite")) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM ducklake_snapshot").fetchall()
            _, err = python(WRITER, lakes["open"]).communicate()
            assert (lakes["open"] / "catalog.sqlite-wal").stat().st_size > 0, err
            for name in ("left", "log"):  # as they are where the machine stopped
                shutil.copytree(lakes["open"], lakes[name])
            (lakes["log"] / "catalog.sqlite-shm").unlink()
            roots = {name: lake for name, lake in lakes.items() if name != "warm"}
            before = {name: sorted(lake.iterdir()) for name, lake in roots.items()}
            out, err = python(SOMEBODY, temporary, *lakes.values()).communicate()
            assert {name: sorted(lake.iterdir()) for name, lake in roots.items()} == before
        assert not any(temporary.iterdir())
    masks = len(planted.lake.sql("SELECT * FROM masks").rows())
    total = float(planted.tensors["float32"].sum())
    found = out.splitlines()
    assert len(found) == 4, err
    for name, line in zip([*lakes][1:], found, strict=True):
        seen = masks + (name != "closed")  # what others have committed, be it only in their log
        refusal = f"DiskError: {lakes[name]} cannot be written"
        values = (lakes[name], seen, total, seen, refusal, refusal, refusal)
        assert line == "|".join(map(str, values))


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A database that SQLite cannot read where it may not write, with a row in its log."""
    with closing(sqlite3.connect(tmp_path / "live")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
        connection.commit()
        for name in ("live", "live-wal"):
            shutil.copyfile(tmp_path / name, tmp_path / name.replace("live", "still"))
    return tmp_path / "still"


def test_copy__is_made_again_while_the_database_changes(
    logged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreadable(sqlite3.Connection):
        def backup(self, *args: object, **kwargs: object) -> None:
            raise sqlite3.OperationalError("unable to open database file")

    def connect(path: object, **options: object) -> sqlite3.Connection:
        return Unreadable(str(path), uri=bool(options.get("uri")))

    def copyfile(source: Path, target: Path) -> None:
        copied.append(source.name)
        shutil_copyfile(source, target)
        if len(copied) <= changes:
            os.utime(logged, ns=(len(copied), len(copied)))

    shutil_copyfile = shutil.copyfile
    copied: list[str] = []
    changes = 3
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", connect)
        patch.setattr(shutil, "copyfile", copyfile)
        sqlite_copy.copy_unwritable(logged, tmp_path / "copy")
        assert copied == ["still", "still-wal"] * 3
        copied, changes = [], 1000
        with pytest.raises(sqlite3.OperationalError, match="changes too fast"):
            sqlite_copy.copy_unwritable(logged, tmp_path / "other")
    with closing(sqlite3.connect(tmp_path / "copy")) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
