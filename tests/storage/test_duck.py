"""Connections state their limits; lakes attach wherever they are."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from actlake.storage import duck
from actlake.storage.duck import attach_lake, connect, literal, load_extension, one_line
from actlake.storage.errors import FormatError, InputError, LakeError, NotFoundError
from actlake.storage.sqlite_database import SqliteDatabase

AWKWARD = ["plain", "with space", "it's", 'a"b', "a;b--c", "día-日本", "{data_path}", "a%20b?c#d"]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    con = connect(extensions=SqliteDatabase.extensions, threads=1)
    yield con
    con.close()


@contextmanager
def attached(
    con: duckdb.DuckDBPyConnection, root: Path, *, read_only: bool, snapshot: int | None = None
) -> Iterator[None]:
    attach_lake(con, SqliteDatabase(root), f"{root}/tables", read_only=read_only, snapshot=snapshot)
    try:
        yield
    finally:
        con.execute("USE memory")
        con.execute("DETACH lake")


def write(con: duckdb.DuckDBPyConnection, root: Path, count: int) -> None:
    with attached(con, root, read_only=False):
        con.execute("CREATE TABLE IF NOT EXISTS t(i BIGINT)")
        con.execute("INSERT INTO t SELECT * FROM range(?)", [count])


def counted(con: duckdb.DuckDBPyConnection, root: Path, snapshot: int | None = None) -> object:
    with attached(con, root, read_only=True, snapshot=snapshot):
        row = con.execute("SELECT count(*) FROM t").fetchone()
    assert row is not None
    return row[0]


def test_connect__states_its_limits(tmp_path: Path) -> None:
    extensions = SqliteDatabase.extensions
    con = connect(extensions=extensions, memory_limit="300MB", threads=1, spill=tmp_path / "spill")
    setting = dict(con.execute("SELECT name, value FROM duckdb_settings()").fetchall())
    assert setting["memory_limit"] == "286.1 MiB"
    assert setting["threads"] == "1"
    assert setting["temp_directory"] == str(tmp_path / "spill")
    assert setting["autoinstall_known_extensions"] == "false"
    assert setting["autoload_known_extensions"] == "false"
    assert setting["python_enable_replacements"] == "false"
    assert setting["enable_external_file_cache"] == "false"
    assert setting["TimeZone"] == "UTC"
    loaded = con.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    assert {("ducklake",), ("sqlite_scanner",)} <= set(loaded)
    con.close()


def test_connect__checks_the_signature_of_a_changed_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for name in SqliteDatabase.extensions:
        source = duck._extension_file(name)
        assert source is not None, "the wheels of the extensions are not installed"
        files[name] = Path(shutil.copy(source, tmp_path))
    monkeypatch.setattr(duck, "_extension_file", files.get)
    for _ in range(2):
        con = connect(extensions=SqliteDatabase.extensions)
        unsigned = con.execute("SELECT current_setting('allow_unsigned_extensions')").fetchone()
        assert unsigned == (False,)
        with pytest.raises(duckdb.InvalidInputException, match="Cannot change"):
            con.execute("SET GLOBAL allow_unsigned_extensions = true")
        con.close()
    changed = files["ducklake"]
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1  # of the signature
    changed.unlink()  # a file that is mapped is not written to
    changed.write_bytes(content)
    with pytest.raises(LakeError, match="signature"):
        connect(extensions=SqliteDatabase.extensions)


def test_connect__spills_only_where_it_is_told(tmp_path: Path) -> None:
    sql = "SELECT count(*) FROM (SELECT i, hash(i) AS h FROM range(4_000_000) t(i) ORDER BY h, i)"
    con = connect(memory_limit="50MB", threads=1)
    with pytest.raises(duckdb.OutOfMemoryException):
        con.execute(sql).fetchall()
    con.close()
    con = connect(memory_limit="50MB", threads=1, spill=tmp_path / "spill")
    assert con.execute(sql).fetchall() == [(4_000_000,)]
    con.close()


def test_load_extension__names_the_wheel_when_there_is_none(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    con.execute(f"SET custom_extension_repository = {literal(tmp_path)}")
    with pytest.raises(LakeError, match=r"pip install duckdb-extension-no-such==\d"):
        load_extension(con, "no_such")


@pytest.mark.parametrize("name", AWKWARD)
def test_attach_lake__in_a_folder_of_any_name_and_after_a_move(
    name: str, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    root = tmp_path / name
    (root / "tables").mkdir(parents=True)
    write(con, root, 10)
    assert counted(con, root) == 10
    moved = tmp_path / f"moved {name}"
    shutil.move(root, moved)
    assert counted(con, moved) == 10
    write(con, moved, 5)
    assert counted(con, moved) == 15
    assert not root.exists()


def test_attach_lake__at_a_snapshot_is_the_lake_as_it_was(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    write(con, tmp_path, 10)
    write(con, tmp_path, 5)
    assert [counted(con, tmp_path, snapshot) for snapshot in (1, 2, 3, None)] == [0, 10, 15, 15]
    with pytest.raises(NotFoundError, match="no snapshot 99"):
        counted(con, tmp_path, 99)


def test_attach_lake__read_only_refuses_writes_and_makes_nothing(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    with pytest.raises(FormatError, match="no catalog at"):
        counted(con, tmp_path)
    assert not (tmp_path / "catalog.sqlite").exists()
    write(con, tmp_path, 1)
    with (
        attached(con, tmp_path, read_only=True),
        pytest.raises(duckdb.InvalidInputException, match="read-only"),
    ):
        con.execute("INSERT INTO t VALUES (1)")


def test_attach_lake__refuses_a_file_that_is_no_catalog(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "catalog.sqlite").write_text("not a database, but long enough to be read as one")
    with pytest.raises(FormatError, match=r"cannot read .*catalog\.sqlite"):
        counted(con, tmp_path)


@pytest.mark.parametrize("name", ["{DATA_PATH}", "a{METADATA_CATALOG}b"])
def test_attach_lake__refuses_a_path_that_ducklake_would_fill_in(
    name: str, con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    (tmp_path / name / "tables").mkdir(parents=True)
    with pytest.raises(InputError, match="move the lake elsewhere"):
        write(con, tmp_path / name, 1)


def test_literal__quotes_and_refuses_nul() -> None:
    text = 'it\'s; "x" -- \\ é'
    assert duckdb.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]
    with pytest.raises(LakeError, match="NUL"):
        literal("a\0b")


def test_one_line__keeps_the_candidates_and_drops_the_source() -> None:
    with pytest.raises(duckdb.Error) as caught:
        duckdb.execute("SELECT\n yeer\nFROM (SELECT 1 AS year)")
    line = one_line(caught.value)
    assert line.startswith('referenced column "yeer" not found in FROM clause; candidate bindings:')
    assert "\n" not in line
    assert "LINE" not in line
    assert len(one_line(duckdb.Error("x" * 5_000))) < 700
