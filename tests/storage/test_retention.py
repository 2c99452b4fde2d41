"""Retention: what is kept, what goes, and when."""

import os
import subprocess
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from actlake.storage import Lake
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.partials import commit_partials, partial_row, write_partial
from actlake.storage.retention import Removed, end_dead_runs, expire_snapshots, remove_unnamed
from actlake.storage.run import pin_of
from tests.storage.conftest import fresh_name, python

NOW, HOUR = timedelta(0), timedelta(hours=1)


def expired(lake: Lake, **rule: object) -> list[int]:
    with lake.run("test", {"expire": fresh_name()}, {}) as run:
        return expire_snapshots(run, **{"older_than": NOW, "keep": 1, **rule})  # type: ignore[arg-type]  # tests' own


def removed(lake: Lake, grace: timedelta = NOW) -> list[Removed]:
    with lake.run("test", {"remove": fresh_name()}, {}) as run:
        return remove_unnamed(run, grace=grace)


def numbers(lake: Lake) -> list[int]:
    return sorted(lake.snapshots(10_000)["snapshot"].to_pylist())


def age(path: Path, seconds: float = 7200) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.fixture
def grown(fresh: Lake) -> Lake:
    """A lake with a pin in the middle, and a table whose files were replaced since."""
    for index in range(3):
        fresh.create_mask(f"m{index}", f"position > {index}")
    fresh._claims.pin(fresh.newest_snapshot(), "kept by the test")
    for index in range(3, 6):
        fresh.create_mask(f"m{index}", f"position > {index}")
    fresh._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask < 'm5'"), "test")
    return fresh


def test_expire__keeps_pins_and_the_newest(grown: Lake) -> None:
    before, (pin, _) = numbers(grown), grown._claims.pins()[0]
    newest = grown.newest_snapshot()

    gone = expired(grown)

    # The run that expires has pinned what it reads, and made the newest by its start.
    assert gone == [one for one in before if one not in (pin, newest)]
    assert {pin, newest} <= {*numbers(grown)}
    assert len(grown.at(pin).table("masks").collect()) == 6
    with pytest.raises(NotFoundError, match=f"no snapshot {before[2]}"):
        grown.at(before[2])
    assert [*grown.verify()] == []


def test_expire__keeps_the_young_and_so_many(grown: Lake) -> None:
    before = numbers(grown)
    assert expired(grown, older_than=HOUR) == []
    assert expired(grown, keep=1000) == []
    assert {*before} <= {*numbers(grown)}
    newest = numbers(grown)
    gone = expired(grown, keep=5)
    assert not {*gone} & {*newest[-4:]}  # the fifth is the run's own start
    assert gone
    with pytest.raises(InputError, match="at least its newest snapshot, not 0"):
        expired(grown, keep=0)


def test_remove__takes_what_expired_after_the_grace(grown: Lake) -> None:
    (pin, _) = grown._claims.pins()[0]
    before = {path.name for path in grown.root.glob("tables/**/*.parquet")}
    kept = grown.at(pin).table("masks").collect()
    expired(grown)
    assert removed(grown, HOUR) == []
    gone = removed(grown)
    names = {Path(one.path).name for one in gone}
    assert names
    assert names < before
    assert all(one.bytes > 0 for one in gone)
    left = {path.name for path in grown.root.glob("tables/**/*.parquet")}
    assert not names & left
    assert not names & {path.rpartition("/")[2] for path in grown._claims.files()}
    assert grown.at(pin).table("masks").collect().equals(kept)
    assert [*grown.verify()] == []
    assert removed(grown) == []


def test_remove__takes_what_crashes_left_when_it_is_old(fresh: Lake) -> None:
    orphan = fresh.root / "tables/main/masks/0123.parquet"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    staged, folder = orphan.with_name(".x.parquet.9.tmp"), fresh.root / "tensors/0123456789abcdef"
    folder.mkdir()
    for path in (orphan, staged, folder / "zarr.json"):
        path.write_text("left")
    fresh._claims.record_files(
        {"tensors/0123456789abcdef/zarr.json": next(iter(fresh._claims.files().values()))}
    )
    assert removed(fresh, HOUR) == []
    for path in (orphan, staged, folder / "zarr.json", folder):
        age(path)
    found = removed(fresh, HOUR)
    assert [one.path for one in found] == [
        f"tables/main/masks/{staged.name}",
        f"tables/main/masks/{orphan.name}",
        "tensors/0123456789abcdef",
    ]
    assert not any(path.exists() for path in (orphan, staged, folder))
    assert "tensors/0123456789abcdef/zarr.json" not in fresh._claims.files()
    assert [*fresh.verify()] == []


def test_remove__keeps_what_a_live_run_may_be_about_to_commit(fresh: Lake) -> None:
    code = """
import sys
from actlake.storage import Lake
lake = Lake.open(sys.argv[1])
with lake.run("test", {"live": True}, {}) as run:
    print("ready", flush=True)
    sys.stdin.read()
"""
    child = python(code, fresh.root, stdin=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    young = fresh.root / "tables/main/masks/0123.parquet"
    young.write_text("staged by the child")
    old = young.with_name("4567.parquet")
    old.write_text("left by a crash")
    age(old)
    assert [one.path for one in removed(fresh)] == ["tables/main/masks/4567.parquet"]
    child.kill()
    child.communicate()
    assert [one.path for one in removed(fresh)] == ["tables/main/masks/0123.parquet"]


def test_remove__keeps_partials_that_an_older_snapshot_names(fresh: Lake) -> None:
    with fresh.run("test", {"partials": True}, {}) as run:
        paths = []
        for shard in range(2):
            path, written = write_partial(fresh.root, {"x": np.arange(shard + 2)})
            row = partial_row(run, "c", "all", "moments", shard, "1", path, written)
            commit_partials(run, [row], "test")
            paths.append(path)
    pinned = fresh.pin("test")
    fresh._catalog.commit(lambda now: now.execute("DELETE FROM partials WHERE shard = 0"), "test")
    for path in paths:
        age(fresh.root / path)
    expired(fresh)
    assert not any(one.path in paths for one in removed(fresh))
    fresh._claims.unpin("test")
    assert pinned in expired(fresh)
    assert paths[0] in [one.path for one in removed(fresh)]
    assert not (fresh.root / paths[0]).exists()
    assert (fresh.root / paths[1]).exists()


def test_end__marks_dead_runs_and_drops_their_pins(fresh: Lake) -> None:
    code = """
import os, sys
from actlake.storage import Lake
lake = Lake.open(sys.argv[1])
with lake.run("test", {"dead": True}, {}) as run:
    print(run.run, flush=True)
    os._exit(9)
"""
    child = python(code, fresh.root)
    dead = child.communicate()[0].strip()
    assert pin_of(dead) in [why for _, why in fresh._claims.pins()]
    with fresh.run("test", {"alive": True}, {}), fresh.run("test", {"end": True}, {}) as run:
        assert end_dead_runs(run) == [dead]
        assert end_dead_runs(run) == []
    states = fresh.sql("SELECT state, count(*) AS n FROM runs GROUP BY state ORDER BY state")
    assert [*states.rows()] == [("completed", 2), ("crashed", 1)]
    assert fresh._claims.pins() == []
    assert [*fresh.verify()] == []
