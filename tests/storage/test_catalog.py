"""The catalog in a SQLite file: what every database keeps, and what is special to files."""

import getpass
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from actlake.storage import Lake
from actlake.storage import catalog as module
from actlake.storage.errors import LakeError
from actlake.storage.guard import sandboxed
from tests.storage.conformance.appending import AppendingTests
from tests.storage.conformance.catalog import CatalogTests
from tests.storage.conformance.protocol import ProtocolTests
from tests.storage.conformance.shards import ShardTests


class TestSqliteCatalog(CatalogTests):
    pass


class TestSqliteAppending(AppendingTests, ShardTests):
    @pytest.fixture
    def pair(self, empty_lake: Path, tmp_path: Path) -> tuple[Path, Path]:
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        return shutil.copytree(empty_lake, ours), shutil.copytree(empty_lake, theirs)


class TestSqliteProtocol(ProtocolTests):
    @pytest.fixture
    def words(self) -> str:
        return "sqlite"


def test_reader__spills_what_its_memory_cannot_hold(
    bench: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    reader = bench._catalog.attached().raw
    reader.execute("SET memory_limit = '50MB'")
    reader.execute("SET threads = 1")
    sandboxed(reader, [f"{bench.root}/tables"])
    query = "SELECT i, hash(i) AS h FROM range(4_000_000) AS t(i) ORDER BY h"
    rows = reader.execute(query)
    assert rows.fetchone() is not None
    [spill] = tmp_path.iterdir()
    assert any(spill.iterdir())
    reader.close()
    assert not spill.exists()


def test_author__is_known_without_a_password_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert module.author().isdigit()


def test_damaged_catalog__is_said_in_one_line(empty_lake: Path, tmp_path: Path) -> None:
    (tmp_path / "lake.toml").write_bytes((empty_lake / "lake.toml").read_bytes())
    with pytest.raises(LakeError, match="no catalog"):
        Lake.open(tmp_path)
    (tmp_path / "catalog.sqlite").write_bytes(b"x" * 10_000)
    with pytest.raises(LakeError, match="cannot read") as caught:
        Lake.open(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_reader__that_waits_lets_the_log_end(bench: Lake, tmp_path: Path) -> None:
    """A transaction left open would keep what others commit in a log that grows for days."""
    root = Path(shutil.copytree(bench.root, tmp_path / "lake"))
    log = root / "catalog.sqlite-wal"
    with closing(Lake.open(root)) as reader, closing(Lake.open(root)) as writer:
        number = 0

        def committed() -> None:
            nonlocal number
            number += 1
            writer.create_mask(f"waits-{number}", f"position > {number}")
            assert not log.exists() or log.stat().st_size == 0

        committed()
        [tensor, *_] = reader.sql("SELECT tensor FROM tensors").pl()["tensor"]
        committed()
        for look in (
            reader.newest_snapshot,
            lambda: reader.tensor(tensor)[:],
            lambda: reader.mask("all"),
            lambda: [*reader.sql("SELECT 1 FROM shards").rows()],
            lambda: reader.table("tokens").collect(),
            lambda: reader.snapshots(3),
            lambda: [*reader.verify()],
            lambda: reader.create_mask("own", "position > 0"),
            lambda: reader.at(reader.newest_snapshot()).close(),
        ):
            look()
            committed()
