"""Claims exclude the living, never the dead; names, pins and hashes are kept."""

import contextlib
import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy

from actlake.storage import claims as module
from actlake.storage.claims import Claim, Claims
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError, FormatError
from tests.storage.conftest import python

HOLDER = """
import sys, time
from pathlib import Path
from actlake.storage.claims import Claims
with Claims(Path(sys.argv[1])).held("work"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    found = Claims(tmp_path)
    found.create()
    return found


def test_claim__excludes_others_until_it_ends(claims: Claims, tmp_path: Path) -> None:
    with claims.held("work") as first:
        assert claims.lost([first]) == []
        with pytest.raises(BusyError, match="being worked on"):
            claims.take("work")
        with pytest.raises(BusyError), Claims(tmp_path).held("work"):
            pass
        with claims.held("other work"):
            pass
    assert claims.is_free("work")
    second = claims.take("work")
    assert second == Claim("work", first.fencing_token + 1)
    assert claims.lost([first, second]) == [first]


def test_is_free__tells_a_thread_that_it_would_wait_for_itself(claims: Claims) -> None:
    seen: list[bool] = []
    with claims.held("work"):
        with pytest.raises(BusyError, match="this thread"):
            claims.is_free("work")
        other = threading.Thread(target=lambda: seen.append(claims.is_free("work")))
        other.start()
        other.join()
    assert seen == [False]


def test_claim__of_a_killed_process_is_free_at_once(claims: Claims, tmp_path: Path) -> None:
    holder = python(HOLDER, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n", holder.communicate()
    assert not claims.is_free("work")
    with pytest.raises(BusyError):
        claims.take("work")
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while not claims.is_free("work"):  # a zombie is dead already; no wait for its heartbeat
        assert time.monotonic() < deadline
    claims.take("work")
    holder.communicate()


def test_claim__of_another_machine_lives_by_its_heartbeat(
    claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_host", lambda: "elsewhere:1")
    taken = claims.take("work")
    monkeypatch.undo()
    assert not claims.is_free("work")
    claims._touch([taken], time.time() - module.LAPSE_SECONDS - 1)
    assert claims.is_free("work")


def test_owner__is_told_from_one_with_the_same_process_id(claims: Claims) -> None:
    now, pid, host = time.time(), os.getpid(), module._host()
    started = module._started(pid)
    assert module._alive(f"{host}:{pid}:{started}:1", now)
    assert not module._alive(f"{host}:{pid}:{started}0:1", now)
    assert not module._alive(f"{host}:4194305:{started}:1", now)
    assert module._alive(f"another:9:{pid}:x:1", now)


def test_heartbeat__keeps_claims_alive(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

    def heartbeat(key: str) -> float:
        with claims._connection() as connection:
            query = "SELECT heartbeat FROM claims WHERE key = ?"
            return float(connection.exec_driver_sql(query, (key,)).scalar_one())

    with claims.held("a"), claims.held("b"):
        before = heartbeat("a"), heartbeat("b")
        deadline = time.monotonic() + 5
        while not (heartbeat("a") > before[0] and heartbeat("b") > before[1]):
            assert time.monotonic() < deadline
        assert [t.name for t in threading.enumerate()].count("heartbeat") == 1
    time.sleep(0.1)
    assert heartbeat("a") == heartbeat("b") == 0  # and no late beat revives them
    with claims.held("a"):
        assert not claims._idle.is_set()
    assert claims._idle.is_set()


def test_claims__are_taken_by_one_of_many_threads(claims: Claims) -> None:
    won: list[Claim] = []

    def take() -> None:
        with contextlib.suppress(BusyError):
            won.append(claims.take("work"))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [Claim("work", 1)]


def test_names__keep_the_last_meaning(claims: Claims) -> None:
    claims.register_name("tensor", "a", "f1", "id1")
    claims.register_name("codes", "a", "f2", "id2")
    claims.register_name("tensor", "a", "f3", "id3")
    assert claims.names() == {("codes", "a"): ("id2", "f2"), ("tensor", "a"): ("id3", "f3")}
    claims.release_name("tensor", "a")
    assert claims.names() == {("codes", "a"): ("id2", "f2")}


def test_pins__are_kept_by_reason(claims: Claims) -> None:
    for snapshot, why in ((7, "x"), (3, "x"), (7, "y"), (7, "y")):
        claims.pin(snapshot, why)
    assert claims.pins() == [(3, "x"), (7, "x"), (7, "y")]
    claims.unpin("x")
    assert claims.pins() == [(7, "y")]


def test_files__keep_the_last_hash(claims: Claims) -> None:
    claims.record_files({})
    claims.record_files({"a": Digest(1, "aa"), "b'c": Digest(2**40, "bb")})
    claims.record_files({"a": Digest(3, "cc")})
    assert claims.files() == {"a": Digest(3, "cc"), "b'c": Digest(2**40, "bb")}
    claims.forget_files([])
    claims.forget_files(["a", "absent"])
    assert claims.files() == {"b'c": Digest(2**40, "bb")}


def test_create__may_race(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from actlake.storage.claims import Claims; "
    code += "Claims(Path(sys.argv[1])).create()"
    racers = [python(code, tmp_path) for _ in range(3)]
    assert [(racer.communicate()[1], racer.returncode) for racer in racers] == [("", 0)] * 3


def test_damaged_or_lost_file__is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such table"):
        Claims(tmp_path).pins()
    (tmp_path / "claims.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(FormatError, match="not a database") as caught:
        Claims(tmp_path).pins()
    assert len(str(caught.value).splitlines()) == 1


def test_locked_file__is_busy(
    claims: Claims, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(tmp_path / "claims.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with claims._engine.connect() as probe:
        assert probe.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30000
        assert probe.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert probe.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    sqlalchemy.event.listen(
        claims._engine,
        "connect",
        lambda connection, _: connection.execute("PRAGMA busy_timeout = 10"),
    )
    with pytest.raises(BusyError, match="locked"):
        claims.pin(1, "x")
    assert claims.pins() == []  # readers are not kept waiting
    other.execute("ROLLBACK")
    other.close()
    claims.pin(1, "x")
