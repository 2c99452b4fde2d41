"""Backups: whole copies of the catalog, and lakes that come back from them."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from actlake.storage import Lake, backup, sqlite_copy
from actlake.storage.backup import back_up, backups, restore
from actlake.storage.durable import digest
from actlake.storage.errors import CorruptError, InputError, LakeError, NotFoundError
from actlake.storage.retention import expire_snapshots, remove_unnamed
from tests.forked import child
from tests.storage.conformance.protocol import write
from tests.storage.conftest import fresh_name, python
from tests.storage.test_retention import NOW, damaged, grow


def backed_up(lake: Lake, keep: int = 7) -> backup.Backup:
    return back_up(lake.root, lake._catalog, lake._claims, keep=keep)


def masks(lake: Lake) -> list[str]:
    return sorted(lake.table("masks").collect()["mask"])


def test_back_up__copies_every_fact_and_pins_its_snapshot(fresh: Lake) -> None:
    made = backed_up(fresh)
    snapshot = fresh.newest_snapshot()
    assert (made.snapshot, made.folder) == (snapshot, fresh.root / f"backups/{snapshot}")
    assert backups(fresh.root) == [made]
    assert {*made.files} == {"catalog.sqlite", "claims.sqlite", "lake.toml"}
    for name, expected in made.files.items():
        assert digest(made.folder / name) == expected
    with closing(sqlite3.connect(made.folder / "claims.sqlite")) as copied:
        assert copied.execute("SELECT snapshot FROM pins").fetchall() == [(snapshot,)]
    assert not [*made.folder.glob("*-wal")]
    assert backed_up(fresh) == made  # nothing was committed since


def test_back_up__keeps_the_newest_and_drops_the_pins_of_others(fresh: Lake) -> None:
    fresh._claims.pin(1, "kept by the test")
    made = []
    for _ in range(3):
        grow(fresh, fresh_name())
        made.append(backed_up(fresh, keep=2).snapshot)
    assert {path.name for path in (fresh.root / "backups").iterdir()} == {
        ".lock", *map(str, made[1:])
    }  # fmt: skip
    assert [one.snapshot for one in backups(fresh.root)] == made[1:]
    assert [why for _, why in fresh._claims.pins()] == [
        "kept by the test",
        *(f"backup {one}" for one in made[1:]),
    ]
    with pytest.raises(InputError, match="0 cannot be; keep 1 or more"):
        backed_up(fresh, keep=0)


def test_restore__brings_a_lost_catalog_back(fresh: Lake) -> None:
    fresh.create_mask("before", "position > 4")
    made = backed_up(fresh)
    grow(fresh, "after")
    newer = backed_up(fresh)
    fresh.close()
    for name in ("catalog.sqlite", "claims.sqlite", "lake.toml"):
        (fresh.root / name).write_bytes(b"lost")

    assert restore(fresh.root, made.snapshot) == made.snapshot

    found = Lake.open(fresh.root)
    assert {"before"} == {*masks(found)} - {"all", "no_special", "not_first"}
    assert damaged(found) == []
    assert found._claims.pins() == [(made.snapshot, f"backup {made.snapshot}")]
    # What came after did not happen; it can happen again, under the same numbers.
    assert [one.snapshot for one in backups(found.root)] == [made.snapshot]
    [aside] = found.root.glob("backups/replaced-*")
    assert (aside / "catalog.sqlite").read_bytes() == b"lost"
    assert (aside / str(newer.snapshot) / "catalog.sqlite").exists()
    found.create_mask("after", "position > 5")
    again = backed_up(found)
    assert again.snapshot >= newer.snapshot
    assert [*found.verify()] == []
    found.close()


def test_restore__survives_that_older_files_are_gone(fresh: Lake) -> None:
    for index in range(3):
        grow(fresh, f"m{index}")
    lost = fresh.newest_snapshot()
    fresh._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask = 'm0'"), "test")
    made = backed_up(fresh)
    fresh._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask = 'm1'"), "test")
    with fresh.run("test", {"upkeep": True}, {}) as run:
        expire_snapshots(run, older_than=NOW, keep=1)
        assert remove_unnamed(run, grace=NOW)
    fresh.close()

    restore(fresh.root)

    found = Lake.open(fresh.root)
    assert "m1" in masks(found)  # since the backup's pin kept its file
    assert damaged(found) == []
    with pytest.raises(NotFoundError, match=f"no snapshot {lost}"):
        found.at(lost)
    assert len(found.at(made.snapshot).table("masks").collect()) == 5
    found.close()


@pytest.mark.slow
def test_back_up__of_a_lake_that_is_written_meanwhile_is_of_one_snapshot(
    fresh: Lake, tmp_path: Path
) -> None:
    writers = [child(write, fresh.root, index) for index in range(2)]
    for one in writers:
        one.start()
    made: list[int] = []
    while not made or any(one.is_alive() for one in writers):
        made.append(back_up(fresh.root, fresh._catalog, fresh._claims, keep=99).snapshot)
    assert [one.exitcode for one in writers] == [0, 0]
    assert len({*made}) > 2
    for snapshot in {made[0], made[len(made) // 2], made[-1]}:
        root = shutil.copytree(fresh.root, tmp_path / f"of-{snapshot}")
        restore(root, snapshot)
        with closing(Lake.open(root)) as found, closing(fresh.at(snapshot)) as then:
            assert masks(found) == masks(then)
            assert damaged(found) == []


def test_restore__refuses_what_is_not_whole(fresh: Lake) -> None:
    with pytest.raises(NotFoundError, match=f"no backup in {fresh.root / 'backups'}"):
        restore(fresh.root)
    made = backed_up(fresh)
    with pytest.raises(NotFoundError, match="no backup of snapshot 99"):
        restore(fresh.root, 99)
    catalog = made.folder / "catalog.sqlite"
    catalog.write_bytes(catalog.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"catalog\.sqlite is not what was backed up"):
        restore(fresh.root)
    catalog.unlink()
    with pytest.raises(CorruptError, match=r"catalog\.sqlite is missing; restore another backup"):
        restore(fresh.root)
    (made.folder / "backup.json").write_text(json.dumps({"snapshot": 3}))
    with pytest.raises(CorruptError, match="is damaged; remove that backup"):
        backups(fresh.root)
    assert masks(fresh) == ["all", "no_special", "not_first"]


def test_back_up__that_fails_leaves_nothing(fresh: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "DATABASES", ("catalog.sqlite", "missing.sqlite"))
    with pytest.raises(LakeError, match=r"could not be backed up \(.*missing\.sqlite: unable"):
        backed_up(fresh)
    assert backups(fresh.root) == []
    monkeypatch.undo()
    monkeypatch.setattr(backup, "COPY_SECONDS", 0.0)
    with pytest.raises(LakeError, match=r"could not be backed up in 0 s; see what slows its disk"):
        backed_up(fresh)
    assert [path.name for path in (fresh.root / "backups").iterdir()] == [".lock"]
    assert fresh._claims.pins() == []


KILLED = """
import os, sys
from actlake.storage import Lake, backup

def dies(*arguments, **named):
    os._exit(9)

backup._complete = dies
lake = Lake.open(sys.argv[1])
backup.back_up(lake.root, lake._catalog, lake._claims, keep=1)
"""


def test_back_up__clears_what_killed_ones_left_and_is_whole_again(fresh: Lake) -> None:
    child = python(KILLED, fresh.root)
    assert child.communicate()[1] == ""
    assert child.returncode == 9
    folder = fresh.root / "backups"
    [left] = folder.glob(".*.tmp")
    assert (left / "catalog.sqlite").stat().st_size > 0
    newest = fresh.newest_snapshot()
    shutil.copytree(left, folder / str(newest))  # as removing one leaves it, without its record
    assert backups(fresh.root) == []

    made = backed_up(fresh)

    assert made.snapshot == newest
    assert {path.name for path in folder.iterdir()} == {".lock", str(made.snapshot)}
    fresh.close()
    assert restore(fresh.root) == made.snapshot


def test_back_up__lets_others_commit_while_it_checks_and_refuses_what_is_damaged(
    fresh: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    check, snapshot = sqlite_copy.check_sqlite, fresh.newest_snapshot()

    def slow(file: Path) -> None:
        grow(fresh, fresh_name())  # would wait for two minutes for the lock, and fail
        check(file)

    monkeypatch.setattr(sqlite_copy, "check_sqlite", slow)
    assert backed_up(fresh).snapshot == snapshot
    monkeypatch.undo()

    copy = backup._copy

    def damaging(root: Path, folder: Path) -> None:
        copy(root, folder)
        with (folder / "catalog.sqlite").open("r+b") as file:
            file.seek(4096 * 3)
            file.write(os.urandom(4096 * 4))

    monkeypatch.setattr(backup, "_copy", damaging)
    with pytest.raises(CorruptError, match=r"catalog\.sqlite could not .* an older backup$"):
        backed_up(fresh)
    assert [one.snapshot for one in backups(fresh.root)] == [snapshot]
    assert [why for _, why in fresh._claims.pins()] == [f"backup {snapshot}"]


def test_copy__runs_without_duckdb_and_finds_damage(tmp_path: Path) -> None:
    code = f"import sys; sys.argv = ['x']; import runpy; runpy.run_path({sqlite_copy.__file__!r})"
    code += "; print('duckdb' in sys.modules, 'actlake' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False False\n"
    (tmp_path / "bad").write_bytes(b"no database at all, whatever its name says")
    with pytest.raises(sqlite3.DatabaseError):
        sqlite_copy.copy_sqlite(tmp_path / "bad", tmp_path / "copy")
    with pytest.raises(sqlite3.DatabaseError):
        sqlite_copy.check_sqlite(tmp_path / "bad")
