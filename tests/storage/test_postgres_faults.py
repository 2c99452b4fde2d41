"""What can go wrong with a server: said in one line, and nothing is lost, doubled or told."""

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from actlake import sql
from actlake.storage import Lake, receipts
from actlake.storage import catalog as catalog_module
from actlake.storage import postgres_database as module
from actlake.storage.backup import back_up
from actlake.storage.errors import (
    FormatError,
    InputError,
    LakeError,
    UnreachableError,
)
from actlake.storage.settings import read_settings
from actlake.storage.transaction import Transaction
from tests.postgres import Server, name_of
from tests.storage.conformance.protocol import insert_once, stored
from tests.storage.conftest import content, fresh_name

SECRET = "hunter2-xyzzy"


@pytest.fixture
def lake(postgres_lake: Lake) -> Lake:
    return postgres_lake


# What is refused before anything is made


@pytest.mark.parametrize(
    ("catalog", "said"),
    [
        ("postgres", "a catalog is `sqlite`"),
        ("sqlite:dbname=x", "a catalog is `sqlite`"),
        ("mysql:dbname=x", "a catalog is `sqlite`"),
        (f"oracle:password={SECRET}", "a catalog is `sqlite`"),
        (f"postgres:dbname=x password={SECRET}", "hold password, which would be stored"),
        (f"postgres:postgresql://u:{SECRET}@h/db", "hold password, which would be stored"),
        (f"postgres:dbname=x sslpassword={SECRET}", "hold sslpassword"),
        (f"postgres:dbname=x {SECRET}", "words of libpq"),
        ("postgres:host=h", "lack dbname"),
    ],
)
def test_create__refuses_words(tmp_path: Path, catalog: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Lake.create(tmp_path / "lake", catalog=catalog)
    shown: BaseException | None = caught.value
    while shown is not None:  # nor in what a traceback would show before it
        assert SECRET not in f"{shown!r}"
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"port": "1", "host": "127.0.0.1"}, r"does not answer \(.*refused.*\); see that it runs"),
        ({"host": "nowhere.invalid"}, "does not answer .*nowhere.invalid"),
        ({"dbname": "absent"}, r'refuses us \(database "absent" does not exist\); create the'),
        ({"user": "absent", "host": "127.0.0.1"}, "refuses us .*; set PGUSER and PGPASSWORD"),
        ({"user": "absent"}, r'role "absent" does not exist\); set PGUSER to a role'),
    ],
)
def test_create__says_why_the_server_is_not_to_be_had(
    postgres: Server, tmp_path: Path, change: dict[str, str], said: str
) -> None:
    words = {**module.check_words(f"dbname=postgres {postgres.words}"), **change}
    text = " ".join(f"{name}={value}" for name, value in words.items())
    with pytest.raises(UnreachableError, match=said) as caught:
        Lake.create(tmp_path / "lake", catalog=f"postgres:{text}")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "lake").exists()


def test_password__is_read_from_the_environment_and_told_to_nobody(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = fresh_name("role")
    postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'")
    words = {**module.check_words(postgres.database()), "host": "127.0.0.1"}
    catalog = "postgres:" + " ".join(f"{name}={value}" for name, value in words.items())
    monkeypatch.setenv("PGUSER", role)
    monkeypatch.setenv("PGPASSWORD", SECRET + "wrong")
    with pytest.raises(UnreachableError, match="password authentication failed") as wrong:
        Lake.create(tmp_path / "lake", catalog=catalog)
    monkeypatch.setenv("PGPASSWORD", SECRET)
    with pytest.raises(UnreachableError, match=r"permission denied .*; let the role") as denied:
        Lake.create(tmp_path / "lake", catalog=catalog)
    postgres.execute(f"GRANT CREATE ON DATABASE {words['dbname']} TO {role}")
    lake = Lake.create(tmp_path / "another", catalog=catalog)
    insert_once(lake, "m")
    assert stored(lake, "m") == 1
    with pytest.raises(InputError, match="pg_dump") as backup:
        back_up(lake.root, lake._catalog, lake._claims, keep=1)
    lake.close()
    told = [str(one.value) for one in (wrong, denied, backup)]
    told += [repr(lake.settings), lake.database.catalog, lake.database.source]
    rows = postgres.execute(
        "SELECT query, application_name FROM pg_stat_activity", database=words["dbname"]
    )
    told += [repr(rows), *(content(Lake.open(lake.root)))]
    files = b"".join(path.read_bytes() for path in lake.root.rglob("*") if path.is_file())
    assert SECRET not in "".join(told)
    assert SECRET.encode() not in files


def test_old_server__is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLDEST", 990_000)
    with pytest.raises(FormatError, match="and DuckLake needs 99; use a newer server"):
        Lake.open(lake.root)


def test_missing_schema__is_said(lake: Lake, postgres: Server, tmp_path: Path) -> None:
    text = (lake.root / "lake.toml").read_text()
    text = text.replace(lake.settings.catalog.schema, "lake_absent")
    (tmp_path / "lake.toml").write_text(text)
    with pytest.raises(FormatError, match=r"holds no such schema; see that lake.toml names"):
        Lake.open(tmp_path)
    postgres.execute("CREATE SCHEMA lake_absent", database=name_of(lake))
    with pytest.raises(FormatError, match=r"cannot read Postgres .* as a lake's catalog"):
        Lake.open(tmp_path)


def test_lakes_of_one_database__do_not_see_each_other(lake: Lake, tmp_path: Path) -> None:
    other = Lake.create(tmp_path / "o", catalog=f"postgres:{lake.settings.catalog.database}")
    name = fresh_name()
    with lake.database.locked("catalog"):  # nor wait for each other
        insert_once(other, name)
    assert (stored(lake, name), stored(other, name)) == (0, 1)
    with lake._claims.held("work"):
        assert other._claims.is_free("work")
    other.close()


# A connection that is lost


def test_sessions_that_end__are_replaced(lake: Lake, postgres: Server) -> None:
    name = fresh_name()
    insert_once(lake, name)
    assert postgres.end_sessions(name_of(lake)) >= 2
    assert stored(lake, name) == 1
    assert lake._claims.pins() == []
    postgres.end_sessions(name_of(lake))
    insert_once(lake, fresh_name())


@pytest.mark.parametrize("lost", ["all", "the lock"])
def test_commit__whose_connection_is_lost_is_made_once(
    lake: Lake, postgres: Server, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = fresh_name()

    def end() -> None:
        like = "%" if lost == "all" else "%advisory%"
        assert postgres.end_sessions(name_of(lake), like=like) >= 1

    monkeypatch.setattr(time, "sleep", lambda _: None)
    assert insert_once(lake, name, end) == (2 if lost == "all" else 1)
    assert stored(lake, name) == 1
    insert_once(lake, fresh_name())


def test_verify__whose_connection_is_lost_ends(
    lake: Lake, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, ended = sql.text, False

    def losing(kind: Any, name: str) -> str:
        nonlocal ended
        if kind == "checks" and not ended:
            ended = postgres.end_sessions(name_of(lake)) > 0
        return text(kind, name)

    monkeypatch.setattr(sql, "text", losing)
    # In the middle of a transaction. What is in memory by then can still be checked.
    assert [one for one in lake.verify() if "cannot be read" not in one.what] == []
    assert ended


def after(first: Callable[..., Any], then: Callable[..., Any]) -> Callable[..., Any]:
    """``first``, and ``then`` of what it returned, unless that is None."""

    def both(*args: Any) -> Any:
        found = first(*args)
        return None if found is None else then(found)

    return both


def test_commit__that_landed_without_an_answer_is_not_made_twice(
    lake: Lake, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits and dies before it says so; meanwhile others commit."""
    name, other = fresh_name(), Lake.open(lake.root)
    ended = 0

    def losing(original: Callable[..., Any]) -> Callable[..., Any]:
        def lose(*args: Any, **kwargs: Any) -> Any:
            nonlocal ended
            ended += 1
            if ended == 1:
                postgres.end_sessions(name_of(lake))
                insert_once(other, f"{name}.other")
                raise duckdb.Error("server closed the connection unexpectedly")
            return original(*args, **kwargs)

        return lose

    # What DuckLake takes in is looked for after its commit, and what is appended before.
    monkeypatch.setattr("actlake.storage.catalog.added_files", losing(receipts.added_files))
    monkeypatch.setattr(Transaction, "commit", after(Transaction.commit, losing(lambda made: made)))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    insert_once(lake, name)
    assert (stored(lake, name), stored(lake, f"{name}.other")) == (1, 1)
    assert [*lake.verify()] == []
    other.close()


def test_server_that_goes_away__is_told_after_some_tries(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lake"
    root.mkdir()
    text = (lake.root / "lake.toml").read_text()
    (root / "lake.toml").write_text(text.replace("port=", "port=1 application_name="))
    gone = Lake(root, read_settings(root))
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(UnreachableError, match="does not answer") as caught:
        gone._catalog.commit(lambda now: None, "x")
    assert len(str(caught.value).splitlines()) == 1
    assert len(slept) == catalog_module.ATTEMPTS
    with pytest.raises(UnreachableError, match="does not answer"):
        Lake.open(root)


def test_lock__that_is_not_free_is_told(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.05)
    with (
        lake.database.locked("x"),
        pytest.raises(LakeError, match=r"has been locked for 0\.05 s"),
        lake.database.locked("x"),
    ):
        pass


def test_fork__leaves_its_parents_connections_alone(lake: Lake) -> None:
    before = lake._claims.pins()
    child = os.fork()
    if not child:
        gc.disable()  # to end another test's DuckDB waits for threads that no fork has
        status = 1
        try:
            status = 0 if lake._claims.pins() == before else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert lake._claims.pins() == before


def test_threads__commit_at_the_same_time(lake: Lake) -> None:
    names = [fresh_name() for _ in range(4)]
    threads = [threading.Thread(target=insert_once, args=(lake, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [stored(lake, name) for name in names] == [1] * 4
