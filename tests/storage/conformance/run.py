"""A run does its work once, alone, and says how it ended."""

import getpass
import json
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pytest

from actlake.storage import Lake
from actlake.storage import run as module
from actlake.storage.errors import BusyError, InputError, NameTakenError
from actlake.storage.fields import arrow_schema
from actlake.storage.known_tables import META
from actlake.storage.merging import FEWEST_FILES, merge_small_files
from actlake.storage.run import Run
from actlake.storage.transaction import StagedRows, Transaction
from tests.storage.conftest import content, fresh_name, python


def facts(lake: Lake, run: Run) -> dict[str, Any]:
    rows = lake.sql("SELECT * FROM runs WHERE run = $run", run=run.run).arrow()
    found: dict[str, Any] = rows.to_pylist()[0]
    return found


def masks(*names: str, fingerprint: str = "x") -> pa.Table:
    rows = [{"mask": name, "predicate": "TRUE", "fingerprint": fingerprint} for name in names]
    return pa.Table.from_pylist(rows, arrow_schema("masks"))


KILLED = """
import os, signal, sys
from actlake.storage import Lake
with Lake.open(sys.argv[1]).run("verb", {"n": sys.argv[2]}, {}) as run:
    print(run.run, flush=True)
    if sys.argv[3] == "wait":
        sys.stdin.read()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


class RunTests:
    """With the fixture ``bench``, a lake that tests share."""

    def test_run__is_recorded_from_start_to_end(self, bench: Lake) -> None:
        name, before = fresh_name(), bench.newest_snapshot()
        with bench.run("verb", {"b": 1, "a": [name]}, {"input": "f"}) as run:
            assert facts(bench, run) | {"state": "running", "ended": None} == facts(bench, run)
            assert bench._claims.pins() == [(before, f"read by run {run.run}")]
            run.append({"masks": masks(name)}, "a mask")
            data = bench.newest_snapshot()
        found = facts(bench, run)
        assert found["state"] == "completed"
        assert (found["snapshot_before"], found["snapshot_after"]) == (before, data)
        assert json.loads(found["parameters"]) == {"a": [name], "b": 1}
        assert json.loads(found["inputs"]) == {"input": "f"}
        assert found["started"] <= found["ended"]
        assert (found["flow"], found["error"], found["key"]) == ("verb", None, run.key)
        assert bench._claims.pins() == []
        assert bench._claims.is_free(f"run:{run.key}")
        messages = bench.snapshots(3)["message"].to_pylist()
        assert messages == [
            f"verb {run.run}: {what}" for what in ("completed", "a mask", "started")
        ]

    @pytest.mark.parametrize("merged", [False, True])
    def test_run__ends_in_a_file_of_its_own_or_where_it_was_merged_to(
        self, merged: bool, fresh: Lake
    ) -> None:
        with fresh.run("verb", {}, {}) as run:
            for number in range(FEWEST_FILES if merged else 0):
                with fresh.run("other", {"number": number}, {}):
                    pass
            if merged:
                assert "runs" in {one.table for one in merge_small_files(run)}
        found = facts(fresh, run)
        assert (found["state"], found["author"]) == ("completed", getpass.getuser())
        assert found["ended"] >= found["started"]
        deletes = f"SELECT count(*) FROM {META}.ducklake_delete_file"
        assert fresh._connection().execute(deletes).fetchall() == [(int(merged),)]
        assert [*fresh.verify()] == []

    def test_run__that_wrote_nothing_has_no_snapshot(self, bench: Lake) -> None:
        with bench.run("verb", {"n": fresh_name()}, {}) as run:
            run.commit(lambda now: None, "nothing")
        assert facts(bench, run)["snapshot_after"] is None

    def test_run__of_a_completed_key_is_done(self, bench: Lake) -> None:
        name = fresh_name()
        with bench.run("verb", {"n": name}, {"i": "1"}) as first:
            assert not first.done
        before = content(bench)
        with bench.run("verb", {"n": name}, {"i": "1"}) as again:
            assert again.done
        assert content(bench) == before
        others: list[tuple[str, dict[str, str], dict[str, str]]] = [
            ("verb", {"n": name}, {"i": "2"}),
            ("verb", {"n": name, "m": "x"}, {"i": "1"}),
            ("verbs", {"n": name}, {"i": "1"}),
        ]
        for flow, parameters, inputs in others:
            with bench.run(flow, parameters, inputs) as other:
                assert not other.done
                assert other.key != first.key

    def test_run__that_fails_says_where_and_may_be_tried_again(self, bench: Lake) -> None:
        name = fresh_name()
        with pytest.raises(ZeroDivisionError), bench.run("verb", {"n": name}, {}) as run:
            raise ZeroDivisionError("over\n  nothing")
        found = facts(bench, run)
        assert (found["state"], found["error"]) == ("failed", "ZeroDivisionError: over nothing")
        assert found["ended"] is not None
        assert bench._claims.pins() == []
        with bench.run("verb", {"n": name}, {}) as again:
            assert not again.done

    def test_run__of_a_killed_process_is_taken_over_at_once(self, bench: Lake) -> None:
        name = fresh_name()
        killed = python(KILLED, bench.root, name, "die")
        run, _ = killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        assert [why for _, why in bench._claims.pins()] == [f"read by run {run.strip()}"]
        started = time.monotonic()
        with bench.run("verb", {"n": name}, {}) as next_run:
            assert time.monotonic() - started < module.POLL_SECONDS + 5
            assert not next_run.done
            states = bench.sql("SELECT state FROM runs WHERE run = $run", run=run.strip()).rows()
            assert states == [("crashed",)]
        assert bench._claims.pins() == []

    def test_run__waits_for_a_live_one_and_finds_its_work_done(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
        name = fresh_name()
        other = python(KILLED, bench.root, name, "wait", stdin=subprocess.PIPE)
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline()
        waited = threading.Event()

        def release() -> None:
            waited.set()
            other.communicate()

        threading.Timer(0.3, release).start()
        # To prepare may take all the memory there is, which the other one needs.
        with bench.run("verb", {"n": name}, {}, prepare=pytest.fail) as run:
            assert waited.is_set()
            assert run.done
        assert other.wait() == 0

    def test_prepare__is_called_on_ones_turn_and_refuses_without_a_trace(self, bench: Lake) -> None:
        name, snapshot, called = {"n": fresh_name()}, bench.newest_snapshot(), []

        def refuse() -> None:
            raise InputError("no such device")

        with pytest.raises(InputError, match="device"), bench.run("verb", name, {}, refuse):
            raise AssertionError
        assert bench.newest_snapshot() == snapshot
        assert not [why for _, why in bench._claims.pins() if "read by run" in why]
        for _ in range(2):
            with bench.run("verb", name, {}, lambda: called.append(bench.newest_snapshot())):
                pass
        assert called == [snapshot]

    def test_run__in_the_same_thread_does_not_wait_for_itself(self, bench: Lake) -> None:
        name = fresh_name()
        with bench.run("verb", {"n": name}, {}):
            second = Lake.open(bench.root)
            for lake in (bench, second):
                with (
                    pytest.raises(BusyError, match="this thread is at work"),
                    lake.run("verb", {"n": name}, {}),
                ):
                    pass
            second.close()

    def test_run__that_lost_its_claim_commits_nothing(self, bench: Lake) -> None:
        name = fresh_name()
        with ExitStack() as stack:
            stack.enter_context(pytest.raises(BusyError, match="took over"))
            run = stack.enter_context(bench.run("verb", {"n": name}, {}))
            bench._claims._touch([run.claim], 0.0)  # silent for too long
            bench._claims.take(run.claim.key)
            before = content(bench)
            run.append({"masks": masks(name)}, "late")
        after = content(bench)
        del before["pins"], after["pins"]
        assert after == before  # nor that it failed: the one who took over says that it crashed

    def test_hold__keeps_other_runs_off_a_name(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
        name, order = fresh_name(), list[str]()
        entered = threading.Event()

        def first() -> None:
            with bench.run("verb", {"n": name, "who": 1}, {}) as run:
                run.hold(f"mask:{name}", f"mask:{name}")
                entered.set()
                time.sleep(0.2)
                run.append({"masks": masks(name)}, "x")
                order.append("first")

        def second() -> None:
            entered.wait()
            with bench.run("verb", {"n": name, "who": 2}, {}) as run:
                run.hold(f"mask:{name}")
                order.append("second")
                assert run.exists("masks", "mask", name, "x")
                with pytest.raises(NameTakenError, match="is taken"):
                    run.exists("masks", "mask", name, "y")

        threads = [threading.Thread(target=one) for one in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert order == ["first", "second"]
        assert bench._claims.is_free(f"mask:{name}")

    def test_hold__that_is_lost_stops_the_run(self, bench: Lake) -> None:
        name = fresh_name()
        with ExitStack() as stack:
            stack.enter_context(pytest.raises(BusyError, match=f"took over mask:{name}"))
            run = stack.enter_context(bench.run("verb", {"n": name}, {}))
            run.hold(f"mask:{name}")
            bench._claims._touch([run._holding[f"mask:{name}"]], 0.0)
            bench._claims.take(f"mask:{name}")
            run.append({"masks": masks(name)}, "late")

    def test_append__refuses_a_name_that_was_made_meanwhile(self, bench: Lake) -> None:
        name = fresh_name()
        with bench.run("verb", {"n": name}, {}) as run:
            run.append({"masks": masks(name, fingerprint="f")}, "x")
            assert bench._claims.names()["mask", name] == ("f", "f")
            before = content(bench)
            with pytest.raises(BusyError, match=f"another run has just made the mask {name}"):
                run.append({"masks": masks(fresh_name(), name)}, "x")
            after = content(bench)
        del before["names"], after["names"]
        assert after == before

    def test_append__refused_by_its_check_adds_nothing(self, bench: Lake) -> None:
        def check(now: Transaction) -> None:
            raise InputError("no")

        with bench.run("verb", {"n": fresh_name()}, {}) as run:
            before = content(bench)
            with pytest.raises(InputError, match="no"):
                run.append({"masks": masks(fresh_name())}, "x", check=check)
            assert content(bench) == before

    def test_append__of_which_a_table_cannot_be_staged_leaves_nothing(
        self, bench: Lake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kind = type(bench._catalog)
        stage, staged = kind.stage, threading.Event()

        def failing(self: Any, table: str, rows: pa.Table) -> StagedRows:
            if table == "runs":
                staged.wait(60)
                raise OSError("no space")
            found = stage(self, table, rows)
            staged.set()
            return found

        with bench.run("verb", {"n": fresh_name()}, {}) as run:
            before = content(bench)
            beside = run.catalog.stage("masks", masks(fresh_name()))
            assert content(bench) != before
            tables = {"masks": masks(fresh_name()), "runs": masks(fresh_name())}
            with monkeypatch.context() as patch:
                patch.setattr(kind, "stage", failing)
                with pytest.raises(OSError, match="no space"):
                    run.append(tables, "x", staged=[beside])
            assert content(bench) == before

    def test_runs__sort_by_start(self, bench: Lake) -> None:
        names = []
        for _ in range(3):
            with bench.run("verb", {"n": fresh_name()}, {}) as run:
                names.append(run.run)
        assert names == sorted(names)

    def test_run__at_a_snapshot_is_refused(self, bench: Lake) -> None:
        past = bench.at(bench.newest_snapshot())
        with pytest.raises(InputError, match="is old; write to the newest"):
            past.run("verb", {}, {})
        past.close()
