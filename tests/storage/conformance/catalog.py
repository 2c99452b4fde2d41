"""Commits are all or nothing, land once, and leave no file behind that they did not take in."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pytest

from actlake.storage import Lake
from actlake.storage import catalog as module
from actlake.storage.appending import Appender
from actlake.storage.durable import Digest, make_folder
from actlake.storage.errors import BusyError, CorruptError, InputError, LakeError
from actlake.storage.fields import arrow_schema
from actlake.storage.parquet import FileFacts
from actlake.storage.transaction import StagedRows, Transaction
from tests.storage.conftest import content, fresh_name


def registers(staged: StagedRows) -> Callable[[Transaction], str]:
    """A change that registers rows and returns a word."""

    def change(now: Transaction) -> str:
        now.register(staged)
        return "result"

    return change


def masks(*names: str) -> pa.Table:
    rows = [{"mask": name, "predicate": "TRUE", "fingerprint": name} for name in names]
    return pa.Table.from_pylist(rows, arrow_schema("masks"))


def stored(lake: Lake, *names: str) -> int:
    query = "SELECT count(*) FROM masks WHERE mask IN (SELECT unnest($names))"
    row = lake._connection().raw.execute(query, {"names": list(names)}).fetchone()
    assert row is not None
    return int(row[0])


def parquet(lake: Lake) -> set[Path]:
    return {one.path for one in lake.store.files(lake.root / "tables")}


class Unacknowledged:
    """A connection whose next COMMIT lands, and says that it did not."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, error: BaseException) -> None:
        self._connection = connection
        self._error = error

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)

    def execute(self, statement: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        found = self._connection.execute(statement, parameters)
        if statement == "COMMIT":
            raise self._error
        return found


def unacknowledged(lake: Lake, error: BaseException) -> None:
    connection = Unacknowledged(lake._catalog._writing(), error)
    lake._catalog._writer = cast(duckdb.DuckDBPyConnection, connection)


class CatalogTests:
    """With the fixture ``bench``, a lake that tests share."""

    def test_commit__adds_rows_files_and_a_snapshot(self, bench: Lake) -> None:
        catalog, name = bench._catalog, fresh_name()
        before = bench.newest_snapshot()
        staged = catalog.stage("masks", masks(name))
        assert stored(bench, name) == 0

        files = {"elsewhere": Digest(1, "f")}
        result, snapshot = catalog.commit(
            registers(staged), "message", staged=[staged], files=files
        )

        assert (result, snapshot) == ("result", before + 1)
        assert stored(bench, name) == 1
        recorded = bench._claims.files()
        assert recorded[staged.path.relative_to(bench.root).as_posix()] == staged.digest
        assert bench.store.digest(staged.path) == staged.digest
        assert recorded["elsewhere"] == Digest(1, "f")
        assert bench.snapshots(1)["message"].to_pylist() == ["message"]

    def test_commit__records_what_ducklake_writes_itself(self, bench: Lake) -> None:
        names = [fresh_name() for _ in range(3)]
        staged = bench._catalog.stage("masks", masks(*names))
        bench._catalog.commit(lambda now: now.register(staged), "x", staged=[staged])
        for name in names[:2]:  # the second file of deletions takes in the first
            before = parquet(bench)
            bench._catalog.commit(
                lambda now, m=name: now.execute(  # type: ignore[misc]
                    "UPDATE masks SET predicate = 'FALSE' WHERE mask = $m", m=m
                ),
                "x",
            )
            written = {path.relative_to(bench.root).as_posix() for path in parquet(bench) - before}
            assert len(written) == 2  # the new row, and that the old one is gone
            assert {
                path: bench.store.digest(bench.root / path) for path in written
            }.items() <= bench._claims.files().items()

    def test_commit__that_changes_nothing_makes_no_snapshot(self, bench: Lake) -> None:
        staged = bench._catalog.stage("masks", masks(fresh_name()))
        before = content(bench) | {"masks": staged.path.name}
        assert bench._catalog.commit(lambda now: 5, "nothing", staged=[staged]) == (5, None)
        after = content(bench) | {"masks": staged.path.name}
        del before[staged.path.relative_to(bench.root).as_posix()]
        assert before == after

    @pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt(), ZeroDivisionError()])
    def test_commit__that_is_refused_leaves_the_lake_as_it_was(
        self, bench: Lake, error: BaseException
    ) -> None:
        before = content(bench)
        folder = bench.root / "tensors" / fresh_name()
        make_folder(folder)
        bench.store.publish(folder / "file", [b"x"])
        staged = [bench._catalog.stage("masks", masks(fresh_name())) for _ in range(2)]

        def change(now: Transaction) -> None:
            now.register(staged[0])
            now.execute("DELETE FROM masks")
            raise error

        with pytest.raises(type(error)):
            bench._catalog.commit(change, "x", staged=staged, folders=[folder])
        assert content(bench) == before
        assert stored(bench, "all") == 1

    def test_commit__of_a_lost_claim_is_refused(self, bench: Lake) -> None:
        before = content(bench)
        key = fresh_name()
        lost = bench._claims.take(key)
        bench._claims._touch([lost], 0.0)
        bench._claims.take(key)
        staged = bench._catalog.stage("masks", masks(fresh_name()))
        with pytest.raises(BusyError, match=f"took over {key}"):
            bench._catalog.commit(
                lambda now: now.register(staged), "x", claims=[lost], staged=[staged]
            )
        with pytest.raises(BusyError, match=f"took over {key}"):
            bench._catalog.examine(lambda now: None, claims=[lost])
        assert content(bench) == before

    def test_commit__is_replayed_on_a_conflict(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        name, attempts = fresh_name(), 0
        staged = bench._catalog.stage("masks", masks(name))

        def change(now: Transaction) -> int:
            nonlocal attempts
            attempts += 1
            now.register(staged)
            if attempts < 3:
                raise duckdb.TransactionException("Transaction conflict - somebody was faster")
            return attempts

        result, _ = bench._catalog.commit(change, "x", staged=[staged])
        assert result == 3
        assert stored(bench, name) == 1
        assert bench.store.exists(staged.path)

    def test_commit__gives_up_in_one_line(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        monkeypatch.setattr(module, "ATTEMPTS", 2)
        before = content(bench)
        staged = bench._catalog.stage("masks", masks(fresh_name()))

        def change(now: Transaction) -> None:
            raise duckdb.Error("Transaction conflict")

        with pytest.raises(BusyError, match="refused a commit 2 times"):
            bench._catalog.commit(change, "x", staged=[staged])

        def fail(now: Transaction) -> None:
            raise duckdb.IOException("IO Error: disk full\nLINE 1: x")

        with pytest.raises(LakeError, match="disk full") as caught:
            bench._catalog.commit(fail, "x")
        assert len(str(caught.value).splitlines()) == 1
        assert content(bench) == before

    def test_commit__that_landed_without_word_is_not_made_twice(self, bench: Lake) -> None:
        name = fresh_name()
        staged = bench._catalog.stage("masks", masks(name))
        unacknowledged(bench, duckdb.TransactionException("database is locked"))
        before = bench.newest_snapshot()
        result, snapshot = bench._catalog.commit(registers(staged), "x", staged=[staged])
        assert (result, snapshot) == ("result", before + 1)
        assert stored(bench, name) == 1
        assert bench.store.exists(staged.path)

    def test_commit__that_landed_keeps_its_files_whatever_comes_then(self, bench: Lake) -> None:
        name, folder = fresh_name(), bench.root / "tensors" / fresh_name()
        make_folder(folder)
        bench.store.publish(folder / "file", [b"x"])
        staged = bench._catalog.stage("masks", masks(name))
        unacknowledged(bench, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            bench._catalog.commit(
                lambda now: now.register(staged), "x", staged=[staged], folders=[folder]
            )
        assert stored(bench, name) == 1
        assert bench.store.exists(staged.path)
        assert bench.store.remove(folder) == 1

    def test_commit__reads_its_receipt_back(self, bench: Lake, tmp_path: Path) -> None:
        def change(now: Transaction) -> None:
            ghost = StagedRows(
                "masks",
                bench.root / "tables/main/masks/ghost.parquet",
                Digest(1, "x"),
                FileFacts(1, 1, ()),
                bench.store,
            )
            now.execute("INSERT INTO masks VALUES ($m, 'TRUE', 'x')", m=fresh_name())
            now.registered.append(ghost)

        with pytest.raises(CorruptError, match=r"acknowledged a commit without .*ghost"):
            bench._catalog.commit(change, "x")

    def test_commit__reads_its_receipt_back_of_what_it_appends(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):  # DuckLake takes the first in
            staged = bench._catalog.stage("masks", masks(fresh_name()))
            bench._catalog.commit(registers(staged), "x", staged=[staged])
        staged = bench._catalog.stage("masks", masks(fresh_name()))
        before = bench.newest_snapshot()
        monkeypatch.setattr(Appender, "appended", lambda _: set())
        with pytest.raises(CorruptError, match=f"did not take in {staged.path.name}"):
            bench._catalog.commit(registers(staged), "x", staged=[staged])
        assert bench.newest_snapshot() == before
        assert not bench.store.exists(staged.path)

    def test_examine__changes_nothing(self, bench: Lake) -> None:
        before = bench.newest_snapshot()

        def look(now: Transaction) -> list[tuple[object, ...]]:
            now.execute("DELETE FROM masks")
            return now.rows("SELECT count(*) FROM masks")

        assert bench._catalog.examine(look) == [(0,)]
        assert stored(bench, "all") == 1
        assert bench.newest_snapshot() == before
        with pytest.raises(CorruptError, match="nonsense"):
            bench._catalog.examine(lambda now: now.rows("SELECT nonsense"))
        assert bench._catalog.examine(lambda now: now.rows("SELECT 1")) == [(1,)]

    def test_commit__by_threads_of_one_lake(self, bench: Lake) -> None:
        names = [fresh_name() for _ in range(6)]

        def commit(name: str) -> None:
            staged = bench._catalog.stage("masks", masks(name))
            bench._catalog.commit(lambda now: now.register(staged), "x", staged=[staged])

        threads = [threading.Thread(target=commit, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stored(bench, *names) == len(names)

    def test_reader__sees_what_others_commit(self, bench: Lake) -> None:
        other = Lake.open(bench.root)
        name = fresh_name()
        assert stored(other, name) == 0
        staged = bench._catalog.stage("masks", masks(name))
        bench._catalog.commit(lambda now: now.register(staged), "x", staged=[staged])
        assert stored(other, name) == 1
        other.close()
