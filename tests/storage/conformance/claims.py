"""Claims exclude the living, never the dead; names, pins and hashes are kept."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import astuple
from pathlib import Path

import pytest
from sqlalchemy import select

from actlake.storage import claims as module
from actlake.storage.claims import Claim, Claims
from actlake.storage.databases import database_at
from actlake.storage.durable import Digest
from actlake.storage.errors import BusyError
from actlake.storage.settings import CatalogPlace
from tests.storage.conftest import python

HOLDER = """
import sys, time
from pathlib import Path
from actlake.storage.claims import Claims
from actlake.storage.databases import database_at
from actlake.storage.settings import CatalogPlace
place = CatalogPlace(*sys.argv[2:])
with Claims(database_at(Path(sys.argv[1]), place)).held("work"):
    print("held", flush=True)
    time.sleep(60)
"""


class ClaimsTests:
    """With the fixture ``place``, where a test has an empty database of its own."""

    @pytest.fixture
    def claims(self, tmp_path: Path, place: CatalogPlace) -> Claims:
        found = Claims(database_at(tmp_path, place))
        found.create()
        return found

    def test_claim__excludes_others_until_it_ends(
        self, claims: Claims, tmp_path: Path, place: CatalogPlace
    ) -> None:
        with claims.held("work") as first:
            assert claims.lost([first]) == []
            with pytest.raises(BusyError, match="being worked on"):
                claims.take("work")
            with pytest.raises(BusyError), Claims(database_at(tmp_path, place)).held("work"):
                pass
            with claims.held("other work"):
                pass
        assert claims.is_free("work")
        second = claims.take("work")
        assert second == Claim("work", first.fencing_token + 1)
        assert claims.lost([first, second]) == [first]

    def test_is_free__tells_a_thread_that_it_would_wait_for_itself(self, claims: Claims) -> None:
        seen: list[bool] = []
        with claims.held("work"):
            with pytest.raises(BusyError, match="this thread"):
                claims.is_free("work")
            other = threading.Thread(target=lambda: seen.append(claims.is_free("work")))
            other.start()
            other.join()
        assert seen == [False]

    def test_claim__of_a_killed_process_is_free_at_once(
        self, claims: Claims, tmp_path: Path, place: CatalogPlace
    ) -> None:
        holder = python(HOLDER, tmp_path, *astuple(place))
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
        self, claims: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_host", lambda: "elsewhere:1")
        taken = claims.take("work")
        monkeypatch.undo()
        assert not claims.is_free("work")
        claims._touch([taken], time.time() - module.LAPSE_SECONDS - 1)
        assert claims.is_free("work")

    def test_owner__is_told_from_one_with_the_same_process_id(self, claims: Claims) -> None:
        pid, host = os.getpid(), module._host()
        started = module._started(pid)
        assert module._alive(f"{host}:{pid}:{started}:1", 0.0)
        assert not module._alive(f"{host}:{pid}:{started}0:1", 0.0)
        assert not module._alive(f"{host}:4194305:{started}:1", 0.0)
        assert module._alive(f"another:9:{pid}:x:1", 0.0)
        assert not module._alive(f"another:9:{pid}:x:1", module.LAPSE_SECONDS + 1)

    def test_heartbeat__keeps_claims_alive(
        self, claims: Claims, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

        def heartbeat(key: str) -> float:
            with claims._connection() as connection:
                query = select(module.CLAIMS.c.heartbeat).where(module.CLAIMS.c.key == key)
                return float(connection.execute(query).scalar_one())

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

    def test_claims__are_taken_by_one_of_many_threads(self, claims: Claims) -> None:
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

    def test_names__keep_the_last_meaning(self, claims: Claims) -> None:
        claims.register_name("tensor", "a", "f1", "id1")
        claims.register_name("codes", "a", "f2", "id2")
        claims.register_name("tensor", "a", "f3", "id3")
        assert claims.names() == {("codes", "a"): ("id2", "f2"), ("tensor", "a"): ("id3", "f3")}
        claims.release_name("tensor", "a")
        assert claims.names() == {("codes", "a"): ("id2", "f2")}

    def test_pins__are_kept_by_reason(self, claims: Claims) -> None:
        for snapshot, why in ((7, "x"), (3, "x"), (7, "y"), (7, "y")):
            claims.pin(snapshot, why)
        assert claims.pins() == [(3, "x"), (7, "x"), (7, "y")]
        claims.unpin("x")
        assert claims.pins() == [(7, "y")]

    def test_files__keep_the_last_hash(self, claims: Claims) -> None:
        claims.record_files({})
        claims.record_files({"a": Digest(1, "aa"), "b'c": Digest(2**40, "bb")})
        claims.record_files({"a": Digest(3, "cc")})
        assert claims.files() == {"a": Digest(3, "cc"), "b'c": Digest(2**40, "bb")}
        claims.forget_files([])
        claims.forget_files(["a", "absent"])
        assert claims.files() == {"b'c": Digest(2**40, "bb")}
