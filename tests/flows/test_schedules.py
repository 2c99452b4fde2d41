"""Schedules: a real server on this machine starts a run at its time, and the lake knows of it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from actlake.storage import Lake

ROOT = Path(__file__).parents[2]
SECONDS = 180.0

SERVED = """
import sys
from datetime import datetime, timedelta, timezone
from prefect.schedules import Interval
from actlake.flows.prefect_flows import maintain

if __name__ == "__main__":
    soon = datetime.now(timezone.utc) + timedelta(seconds=10)
    maintain.serve(
        name="soon",
        schedule=Interval(timedelta(hours=1), anchor_date=soon),
        parameters={"lake": sys.argv[1], "verify_parts": 1},
    )
"""


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process while the block runs; its output goes to ``log``."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def waited(ask: Any, what: str, log: Path) -> Any:
    """What ``ask`` answers as soon as that is something."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(1)
    pytest.fail(f"{what} not within {SECONDS:.0f} s: {log.read_text()[-3000:]}")


@pytest.mark.slow
def test_schedule__starts_a_run_that_the_lake_records(speeches: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(speeches, tmp_path / "lake"))
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    environment = {name: one for name, one in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "OMP_NUM_THREADS": "1",
    }

    def ask(kind: str, **body: object) -> Any:
        return httpx.post(f"{api}/{kind}/filter", json=body, timeout=10).raise_for_status().json()

    def completed() -> Any:
        for one in ask("flow_runs"):
            assert one["state_type"] not in ("FAILED", "CRASHED"), one
        return [one for one in ask("flow_runs") if one["state_type"] == "COMPLETED"]

    prefect = [sys.executable, "-m", "prefect"]
    server = [*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with ExitStack() as processes:
        log = tmp_path / "server.log"
        processes.enter_context(running(server, environment, log))
        waited(lambda: httpx.get(f"{api}/health").is_success, "the server", log)
        log = tmp_path / "served.log"
        serving = [sys.executable, "-c", SERVED, str(root)]
        processes.enter_context(running(serving, environment, log))
        [run] = waited(completed, "a scheduled run", log)
        artifacts = ask("artifacts")

    assert run["auto_scheduled"]
    assert run["expected_start_time"] <= run["start_time"]
    lake = Lake.open(root)
    found = lake.sql("SELECT flow, state, prefect_run FROM run_log WHERE flow = 'maintain'").rows()
    assert [*found] == [("maintain", "completed", run["id"])]
    others = "SELECT count(*) FROM runs WHERE prefect_run IS NOT NULL"
    assert [*lake.sql(others).rows()] == [(1,)]
    assert [*(root / "backups").iterdir()]
    assert [*lake.verify()] == []
    lake.close()
    of_run = [one for one in artifacts if one["flow_run_id"] == run["id"]]
    assert {(one["key"], one["type"]) for one in of_run} >= {
        ("runs", "table"),
        ("maintenance", "table"),
        (None, "progress"),
    }
    [table] = [one["data"] for one in of_run if one["key"] == "maintenance"]
    assert '"step": "verify"' in table
    assert all(one["data"] == 100 for one in of_run if one["type"] == "progress")


def test_prefect_yaml__names_flows_and_parameters_that_there_are() -> None:
    prefect_flows = pytest.importorskip("actlake.flows.prefect_flows")
    from prefect.client.schemas.schedules import CronSchedule

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text("utf-8"))["deployments"]
    assert {one["entrypoint"].rpartition(":")[2] for one in deployments} == {"pipeline", "maintain"}
    for one in deployments:
        module, _, name = one["entrypoint"].rpartition(":")
        assert module == prefect_flows.__name__
        flow = getattr(prefect_flows, name)
        assert flow is prefect_flows.FLOWS[name]
        assert flow.fn.__module__ == module  # else `serve` would look for it elsewhere
        flow.validate_parameters(one["parameters"])
        assert one["work_pool"]["name"] == "actlake"
        for schedule in one["schedules"]:
            assert CronSchedule(**schedule).timezone == "UTC"


def test_artifacts__need_no_prefect_outside_of_it() -> None:
    code = """
import sys
from actlake.flows.artifacts import flow_run_id, show_link, show_table, shown_progress
show_table("t", [{"a": 1}], "d")
show_link("l", "file:///x", "x", "d")
with shown_progress("p", 3) as advance:
    advance(3)
assert flow_run_id() is None
print("prefect" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert done.stderr.startswith("p: 3 rows in")


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow")
def test_artifacts__that_cannot_be_shown_cost_neither_the_work_nor_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts_of_prefect = pytest.importorskip("prefect.artifacts")
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from actlake.flows import artifacts

    refusing = f"http://127.0.0.1:{free_port()}/api"
    done: list[int] = []
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(uuid4()))
    monkeypatch.setattr(artifacts, "SHOW_SECONDS", 0.0)

    def work() -> None:
        try:
            with artifacts.shown_progress("step", 3) as advance:
                advance(3)
            done.append(3)
            raise ValueError("the real error")
        finally:
            artifacts.show_table("steps", [{"a": 1}], "what was done")

    with temporary_settings({PREFECT_API_URL: refusing}):
        with pytest.raises(ValueError, match="the real error"):
            work()
        created = "create_progress_artifact"  # and now it goes away after that
        monkeypatch.setattr(artifacts_of_prefect, created, lambda *_, **__: uuid4())
        with artifacts.shown_progress("step", 3) as advance:
            advance(2)
            done.append(2)
    assert done == [3, 2]
    said = capsys.readouterr().err
    assert said.count("Prefect does not show all of this run, which goes on (ConnectError") == 1
