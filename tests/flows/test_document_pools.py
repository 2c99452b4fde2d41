"""Pools of documents are kept a shard: what is read for them, and when they are made again."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.hypotheses.pooling import POOLINGS
from actlake.flows import document_pools, shard_states, summarize_labels, summarize_pairs
from actlake.flows.diff_corpora import diff_corpora
from actlake.flows.document_pools import POOL, document_pool
from actlake.flows.hypothesize import hypothesize
from actlake.flows.repair import repair
from actlake.flows.withdraw import withdraw
from actlake.storage.codes import Codes
from actlake.storage.errors import BusyError
from actlake.storage.lake import Lake
from actlake.storage.partials import commit_partials
from actlake.storage.run import Run
from tests.flows.record_lake import (
    CODES,
    MASK,
    NOW,
    THEN,
    by_row,
    codes_of,
    contents,
    record,
    shared_record_lake,  # noqa: F401  # a fixture
)

label, pairs = summarize_labels.summarize_labels, summarize_pairs.summarize_pairs
SIDE: dict[str, Any] = {"codes": CODES, "label": "side"}


@pytest.fixture
def copied(record_lake: Lake, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))


@pytest.fixture
def without(copied: Lake) -> Lake:
    """The lake as if nothing had ever been pooled."""
    forget(copied)
    return copied


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The codes and the shard of each array of codes that is opened, through which all are read."""
    found: list[tuple[str, int]] = []
    real = Codes._array

    def counted(
        codes: Codes, shard: int, name: str, size: int, dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        found.append((codes.name, shard))
        return real(codes, shard, name, size, dtype)

    monkeypatch.setattr(Codes, "_array", counted)
    return found


def forget(lake: Lake, more: str = "true") -> None:
    delete = f"DELETE FROM partials WHERE statistic = '{POOL}' AND {more}"
    with lake.run("test", {"forget": more}, {"at": str(lake.newest_snapshot())}) as run:
        run.commit(lambda now: now.execute(delete), "as if it were not there")


def made(lake: Lake) -> dict[tuple[str, int, str], str]:
    """The file of each pool, by codes, shard and version."""
    query = "SELECT codes, shard, code_version, path FROM partials WHERE statistic = $statistic"
    found = lake.sql(query, statistic=POOL).rows()
    return {(str(codes), int(str(at)), str(of)): str(path) for codes, at, of, path in found}


def shards_of(lake: Lake, codes: str = CODES) -> set[tuple[str, int]]:
    return {(codes, one) for one in range(len(lake.codes(codes).grid))}


def test_pool__is_the_planted_one_first_and_from_what_is_kept(
    without: Lake, reads: list[tuple[str, int]]
) -> None:
    codes, rule = without.codes(CODES), without.mask(MASK)
    document = codes.rowset.column("document")
    edges = [start for start, _ in map(codes.grid.span, range(1, len(codes.grid)))]
    assert any(document[one] == document[one - 1] for one in edges)  # a document of two shards
    x = by_row()
    right = {"max": x.max(axis=1), "mean": x.mean(axis=1), "sum": x.sum(axis=1)}
    right["any"] = (right["max"] > 0).astype(float)
    found = []
    for time in (1, 2):
        reads.clear()
        with without.run("test", {"time": time}, {}) as run:
            pool = document_pool(without, codes, rule, run)
        assert set(reads) == (shards_of(without) if time == 1 else set())
        for how in POOLINGS:
            values = pool.finish(how).values.toarray()
            np.testing.assert_array_equal(values, right[how], err_msg=how)
        np.testing.assert_array_equal(pool.fires().values.toarray(), (x > 0).sum(axis=1))
        assert set(pool.finish("max").rows) == {x.shape[1]}
        found.append(pool.arrays())
    for name, array in found[0].items():
        np.testing.assert_array_equal(found[1][name], array, err_msg=name, strict=True)


def test_records__of_what_is_pooled_read_no_codes(
    without: Lake, reads: list[tuple[str, int]]
) -> None:
    label(without, **SIDE, pooling="mean")
    assert sorted(set(reads)) == sorted(shards_of(without))
    kept = made(without)
    assert {(codes, shard) for codes, shard, _ in kept} == shards_of(without)
    reads.clear()
    for pooling in ("sum", "any"):
        label(without, **SIDE, pooling=pooling)
    label(without, codes=CODES, label="party", subset_by="side")
    pairs(without, codes=CODES, min_fires=10, level="document", top=2, with_redundancy=True)
    hypothesize(without, codes=CODES, target="side", group="number", mask=MASK, draws=19)
    assert reads == []
    assert made(without) == kept
    diff_corpora(without, a=codes_of(THEN), b=CODES)
    assert set(reads) == shards_of(without, codes_of(THEN))
    assert [str(fault) for fault in without.verify()] == []


def test_records__are_the_same_with_pools_and_without(
    copied: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copied)
    for version, is_kept in (("with", True), ("without", False)):
        if not is_kept:
            forget(copied)
        monkeypatch.setattr(summarize_labels, "CODE_VERSION", version)
        monkeypatch.setattr(summarize_pairs, "CODE_VERSION", version)
        newest = copied.newest_snapshot()
        record(copied)
        assert copied.newest_snapshot() > newest
        assert contents(copied) == before


def test_shard_without_a_pool__is_the_only_one_that_is_read(
    copied: Lake, reads: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = made(copied)
    forget(copied, f"codes = '{CODES}' AND shard IN (1, 2, 5)")
    label(copied, **SIDE, pooling="sum")
    assert set(reads) == {(CODES, one) for one in (1, 2, 5)}
    after = made(copied)
    assert after.keys() == before.keys()
    assert {key[:2] for key in after if after[key] != before[key]} == set(reads)
    reads.clear()
    monkeypatch.setattr(document_pools, "VERSION", 99)
    label(copied, **SIDE, pooling="any")
    assert set(reads) == shards_of(copied)
    assert len(made(copied)) == len(after) + len(shards_of(copied))


def test_withdrawal__makes_again_the_pools_of_the_documents_shards(
    copied: Lake, reads: list[tuple[str, int]]
) -> None:
    before, codes = made(copied), copied.codes(CODES)
    label(copied, **SIDE, pooling="sum")
    of_gone = np.flatnonzero(codes.rowset.column("document") == 3)
    touched = {(CODES, int(one)) for one in of_gone // codes.grid.shard_rows}
    assert 0 < len(touched) < len(codes.grid)
    withdraw(copied, corpus=NOW, documents=[3], reason="asked")
    assert {key[:2] for key in before.keys() - made(copied).keys()} == touched
    reads.clear()
    with copied.run("test", {}, {}) as run:
        pool = document_pool(copied, copied.codes(CODES), copied.mask(MASK), run)
    assert set(reads) == touched
    x = by_row().sum(axis=1)
    x[3] = 0
    np.testing.assert_array_equal(pool.finish("sum").values.toarray(), x)
    assert pool.finish("sum").rows[3] == 0


def test_codes_that_a_withdrawal_replaced_before_the_run__are_not_pooled(copied: Lake) -> None:
    old = copied.codes(CODES)
    withdraw(copied, corpus=NOW, documents=[3], reason="asked")
    kept = made(copied)
    with (
        pytest.raises(BusyError, match=f"codes {CODES} have just been replaced"),
        copied.run("test", {}, {}) as run,
    ):
        document_pool(copied, old, copied.mask(MASK), run)
    assert made(copied) == kept


def test_two_runs_that_pool_the_same__both_end(
    without: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has computed some pools when the second commits all of them."""
    raced: list[str] = []

    def overtaken(run: Run, rows: list[dict[str, object]], message: str) -> None:
        if not raced:
            raced.append(message)
            label(Lake.open(without.root), codes=CODES, label="party", pooling="sum")
        commit_partials(run, rows, message)

    monkeypatch.setattr(shard_states, "commit_partials", overtaken)
    label(without, **SIDE, pooling="sum")
    assert len(raced) == 1
    assert len(made(without)) == len(shards_of(without))
    pooled = without.sql("SELECT DISTINCT label FROM feature_labels WHERE pooling = 'sum'").rows()
    assert sorted(pooled) == [("party",), ("side",)]
    assert [str(fault) for fault in without.verify()] == []


def test_pools_that_nobody_else_makes__are_not_tried_for_ever(
    without: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(run: Run, rows: list[dict[str, object]], message: str) -> None:
        raise BusyError("the catalog is busy; run this again")

    monkeypatch.setattr(shard_states, "commit_partials", busy)
    with pytest.raises(BusyError, match="the catalog is busy"):
        label(without, **SIDE, pooling="sum")
    assert made(without) == {}


def test_damaged_pool__is_put_back(copied: Lake) -> None:
    paths = sorted(made(copied).values())[:2]
    whole = [(copied.root / one).read_bytes() for one in paths]
    (copied.root / paths[0]).write_bytes(whole[0][:-1] + bytes([whole[0][-1] ^ 1]))
    (copied.root / paths[1]).unlink()
    assert {one.path for one in repair(copied) if one.done} == set(paths)
    assert [(copied.root / one).read_bytes() for one in paths] == whole
