"""The commit protocol under races, kills and time, whatever the database.

Children are forked from a server that has the imports behind it, so that one costs little.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from actlake import sql
from actlake.storage import Lake
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.database import Database
from actlake.storage.fields import arrow_schema
from actlake.storage.retention import end_dead_runs, expire_snapshots, remove_unnamed
from actlake.storage.transaction import Transaction
from tests.forked import CONTEXT, child
from tests.storage.conftest import fresh_name

SHARDS, WRITERS, COMMITS = 6, 3, 8


def insert_once(lake: Lake, name: str, meet: Callable[[], object] = str) -> int:
    """Insert a row unless it is there, as a coordinator does with a shard; how often it looked."""
    row = {"mask": name, "predicate": "TRUE", "fingerprint": "x"}
    staged = lake._catalog.stage("masks", pa.Table.from_pylist([row], arrow_schema("masks")))
    looked = 0

    def change(now: Transaction) -> None:
        nonlocal looked
        looked += 1
        found = now.rows("SELECT 1 FROM masks WHERE mask = $name", name=name)
        if looked == 1:
            meet()
        if not found:
            now.register(staged)

    lake._catalog.commit(change, "x", staged=[staged])
    return looked


def stored(lake: Lake, name: str) -> int:
    rows = lake.sql("SELECT mask FROM masks WHERE mask = $name", name=name).rows()
    return len(rows)


def race(root: Path, start: Barrier) -> None:
    lake = Lake.open(root)
    for shard in range(SHARDS):
        start.wait(60)
        insert_once(lake, f"shard.{shard}")
    lake.close()


def write(root: Path, writer: int) -> None:
    lake = Lake.open(root)
    for commit in range(COMMITS):
        insert_once(lake, f"writer.{writer}.{commit}")
    lake.close()


def hold(root: Path, held: Event) -> None:
    with Lake.open(root).database.locked("test"):
        held.set()
        time.sleep(60)


def killed(root: Path, name: str, owner: type, method: str, call: int, end: bool) -> None:
    """Commit ``name``, and die as a method is called for the ``call``-th time, or has ended."""
    original, calls = getattr(owner, method), 0

    def killing(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not end:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **kwargs)
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    lake = Lake.open(root)
    setattr(owner, method, killing)
    insert_once(lake, name)


STEPS = {
    "before the lock": ((Catalog, "locked", 1, False), 0),
    "under the lock": ((Catalog, "_check_current", 1, False), 0),
    "registered": ((Transaction, "register", 1, True), 0),
    "hashes known": ((Claims, "record_files", 1, True), 0),
    "committed": ((Transaction, "commit", 1, True), 1),
}
"""Where a committing process dies, and how many rows it has then committed."""


class ProtocolTests:
    """With fixtures ``bench`` and ``fresh``, and ``words`` and ``store``, which ``Lake.create``
    takes."""

    @pytest.fixture
    def store(self) -> str:
        return "folder"

    def test_two_processes__that_race_to_insert_the_same_shard_insert_one_row(
        self, fresh: Lake
    ) -> None:
        start = CONTEXT.Barrier(2)
        racers = [child(race, fresh.root, start) for _ in range(2)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(120)
        assert [racer.exitcode for racer in racers] == [0, 0]
        assert [stored(fresh, f"shard.{shard}") for shard in range(SHARDS)] == [1] * SHARDS

    @pytest.mark.slow
    def test_commits__by_processes_all_land_once(self, fresh: Lake) -> None:
        writers = [child(write, fresh.root, i) for i in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(120)
        assert [writer.exitcode for writer in writers] == [0] * WRITERS
        found = fresh.sql("SELECT mask FROM masks WHERE fingerprint = 'x'").rows()
        expected = [(f"writer.{i}.{j}",) for i in range(WRITERS) for j in range(COMMITS)]
        assert sorted(found) == sorted(expected)
        assert [*fresh.verify()] == []

    def test_two_writers__without_a_lock_still_insert_one_row(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As where a lock is lost with its server: both have looked before either commits.
        monkeypatch.setattr(type(bench.database), "locked", lambda self, name: nullcontext())
        name, other = fresh_name(), Lake.open(bench.root)
        looks = insert_once(bench, name, lambda: insert_once(other, name))
        assert stored(bench, name) == 1
        assert looks == 2
        other.close()

    def test_process__killed_at_any_step_leaves_all_or_nothing(self, bench: Lake) -> None:
        for step, (point, committed) in STEPS.items():
            name = fresh_name()
            victim = child(killed, bench.root, name, *point)
            victim.start()
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL, step
            assert stored(bench, name) == committed, step
            files = bench.sql("SELECT filename FROM masks WHERE mask = $name", name=name).rows()
            known = {bench.store.uri(bench.root / path) for path in bench._claims.files()}
            assert {file for (file,) in files} <= known, step
            insert_once(bench, name)  # nobody holds the lock any more
            assert stored(bench, name) == 1, step

    def test_lock__lets_one_in_and_is_freed_by_an_error(self, bench: Lake) -> None:
        inside, most = 0, 0

        def work(database: Database) -> None:
            nonlocal inside, most
            for _ in range(4):
                with database.locked("test"):
                    inside += 1
                    most = max(most, inside)
                    threading.Event().wait(0.002)
                    inside -= 1

        with pytest.raises(ZeroDivisionError), bench.database.locked("test"):
            raise ZeroDivisionError
        threads = [threading.Thread(target=work, args=(bench.database,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 1
        with bench.database.locked("test"), bench.database.locked("another"):
            pass

    def test_lock__of_a_killed_process_is_free(self, bench: Lake) -> None:
        held = CONTEXT.Event()
        holder = child(hold, bench.root, held)
        holder.start()
        assert held.wait(60)
        killer = threading.Timer(0.2, holder.kill)
        killer.start()
        with bench.database.locked("test"):
            holder.join(5)
            assert holder.exitcode == -signal.SIGKILL

    def test_snapshot__shows_the_lake_as_it_was(self, bench: Lake) -> None:
        name = fresh_name()
        insert_once(bench, name)
        past = bench.at(bench.newest_snapshot())
        bench._catalog.commit(
            lambda now: now.execute("DELETE FROM masks WHERE mask = $m", m=name), "x"
        )
        assert (stored(past, name), stored(bench, name)) == (1, 0)
        past.close()

    def test_gc__removes_what_no_snapshot_names_and_nothing_else(self, fresh: Lake) -> None:
        insert_once(fresh, "kept")
        insert_once(fresh, "gone")
        old = fresh.newest_snapshot()
        pinned = fresh.pin("a reason")
        remove = "DELETE FROM masks WHERE mask = 'gone'"
        fresh._catalog.commit(lambda now: now.execute(remove), "x")

        def collect() -> list[str]:
            with fresh.run("gc", {"n": fresh_name()}, {}) as run:
                end_dead_runs(run)
                expire_snapshots(run, older_than=timedelta(0), keep=1)
                return [one.path for one in remove_unnamed(run, grace=timedelta(0))]

        collect()
        at = fresh.at(pinned)
        assert stored(at, "gone") == 1
        at.close()
        fresh._claims.unpin("a reason")
        removed = collect()
        assert any(path.startswith("tables/main/masks/") for path in removed)
        assert (stored(fresh, "kept"), stored(fresh, "gone")) == (1, 0)
        with pytest.raises(KeyError):
            fresh.at(old)

    def test_older_lake__comes_to_todays_tables(
        self, tmp_path: Path, words: str, store: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files, names = sql.names("schema"), sql.names
        older = [file for file in files if int(file[:4]) <= 16]
        with monkeypatch.context() as patch:
            patch.setattr(sql, "names", lambda kind: older if kind == "schema" else names(kind))
            Lake.create(tmp_path / "lake", catalog=words, store=store).close()
        lake = Lake.open(tmp_path / "lake")
        assert lake.table("migrations").collect()["name"].sort().to_list() == files
        lake.close()
