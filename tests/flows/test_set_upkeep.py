"""What is kept of codes, and their sets: what is computed again, and what goes with them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from actlake.flows.delete import delete
from actlake.flows.summarize import summarize
from actlake.flows.withdraw import withdraw
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from tests.flows.set_lake import (
    DOCUMENTS,
    OPTIONS,
    PARTS,
    SET,
    TABLES,
    WHOLE,
    codes_of,
    planted,
    require_alike,
    rows,
)
from tests.flows.set_lake import copied_set_lake as copied_set_lake
from tests.flows.set_lake import shared_set_lake as shared_set_lake


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The codes of each shard that is read, in order."""
    found: list[str] = []
    real = Codes.shard

    def counted(codes: Codes, shard: int) -> Csr:
        found.append(codes.name)
        return real(codes, shard)

    monkeypatch.setattr(Codes, "shard", counted)
    return found


def test_codes_that_join_a_set__are_the_only_ones_that_are_read(
    lake: Lake, reads: list[str]
) -> None:
    summarize(lake, codes=SET[0], **OPTIONS)
    reads.clear()
    summarize(lake, codes=SET[:2], name="growing", **OPTIONS)
    assert set(reads) == {SET[1]}
    assert len(reads) == len(lake.codes(SET[1]).grid)
    reads.clear()
    summarize(lake, codes=SET, name="growing", **OPTIONS)
    assert set(reads) == {SET[2]}
    reads.clear()
    summarize(lake, codes=SET[::-1], name="backwards", **OPTIONS)
    summarize(lake, codes=SET[:2], name="growing", **OPTIONS)
    newest = lake.newest_snapshot()
    summarize(lake, codes=SET[:2], name="growing", **OPTIONS)
    assert reads == []
    assert lake.newest_snapshot() == newest
    summarize(lake, codes=SET, name="growing", **OPTIONS)
    summarize(lake, codes=codes_of(WHOLE), **OPTIONS)
    require_alike(lake, "growing", codes_of(WHOLE))
    assert [str(fault) for fault in lake.verify()] == []


def made(lake: Lake) -> dict[tuple[str, str, int], str]:
    """The file of each partial, by codes, statistic and shard."""
    found = lake.sql("SELECT codes, statistic, shard, path FROM partials").rows()
    return {(str(codes), str(one), int(str(at))): str(path) for codes, one, at, path in found}


def test_withdrawal__leaves_partials_of_other_shards_and_takes_the_set(
    lake: Lake, reads: list[str]
) -> None:
    given = OPTIONS | {"source": "author"}
    summarize(lake, codes=SET, name="three", **given)
    summarize(lake, codes=SET[:1], name="apart", **given)
    before, gone = made(lake), 4
    codes = lake.codes(SET[0])
    of_gone = np.flatnonzero(codes.rowset.column("document") == gone)
    touched = set((of_gone // codes.grid.shard_rows).tolist())
    assert 0 < len(touched) < len(codes.grid)
    withdraw(lake, corpus=PARTS[0], documents=[gone], reason="asked")
    for table in (*TABLES, "feature_examples", "codes_sets"):
        assert len(lake.table(table).collect()) == 0
    reads.clear()
    summarize(lake, codes=SET, name="three", **given)
    after = made(lake)
    assert after.keys() == before.keys()
    changed = {key for key, path in after.items() if path != before[key]}
    assert {(name, shard) for name, _, shard in changed} == {(SET[0], one) for one in touched}
    assert {one for _, one, _ in changed} == {one for _, one, _ in before}
    assert reads == [SET[0]] * len(touched)
    special = sum(DOCUMENTS.values()) - 1
    left = len(planted(WHOLE)) - len(of_gone) - special
    assert set(rows(lake, "feature_statistics", "three")["n_rows"]) == {left}


def test_withdrawal_of_all_that_one_source_said__numbers_the_others_anew(
    lake: Lake, tmp_path: Path
) -> None:
    """Of labels that are numbered in their order, all behind one that is gone move up."""
    given = OPTIONS | {"source": "author"}
    summarize(lake, codes=SET[0], **given)
    withdraw(lake, corpus=PARTS[0], documents=[0], reason="asked")
    fresh = Lake.open(shutil.copytree(lake.root, tmp_path / "fresh"))
    with fresh.run("test", {}, {}) as run:
        run.commit(lambda now: now.execute("DELETE FROM partials"), "none is kept")
    for one in (lake, fresh):
        summarize(one, codes=SET[0], **given)
    found, right = (
        rows(one, "feature_statistics", SET[0]).sort("feature").drop("run") for one in (lake, fresh)
    )
    assert found["n_sources"][0] == 2
    assert found.rows() == right.rows()


def test_codes_that_are_deleted__take_the_sets_that_they_are_in(lake: Lake) -> None:
    summarize(lake, codes=SET[:2], name="two", **OPTIONS)
    summarize(lake, codes=SET[1:], name="rest", **OPTIONS)
    with pytest.raises(LakeError, match="rows of feature_statistics"):
        delete(lake, kind="codes", name=SET[0])
    delete(lake, kind="codes", name=SET[0], cascade=True)
    assert set(lake.table("codes_sets").collect()["codes"]) == {"rest"}
    assert set(lake.table("feature_statistics").collect()["codes"]) == {"rest"}
    assert [str(fault) for fault in lake.verify()] == []
