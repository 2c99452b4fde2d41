"""delete: what was made of a thing, refused or gone with it; and made again."""

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from actlake.flows.delete import delete, would_delete
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.summarize import summarize
from actlake.storage.errors import BusyError, InputError, NotFoundError
from actlake.storage.fields import TABLES
from actlake.storage.lake import Lake
from actlake.storage.retention import expire_snapshots, remove_unnamed
from tests.flows.small_lake import CORPUS, IDENTITY, MASK, ROWSET, TENSOR, TOPK, codes_name
from tests.flows.tiny import payloads


@pytest.fixture
def copy(speeches: Path, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(speeches, tmp_path / "lake"))


def counts(lake: Lake) -> dict[str, int]:
    return {
        table: int(str(next(iter(lake.sql(f"SELECT count(*) FROM {table}").rows()))[0]))
        for table in TABLES
        if table not in ("runs", "migrations")
    }


def named(lake: Lake) -> list[tuple[str, str]]:
    return sorted(lake._claims.names())


def test_delete__says_what_was_made_of_it_and_refuses(copy: Lake) -> None:
    before, snapshot = counts(copy), copy.newest_snapshot()
    plan = would_delete(copy, kind="tensor", name=TENSOR)
    rows = copy.tensor(TENSOR)
    assert [(one.kind, one.name) for one in plan.things] == [
        ("tensor", TENSOR),
        ("dictionary", IDENTITY),
        ("dictionary", TOPK),
        ("codes", codes_name(IDENTITY)),
        ("codes", codes_name(TOPK)),
    ]
    chunks = sum(path.stat().st_size for path in rows.folder.glob("c.*"))
    assert (plan.things[0].rows, plan.things[0].bytes) == (len(rows), chunks)
    weights = copy.root / "dictionaries"
    assert sum(one.bytes for one in plan.things[1:3]) == sum(
        path.stat().st_size for path in weights.rglob("*") if path.is_file()
    )
    computed = "statistics profiles histograms positions examples tokens".split()
    assert dict(plan.found) == {f"feature_{one}": before[f"feature_{one}"] for one in computed}
    with pytest.raises(InputError, match=r"of it: dictionary .*, codes .*_tokens; delete"):
        delete(copy, kind="tensor", name=TENSOR)
    with pytest.raises(InputError, match=r"\d+ rows of feature_statistics"):
        delete(copy, kind="codes", name=codes_name(TOPK))
    with pytest.raises(InputError, match=r"of it: codes .*; delete"):
        delete(copy, kind="dictionary", name=TOPK)
    with pytest.raises(InputError, match=r"of it: rowset .*tensor .*dictionary .*codes .*; delete"):
        delete(copy, kind="corpus", name=CORPUS)
    for kind, name in (("tensor", "none"), ("mask", TENSOR)):
        with pytest.raises(NotFoundError, match=f"no {kind} '{name}' in this lake; see"):
            delete(copy, kind=kind, name=name)
    with pytest.raises(InputError, match="part of every lake, so it stays; give"):
        delete(copy, kind="mask", name=MASK, cascade=True)
    with pytest.raises(InputError, match="nothing of the kind 'table' can be deleted; give model"):
        delete(copy, kind="table", name="runs")
    assert copy.newest_snapshot() == snapshot


def test_delete__cascade_leaves_nothing_but_the_past(copy: Lake) -> None:
    before, snapshot = counts(copy), copy.newest_snapshot()
    values = copy.tensor(TENSOR)[:]
    names = named(copy)
    deletion = delete(copy, kind="rowset", name=ROWSET, cascade=True)
    kept = {"corpora", "documents", "labels", "masks"}
    assert counts(copy) == {table: n if table in kept else 0 for table, n in before.items()}
    assert named(copy) == [
        one for one in names if one not in {(thing.kind, thing.name) for thing in deletion.things}
    ]
    [(flow, state, parameters)] = copy.sql(
        "SELECT flow, state, parameters FROM runs ORDER BY run DESC LIMIT 1"
    ).rows()
    assert (flow, state) == ("delete", "completed")
    assert ROWSET in str(parameters)
    assert [*copy.verify()] == []
    with closing(copy.at(snapshot)) as past:
        assert counts(past) == before
        assert (past.tensor(TENSOR)[:] == values).all()
        assert past.contexts(codes_name(TOPK), 0, mask=MASK)
    with pytest.raises(NotFoundError):
        copy.tensor(TENSOR)


def test_delete__files_go_when_their_last_snapshot_does(copy: Lake) -> None:
    """Also of what shared a file of its table with something that stays."""
    gone, stays = copy.codes(codes_name(TOPK)), copy.codes(codes_name(IDENTITY))
    with copy.run("test", {"pin": True}, {}):  # rows of both in one file, as merging leaves them
        copy._catalog.commit(lambda now: now.execute("UPDATE codes SET nnz = nnz"), "one file")
    values = gone[:].nnz
    pinned = copy.pin("for the past")
    delete(copy, kind="codes", name=gone.name, cascade=True)

    def upkeep(key: str) -> list[str]:
        with copy.run("test", {"upkeep": key}, {}) as run:
            expire_snapshots(run, older_than=timedelta(0), keep=1)
            return [one.path for one in remove_unnamed(run, grace=timedelta(0))]

    folder = gone.folder.relative_to(copy.root).as_posix()
    assert folder not in upkeep("while pinned")
    with closing(copy.at(pinned)) as past:
        assert past.codes(gone.name)[:].nnz == gone[:].nnz == values
    copy._claims.unpin("for the past")
    assert folder in upkeep("no longer")
    assert not gone.folder.exists()
    assert copy.codes(stays.name)[:].nnz > 0
    assert [*copy.verify()] == []


def test_delete__waits_for_nobody_who_may_use_it(copy: Lake) -> None:
    with (
        copy.run("test", {"at": "work"}, {}) as other,
        pytest.raises(BusyError, match=rf"run {other.run} \(test\) is at work"),
    ):
        delete(copy, kind="corpus", name=CORPUS, cascade=True)
    assert copy.tensor(TENSOR).committed


def test_delete__the_same_name_can_be_made_again(dictionary_lake: Path, tmp_path: Path) -> None:
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    codes = encode(lake, dictionary="d")
    summarize(lake, codes=codes)
    first, files = lake.codes(codes), payloads(lake)
    statistics = lake.table("feature_statistics").drop("run").collect()
    snapshot = lake.newest_snapshot()
    delete(lake, kind="codes", name=codes, cascade=True)
    assert encode(lake, dictionary="d") == codes
    summarize(lake, codes=codes)
    again = lake.codes(codes)
    assert again.id != first.id
    assert payloads(lake) == files
    assert lake.table("feature_statistics").drop("run").collect().equals(statistics)
    with closing(lake.at(snapshot)) as past:
        assert past.codes(codes).id == first.id
    assert [*lake.verify()] == []


@pytest.mark.soak
def test_delete__of_one_site_undoes_every_run_that_found_it(
    lake: Lake, tiny: Callable[[str], Path]
) -> None:
    def get(*sites: str) -> list[str]:
        source: dict[str, Any] = {"source": str(tiny("llama")), "corpus": "c", "torch_threads": 1}
        return extract(lake, sites=sites, **source)

    [first] = get("resid_post.0")
    both = get("resid_post.0", "resid_post.1")  # writes the second only
    files, ids = payloads(lake), [lake.tensor(name).id for name in both]
    delete(lake, kind="tensor", name=first)
    assert get("resid_post.0", "resid_post.1") == both
    assert [lake.tensor(name).id == id_ for name, id_ in zip(both, ids, strict=True)] == [
        False,
        True,
    ]
    assert payloads(lake) == files
    delete(lake, kind="model", name="tiny-llama", cascade=True)
    assert get("resid_post.0") == [first]
    assert [*lake.verify()] == []
