"""The view ``firings`` says of rows what codes hold, in every state that a lake can be in."""

import gc
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from actlake import sql
from actlake.storage import Lake
from actlake.storage.codes_writer import commit_codes, plan_codes, publish_codes
from actlake.storage.compaction import compact, uncompacted
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import BusyError, CorruptError, LakeError, QueryError
from actlake.storage.firings import Firings
from actlake.storage.reading import MODES
from tests.storage.conftest import Planted, codes_plan, write_codes

COLUMNS = "codes, rowset, row, document, position, token_id, is_special, feature, value"
EVERYTHING = f"SELECT {COLUMNS} FROM firings ORDER BY codes, row, feature"
PLAIN = sql.text("views", "firings").partition(" AS\n")[2].rstrip(";\n")
"""As an exported file has it."""


@pytest.fixture
def lake(planted: Planted, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(shutil.copytree(planted.root, tmp_path / "lake"))
    yield lake
    lake.close()


def same_as_exported(lake: Lake) -> int:
    """Rows of the view, when they are found to be what a plain DuckDB says."""
    found = lake.sql(EVERYTHING).pl()
    assert found.equals(lake.sql(f"{PLAIN} ORDER BY ALL").pl().sort("codes", "row", "feature"))
    assert found.columns == COLUMNS.split(", ")
    return len(found)


def test_firings__are_what_was_planted(planted: Planted) -> None:
    found = planted.lake.sql(EVERYTHING).pl()
    rows, features = np.nonzero(planted.codes)
    assert found["row"].to_list() == rows.tolist()
    assert found["feature"].to_list() == features.tolist()
    assert found["value"].to_list() == planted.codes[rows, features].tolist()
    for name in ("document", "token_id", "is_special"):
        expected = planted.columns[name][rows]
        mine = found[name].fill_null(-1).to_numpy()
        assert mine.tolist() == expected.tolist(), name
    assert planted.lake.table("firings").collect().sort("row", "feature").equals(found)


def test_firings__are_those_of_the_rows_that_are_asked_for(planted: Planted) -> None:
    special = planted.columns["is_special"]
    for condition, rows in (
        ("row IN (3, 3, 0)", [0, 3]),
        ("document = 4 AND NOT is_special", (planted.columns["document"] == 4) & ~special),
        ("token_id = 2", planted.columns["token_id"] == 2),
        ("row < 0", []),
    ):
        query = f"SELECT row, sum(value) FROM firings WHERE {condition} GROUP BY row ORDER BY row"
        sums = planted.codes[rows].astype(np.float64).sum(axis=1)
        found = np.array(planted.lake.sql(query).rows(), float).reshape(-1, 2)
        assert found[:, 1] == pytest.approx(sums[sums > 0]), condition


@pytest.mark.parametrize("mode", MODES)
def test_firings__are_the_same_however_files_are_checked(planted: Planted, mode: str) -> None:
    with closing(Lake.open(planted.root, verify=mode)) as lake:  # type: ignore[arg-type]
        assert same_as_exported(lake) == np.count_nonzero(planted.codes)


def test_firings__of_several_codes_and_snapshots(lake: Lake) -> None:
    rowset, rng = lake.rowset("c@w"), np.random.default_rng(3)
    before, snapshot = same_as_exported(lake), lake.newest_snapshot()
    dense = np.where(rng.random((rowset.rows, 300)) < 0.05, 1.5, 0).astype(np.float32)
    block = csr_from_dense(dense, dtype="float32")
    with lake.run("test", {"more": 1}, {}) as run:
        write_codes(run, codes_plan("more", rowset, dtype="float32", features=300), block)
        plan = codes_plan("half", rowset, features=300)
        half, (start, stop) = plan_codes(run, plan), rowset.grid.span(1)
        part = csr_from_dense(dense[start:stop], dtype="float16")
        commit_codes(run, [publish_codes(run, plan, half, 1, part)], "one shard")
    assert same_as_exported(lake) == before + block.nnz + part.nnz
    (start, stop) = rowset.grid.span(3)
    with lake.run("test", {"more": 2}, {}) as run:
        late = csr_from_dense(dense[start:stop], dtype="float16")
        commit_codes(run, [publish_codes(run, plan, half, 3, late)], "another")
        assert all(compact(run, group) for group in uncompacted(run))
    assert same_as_exported(lake) == before + block.nnz + part.nnz + late.nnz
    with closing(lake.at(snapshot)) as past:
        assert same_as_exported(past) == before
    query = "SELECT count(*) FROM firings WHERE codes = $codes"
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda _: lake.sql(query, codes="more").rows(), range(12))
        assert [*counts] == [[(block.nnz,)]] * 12
    assert lake._connection().execute(query, {"codes": "more"}).fetchall() == [(block.nnz,)]


def test_firings__of_damaged_codes_are_refused_as_their_readers_refuse_them(lake: Lake) -> None:
    shard = next(shard for shard, nnz in lake.codes("d@c").values_of_shard.items() if nnz)
    path = lake.codes("d@c")._path(shard, "values")
    path.chmod(0o644)
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(CorruptError) as told:
        lake.codes("d@c").shard(shard)
    for ask in (
        lambda: lake.sql("SELECT sum(value) FROM firings").rows(),
        lambda: [*lake.sql("SELECT * FROM firings").batches(7)],
        lambda: lake.table("firings").collect(),
        lambda: lake._connection().execute("SELECT sum(value) FROM firings").fetchall(),
    ):
        with pytest.raises(LakeError) as said:
            ask()
        assert (type(said.value), str(said.value)) == (CorruptError, str(told.value))
    assert len(lake.sql("SELECT row, feature FROM firings").rows()) > 0


def test_firings__functions_are_not_for_people(planted: Planted) -> None:
    for name in ("value", "places", "feature"):
        call = f"firing_{name}(1, 'x', 1)"
        with pytest.raises(QueryError, match="is refused here"):
            planted.lake.sql(f"SELECT {call}")


def test_firings__of_codes_that_went_meanwhile(planted: Planted) -> None:
    lake = planted.lake
    functions = Firings(lake.reading, lake._reader._aside)
    with pytest.raises(BusyError, match="run it again"):
        functions.places(pa.chunked_array([["gone"]]), pa.chunked_array([[1]]))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux shows open files")
def test_firings__do_not_keep_a_lake_open_that_nobody_holds(planted: Planted) -> None:
    def files() -> int:
        gc.collect()
        return sum(
            os.path.realpath(one.path).startswith(str(planted.root))
            for one in os.scandir("/proc/self/fd")
        )

    before = files()
    lazy = Lake.open(planted.root).table("firings")
    gc.collect()  # whoever has rows to come holds what they come from
    assert len(lazy.collect()) == np.count_nonzero(planted.codes)
    batches = Lake.open(planted.root).sql("SELECT row, value FROM firings").batches(7)
    gc.collect()
    assert sum(len(one) for one in batches) == np.count_nonzero(planted.codes)
    del lazy, batches
    assert files() == before
