"""maintain: a tidied lake says the same, a damaged one is left as it is."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from actlake.flows.maintain import Work, maintain
from actlake.storage import Lake, merging
from actlake.storage.backup import backups
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.verify import Fault, Part
from tests.flows.commands import Cli, ok, refused
from tests.flows.tiny import TABLES
from tests.storage.conftest import python

EAGER: dict[str, Any] = {"expire_days": 0.0, "keep_snapshots": 1, "grace_hours": 0.0}


@pytest.fixture
def lake(speeches: Path, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(shutil.copytree(speeches, tmp_path / "lake"))
    yield lake
    lake.close()


def facts(lake: Lake) -> dict[str, list[str]]:
    """The rows of every table but ``runs``."""
    return {name: sorted(map(repr, lake.table(name).collect().iter_rows())) for name in TABLES}


def runs(lake: Lake) -> list[tuple[object, ...]]:
    query = "SELECT state, parameters FROM runs WHERE flow = 'maintain' ORDER BY started"
    return [*lake.sql(query).rows()]


def steps(done: list[Work]) -> dict[str, Work]:
    return {one.step: one for one in done}


@pytest.mark.slow
def test_maintain__changes_no_fact_and_runs_again(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "FEWEST_FILES", 4)
    before, kept = facts(lake), lake.pin("test")
    postings = lake.root / "tables/main/postings"
    assert len([*postings.iterdir()]) == 16

    first = steps(maintain(lake, **EAGER, verify_parts=1))
    second = steps(maintain(lake, **EAGER, verify_parts=1))

    assert [*first] == ["verify", "runs", "compact", "merge", "expire", "remove", "back up"]
    assert facts(lake) == before
    assert facts(lake.at(kept)) == before
    assert first["verify"].bytes > 0
    assert first["compact"].rows == len(before["postings"])
    assert first["expire"].rows > 10
    assert first["merge"].rows > 0
    assert second["compact"].rows == 0
    lake._claims.unpin("test")
    maintain(lake, **EAGER)
    maintain(lake, **EAGER)  # the first still reads what the second removes
    assert len([*postings.iterdir()]) == 2  # one a codes
    assert [state for state, _ in runs(lake)] == ["completed"] * 4
    assert len(backups(lake.root)) == 4
    assert facts(lake) == before
    assert [*lake.verify()] == []


def test_maintain__does_only_what_it_is_asked(lake: Lake) -> None:
    before, found = facts(lake), Lake.open(lake.root)
    options = {"compact": False, "merge": False, "expire_days": None, "grace_hours": None}
    done = maintain(lake, **options, verify_parts=0, backups=0)  # type: ignore[arg-type]  # mixed
    assert [one.step for one in done] == ["runs"]
    assert facts(found) == before
    assert not (lake.root / "backups").exists()
    [(_, parameters)] = runs(lake)
    assert json.loads(str(parameters)) == {
        **options, "verify_parts": 0, "keep_snapshots": 100, "backups": 0,
    }  # fmt: skip
    found.close()


def test_verify__reads_another_part_each_time_until_all_are_read(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Part] = []

    def verify(_advance: object, part: Part) -> Iterator[Fault]:
        seen.append(part)
        return iter(())

    monkeypatch.setattr(lake, "verify", verify)
    whole, only = lake.bytes(), {"merge": False, "compact": False, "backups": 0}
    sizes = [lake.bytes(Part(index, 3)) for index in range(3)]
    assert sum(sizes) == whole
    assert min(sizes) > 0
    for parts in (3, 3, 2, 3, 3):
        maintain(lake, verify_parts=parts, **only)  # type: ignore[arg-type]  # mixed
    assert [(one.index, one.parts) for one in seen] == [(0, 3), (1, 3), (0, 2), (2, 3), (0, 3)]


def test_maintain__stops_at_a_fault_before_anything_is_changed(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = next(path for path in lake.root.glob("tensors/*/c.*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.chmod(0o644)
    chunk.write_bytes(content)
    before = facts(lake)
    parts, found = 3, ""
    for _ in range(parts):
        with suppress(CorruptError):
            maintain(lake, verify_parts=parts, backups=0, compact=False, merge=False)
        found += capsys.readouterr().err
    assert found.count(chunk.relative_to(lake.root).as_posix()) == 1  # in its part
    with pytest.raises(CorruptError, match=r"1 fault\(s\), so nothing else was done"):
        maintain(lake, **EAGER, verify_parts=1)
    assert facts(lake) == before
    assert not (lake.root / "backups").exists()
    assert sorted(str(state) for state, _ in runs(lake)) == [*["completed"] * 2, *["failed"] * 2]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("verify_parts", -1),
        ("expire_days", float("nan")),
        ("expire_days", -0.5),
        ("keep_snapshots", 0),
        ("grace_hours", float("inf")),
        ("backups", -1),
    ],
)
def test_maintain__refuses(option: str, value: float, lake: Lake) -> None:
    before = lake.newest_snapshot()
    with pytest.raises(InputError, match=f"{option} is {value:g}; give"):
        maintain(lake, **{option: value})  # type: ignore[arg-type]  # one of them
    assert lake.newest_snapshot() == before


def test_command__maintains(lake: Lake, cli: Cli) -> None:
    assert "keep_snapshots is 0; give 1" in refused(
        cli(lake.root, "maintain", "--keep-snapshots", 0)
    )
    assert "is not a lake" in refused(cli(lake.root / "nowhere", "maintain"))
    found = cli(lake.root, "maintain", "--verify-parts", 0, "--no-expire", "--no-remove")
    assert ok(found) == ""
    assert "back up: catalog of snapshot" in found.stderr
    [(_, parameters)] = runs(lake)
    assert json.loads(str(parameters))["expire_days"] is None


KILLED = """
import os, sys
from actlake.flows import maintain
from actlake.storage import Lake, merging

name = sys.argv[2]
original = getattr(maintain, name)

def dies(*arguments, **named):
    result = original(*arguments, **named)
    assert "prefect" not in sys.modules
    os._exit(9)

setattr(maintain, name, dies)
maintain.maintain(
    Lake.open(sys.argv[1]), verify_parts=0, expire_days=0, keep_snapshots=1, grace_hours=0
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", ["compact_group", "expire_snapshots", "remove_unnamed"])
def test_maintain__killed(after: str, lake: Lake) -> None:
    before = facts(lake)
    child = python(KILLED, lake.root, after)
    assert "Traceback" not in child.communicate()[1]
    assert child.returncode == 9
    assert facts(lake) == before
    assert [*lake.verify()] == []
    done = steps(maintain(lake, **EAGER))
    assert done["runs"].rows == 1
    assert [state for state, _ in runs(lake)] == ["crashed", "completed"]
    assert {why for _, why in lake._claims.pins()} == {f"backup {backups(lake.root)[0].snapshot}"}
    assert facts(lake) == before
    assert [*lake.verify()] == []
