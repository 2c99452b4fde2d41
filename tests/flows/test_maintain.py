"""maintain: a tidied lake says the same, a damaged one is left as it is."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from actlake.flows.export_record import reason
from actlake.flows.maintain import Work, maintain, remedy
from actlake.storage import Lake, merging
from actlake.storage.backup import backups
from actlake.storage.errors import CorruptError, InputError
from actlake.storage.fields import TABLES
from actlake.storage.verify import Fault, Part
from tests.flows.commands import Cli, ok, refused
from tests.storage.conftest import python
from tests.storage.test_retention import damaged

EAGER: dict[str, Any] = {"expire_days": 0.0, "keep_snapshots": 1, "grace_hours": 0.0}


@pytest.fixture
def lake(speeches: Path, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(shutil.copytree(speeches, tmp_path / "lake"))
    yield lake
    lake.close()


def facts(lake: Lake) -> dict[str, list[str]]:
    """The rows of every table but ``runs``."""
    return {
        name: sorted(map(repr, lake.table(name).collect().iter_rows()))
        for name in TABLES
        if name != "runs"
    }


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
    lake.pin(reason(kept, lake.root / "gone"))
    postings = lake.root / "tables/main/postings"
    assert len([*postings.iterdir()]) == 16

    first = steps(maintain(lake, **EAGER, verify_parts=1))
    second = steps(maintain(lake, **EAGER, verify_parts=0))

    assert [*first] == ["verify", "runs", "compact", "merge", "expire", "remove", "back up"]
    assert facts(lake) == before
    assert facts(lake.at(kept)) == before
    assert first["verify"].bytes > 0
    assert first["compact"].rows == len(before["postings"])
    assert first["expire"].rows > 10
    assert first["merge"].rows > 0
    assert second["compact"].rows == 0
    pinned = {why for _, why in lake._claims.pins() if not why.startswith("backup")}
    assert pinned == {"test"}  # and not the export that is gone
    lake._claims.unpin("test")
    maintain(lake, **EAGER, verify_parts=0)
    maintain(lake, **EAGER, verify_parts=0)  # the first still reads what the second removes
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


def test_verify__reads_another_part_each_time_that_one_was_sound(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Part] = []
    faults = [Fault("tensors/1/c.0.0", "t", 0, 9, "missing")]

    def verify(_advance: object, part: Part, _tell: object) -> Iterator[Fault]:
        seen.append(part)
        return iter(faults if len(seen) in (2, 3) else ())

    monkeypatch.setattr(lake, "verify", verify)
    whole, only = lake.bytes(), {"merge": False, "compact": False, "backups": 0}
    sizes = [lake.bytes(Part(index, 3)) for index in range(3)]
    assert sum(sizes) == whole
    assert min(sizes) > 0
    for parts in (3, 3, 3, 3, 2, 3, 3):
        faulty = len(seen) in (1, 2)
        with pytest.raises(CorruptError) if faulty else nullcontext():
            maintain(lake, verify_parts=parts, **only)  # type: ignore[arg-type]  # mixed
    assert [(one.index, one.parts) for one in seen] == [
        *[(0, 3), (1, 3), (1, 3), (1, 3), (0, 2), (2, 3), (0, 3)]
    ]


def test_maintain__stops_at_a_fault_before_anything_is_changed(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk = next(path for path in lake.root.glob("tensors/*/c.*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[3] ^= 1
    chunk.chmod(0o644)
    chunk.write_bytes(content)
    before = facts(lake)
    told = r"1 fault\(s\), so nothing else was done; run `actlake repair`,"
    with pytest.raises(CorruptError, match=told):
        maintain(lake, **EAGER, verify_parts=1)
    assert capsys.readouterr().err.count(chunk.relative_to(lake.root).as_posix()) == 1
    assert facts(lake) == before
    assert not (lake.root / "backups").exists()
    assert [str(state) for state, _ in runs(lake)] == ["failed"]


def test_remedy__is_another_for_files_tables_and_backups() -> None:
    file = Fault("tensors/1/c.0.0", "t", 0, 9, "missing")
    catalog = [
        Fault("check rows_disagree", "t", None, None, "9 rows, not 8"),
        Fault("claims.sqlite", "lake", None, None, "malformed"),
    ]
    backup = Fault("backups/9/claims.sqlite", "backup", None, None, "missing")
    assert remedy([file]).startswith("run `actlake repair`")
    assert {remedy([one]) for one in catalog} == {remedy(catalog)}
    assert remedy(catalog).startswith("restore a backup of the catalog")
    assert remedy([backup]).startswith("remove the damaged backup")
    assert remedy([backup, *catalog, file]) == "; ".join(
        remedy(some) for some in ([file], catalog, [backup])
    )


def test_maintain__refuses_what_no_number_can_mean(lake: Lake) -> None:
    before = lake.newest_snapshot()
    wrong: list[tuple[str, float]] = [
        ("verify_parts", -1),
        ("expire_days", float("nan")),
        ("expire_days", -0.5),
        ("keep_snapshots", 0),
        ("grace_hours", float("inf")),
        ("backups", -1),
    ]
    for option, value in wrong:
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
import os, sys  # a fork for each line of input, so that everything is imported once
from actlake.flows import maintain
from actlake.storage import Lake

for line in sys.stdin:
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
name = line.strip()
original = getattr(maintain, name)

def dies(*arguments, **named):
    result = original(*arguments, **named)
    assert "prefect" not in sys.modules
    os._exit(9)

setattr(maintain, name, dies)
sys.stderr = open(os.devnull, "w")
maintain.maintain(
    Lake.open(sys.argv[1]), verify_parts=0, expire_days=0, keep_snapshots=1, grace_hours=0
)
"""


@pytest.mark.slow
def test_maintain__killed_anywhere_loses_nothing(lake: Lake) -> None:
    before = facts(lake)
    with python(KILLED, lake.root, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for after in ("compact_group", "expire_snapshots", "remove_unnamed"):
            child.stdin.write(f"{after}\n")
            child.stdin.flush()
            assert child.stdout.readline() == "9\n", after
            assert facts(lake) == before
            assert damaged(lake) == []
        assert child.communicate()[1] == ""
    done = steps(maintain(lake, **EAGER, verify_parts=0))
    assert done["runs"].rows == 1  # each has ended the one before
    assert [state for state, _ in runs(lake)] == [*["crashed"] * 3, "completed"]
    assert {why for _, why in lake._claims.pins()} == {f"backup {backups(lake.root)[0].snapshot}"}
    assert facts(lake) == before
    assert [*lake.verify()] == []
