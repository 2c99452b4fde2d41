"""Retention: what is kept, what goes, and when."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from actlake.storage import Lake, leftovers
from actlake.storage.committed import committed_files
from actlake.storage.durable import publish
from actlake.storage.errors import CorruptError, InputError, NotFoundError
from actlake.storage.partials import commit_partials, partial_row, write_partial
from actlake.storage.retention import Removed, end_dead_runs, expire_snapshots, remove_unnamed
from actlake.storage.run import pin_of
from actlake.storage.store import Store
from actlake.storage.verify import wrong_of
from tests.storage.conftest import fresh_name, make_rowset, python

NOW, HOUR = timedelta(0), timedelta(hours=1)


def expired(lake: Lake, **rule: object) -> list[int]:
    with lake.run("test", {"expire": fresh_name()}, {}) as run:
        return expire_snapshots(run, **{"older_than": NOW, "keep": 1, **rule})  # type: ignore[arg-type]  # tests' own


def removed(lake: Lake, grace: timedelta = NOW) -> list[Removed]:
    with lake.run("test", {"remove": fresh_name()}, {}) as run:
        return remove_unnamed(run, grace=grace)


def numbers(lake: Lake) -> list[int]:
    return sorted(lake.snapshots(10_000)["snapshot"].to_pylist())


def damaged(lake: Lake) -> list[str]:
    """Files that are not what was committed: ``verify`` without its checks, which take seconds."""
    files = committed_files(lake._connection(), lake.store, lake._claims.files())
    return [one.path for one in files if wrong_of(lake.store, one)]


def age(path: Path, seconds: float = 7200) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def grow(lake: Lake, mask: str) -> None:
    """One commit that writes one file; ``create_mask`` makes four."""
    insert = "INSERT INTO masks (mask, predicate, fingerprint) VALUES ($mask, 'true', $mask)"
    lake._catalog.commit(lambda now: now.execute(insert, mask=mask), "test")


@pytest.fixture(scope="module")
def grown_lake(empty_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with a pin in the middle, and a table whose files were replaced since."""
    root = Path(shutil.copytree(empty_lake, tmp_path_factory.mktemp("grown") / "lake"))
    with closing(Lake.open(root)) as lake:
        for index in range(3):
            grow(lake, f"m{index}")
        lake._claims.pin(lake.newest_snapshot(), "kept by the test")
        for index in range(3, 6):
            grow(lake, f"m{index}")
        lake._catalog.commit(lambda now: now.execute("DELETE FROM masks WHERE mask < 'm5'"), "test")
    return root


@pytest.fixture
def grown(grown_lake: Path, tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake.open(shutil.copytree(grown_lake, tmp_path / "lake"))) as lake:
        yield lake


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
    assert damaged(grown) == []


def test_expire__keeps_the_young_and_so_many(grown: Lake) -> None:
    before = numbers(grown)
    with grown.run("test", {"expire": fresh_name()}, {}) as run:
        assert expire_snapshots(run, older_than=HOUR, keep=1) == []
        assert expire_snapshots(run, older_than=NOW, keep=1000) == []
    assert {*before} <= {*numbers(grown)}
    newest = numbers(grown)
    gone = expired(grown, keep=5)
    assert not {*gone} & {*newest[-4:]}  # the fifth is the run's own start
    assert gone
    with pytest.raises(InputError, match="0 snapshots; keep 1 or more"):
        expired(grown, keep=0)


def test_remove__takes_what_expired_after_the_grace(grown: Lake) -> None:
    (pin, _) = grown._claims.pins()[0]
    before = {path.name for path in grown.root.glob("tables/**/*.parquet")}
    kept = grown.at(pin).table("masks").collect()
    with grown.run("test", {"upkeep": fresh_name()}, {}) as run:
        expire_snapshots(run, older_than=NOW, keep=1)
        assert remove_unnamed(run, grace=HOUR) == []
        gone = remove_unnamed(run, grace=NOW)
        assert remove_unnamed(run, grace=NOW) == []
    names = {Path(one.path).name for one in gone}
    assert names
    assert names < before
    assert all(one.bytes > 0 for one in gone)
    left = {path.name for path in grown.root.glob("tables/**/*.parquet")}
    assert not names & left
    assert not names & {path.rpartition("/")[2] for path in grown._claims.files()}
    assert grown.at(pin).table("masks").collect().equals(kept)
    assert damaged(grown) == []


def test_remove__takes_what_crashes_left_when_it_is_old(fresh: Lake) -> None:
    orphan = fresh.root / "tables/main/masks/0123.parquet"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    staged, folder = orphan.with_name(".x.parquet.9.tmp"), fresh.root / "tensors/0123456789abcdef"
    folder.mkdir()
    rowset = make_rowset(fresh, 1)
    with fresh.create_tensor("t", rowset=rowset.name, width=1, dtype="int8") as writer:
        writer.append(np.ones((1, 1)))
    inner = fresh.tensor("t").folder / "scale/.c.0.9.tmp"
    backup = fresh.root / "backups/.new.9.tmp"
    backup.mkdir(parents=True)
    for path in (orphan, staged, folder / "zarr.json", inner, backup / "catalog.sqlite"):
        path.write_text("left")
    fresh._claims.record_files(
        {"tensors/0123456789abcdef/zarr.json": next(iter(fresh._claims.files().values()))}
    )
    with fresh.run("test", {"remove": fresh_name()}, {}) as run:
        assert remove_unnamed(run, grace=HOUR) == []
        for path in (orphan, staged, folder / "zarr.json", folder, inner, backup):
            age(path)
        age(backup / "catalog.sqlite")
        found = remove_unnamed(run, grace=HOUR)
    assert [one.path for one in found] == [
        f"tables/main/masks/{staged.name}",
        f"tables/main/masks/{orphan.name}",
        "tensors/0123456789abcdef",
        "backups/.new.9.tmp",
        inner.relative_to(fresh.root).as_posix(),
    ]
    assert not any(path.exists() for path in (orphan, staged, folder, inner, backup))
    assert "tensors/0123456789abcdef/zarr.json" not in fresh._claims.files()
    assert damaged(fresh) == []


def test_remove__passes_by_what_writers_publish_meanwhile(fresh: Lake) -> None:
    """Writers hold no lock while they write aside, link and remove: names vanish under its eyes."""
    done, published = Event(), 0
    folders = [fresh.root / one for one in ("tables/main/masks", "partials", "tensors/a")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(300):  # to look at between listing a name and looking at it
            (folder / f"a{index}").touch()

    def write() -> None:
        nonlocal published
        while not done.is_set():
            for folder in folders:
                publish(folder / "file", [b"content"])
                (folder / "file").unlink()
                published += 1

    writer = Thread(target=write)
    with fresh.run("test", {"meanwhile": True}, {}) as run:
        writer.start()
        try:
            for _ in range(10):
                assert remove_unnamed(run, grace=HOUR) == []
        finally:
            done.set()
            writer.join()
    assert published > 30


@pytest.mark.parametrize("name", ["tables/main/masks/0123.parquet", "tensors/0123456789abcdef"])
def test_remove__passes_by_what_is_gone_when_its_turn_comes(
    name: str, fresh: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, is_older = fresh.root / name, leftovers._is_older
    if "." in name:
        path.write_text("left")
    else:
        path.mkdir()

    def goes_then(store: Store, one: Path, horizon: datetime) -> bool:
        found = is_older(store, one, horizon)
        one.rmdir() if one.is_dir() else one.unlink()
        return found

    monkeypatch.setattr(leftovers, "_is_older", goes_then)
    assert removed(fresh) == []
    assert not path.exists()


def test_remove__keeps_partials_that_an_older_snapshot_names(fresh: Lake) -> None:
    with fresh.run("test", {"partials": True}, {}) as run:
        paths = []
        for shard in range(2):
            path, written = write_partial(fresh.store, {"x": np.arange(shard + 2)})
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
    # Written long ago, and named until now: whoever reads that snapshot has time to end.
    assert paths[0] not in [one.path for one in removed(fresh, HOUR)]
    assert paths[0] in [one.path for one in removed(fresh)]
    assert not (fresh.root / paths[0]).exists()
    assert (fresh.root / paths[1]).exists()
    for file in (fresh.root / "tables/main/partials").glob("*.parquet"):  # which tell what stays
        whole = file.read_bytes()
        file.write_bytes(whole[:9] + bytes([whole[9] ^ 1]) + whole[10:])
    with pytest.raises(CorruptError, match=r"\(table partials\) is not what was committed"):
        removed(fresh)
    assert (fresh.root / paths[1]).exists()


LIVE = """
import sys
from actlake.storage import Lake
lake = Lake.open(sys.argv[1])
with lake.run("test", {"live": True}, {}) as run:
    print(run.run, flush=True)
    sys.stdin.read()
"""


def test_upkeep__spares_what_a_live_run_may_commit_and_ends_a_dead_one(fresh: Lake) -> None:
    child = python(LIVE, fresh.root, stdin=subprocess.PIPE)
    assert child.stdout is not None
    other = child.stdout.readline().strip()
    young = fresh.root / "tables/main/masks/0123.parquet"
    young.write_text("staged by the child")
    old = young.with_name("4567.parquet")
    old.write_text("left by a crash")
    age(old)
    with fresh.run("test", {"alive": True}, {}), fresh.run("test", {"upkeep": True}, {}) as run:
        assert [one.path for one in remove_unnamed(run, grace=NOW)] == [
            "tables/main/masks/4567.parquet"
        ]
        assert end_dead_runs(run) == []
        assert pin_of(other) in [why for _, why in fresh._claims.pins()]

        child.kill()
        child.communicate()

        assert [one.path for one in remove_unnamed(run, grace=NOW)] == [
            "tables/main/masks/0123.parquet"
        ]
        assert end_dead_runs(run) == [other]
        assert end_dead_runs(run) == []
    states = fresh.sql("SELECT state, count(*) AS n FROM runs GROUP BY state ORDER BY state")
    assert [*states.rows()] == [("completed", 2), ("crashed", 1)]
    assert fresh._claims.pins() == []
    assert [*fresh.verify()] == []
