"""Three arrays and their postings exist together, and hold exactly the stored values."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from actlake.storage import Csr, Lake
from actlake.storage.codes_writer import commit_codes, plan_codes, publish_codes, seal_codes
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError, NameTakenError, PrecisionError
from tests.storage.conftest import FEATURES, codes_plan, content, fresh_name, write_codes


def dense(lake: Lake, seed: int = 0) -> np.ndarray:
    rows = lake.rowset("c@w").rows
    block = np.random.default_rng(seed).uniform(-3, 1, (rows, FEATURES)).astype(np.float32)
    return np.maximum(block, 0)


def test_codes__come_back_both_ways(bench: Lake) -> None:
    name, block = fresh_name(), dense(bench)
    plan = codes_plan(name, bench.rowset("c@w"), dtype="float32")
    with bench.run("verb", {"n": name}, {}) as run:
        write_codes(run, plan, csr_from_dense(block))
    codes = bench.codes(name)
    assert codes.sealed
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes[:].dense(), block)
    rows = bench.sql("SELECT feature, row, value FROM postings WHERE codes = $c", c=name).rows()
    again = np.zeros_like(block)
    for feature, row, value in rows:
        again[int(str(row)), int(str(feature))] = value
    np.testing.assert_array_equal(again, block)
    [(nnz, rows_)] = bench.sql("SELECT nnz, rows FROM codes WHERE codes = $c", c=name).rows()
    assert (nnz, rows_) == ((block > 0).sum(), len(block))


def test_codes_arrays__are_zarr(bench: Lake) -> None:
    codes = bench.codes("d@c")
    for shard in range(len(codes.grid)):
        stored = {
            name: np.asarray(zarr.open_array(codes.folder / str(shard) / name, mode="r")[:])
            for name in ("indptr", "indices", "values")
        }
        ours = codes.shard(shard)
        for name, values in stored.items():
            np.testing.assert_array_equal(values, getattr(ours, name))
        assert [stored[n].dtype for n in stored] == ["uint32", "uint16", "float16"]
    assert zarr.open_group(codes.folder, mode="r").attrs["n_features"] == FEATURES


def test_shard_without_values__exists(bench: Lake) -> None:
    empty = [s for s, n in bench.codes("d@c").values_of_shard.items() if n == 0]
    assert empty == [2]  # planted
    query = 'SELECT "array", bytes FROM shards WHERE owner = $o AND shard = 2 ORDER BY ALL'
    rows = bench.sql(query, o=bench.codes("d@c").id).rows()
    found = {str(name): size for name, size in rows}
    assert {name: size for name, size in found.items() if name != "indptr"} == {
        "indices": 0,
        "values": 0,
        "postings": 0,
    }
    assert bench.codes("d@c").shard(2).nnz == 0


def test_bad_blocks__are_refused_and_change_nothing(bench: Lake) -> None:
    name, rowset = fresh_name(), bench.rowset("c@w")
    plan = codes_plan(name, rowset)
    good = csr_from_dense(dense(bench)[: rowset.shard_rows], dtype="float16")
    swapped = good.indices.copy()
    swapped[:2] = swapped[1::-1]
    bad = {
        "cannot be of shape": csr_from_dense(dense(bench)[:1]),
        r"; give \(": Csr(good.indptr, good.indices, good.values, FEATURES + 1),
        "do not ascend": Csr(good.indptr, swapped, good.values, FEATURES),
    }
    wrong = [good.values.astype(np.float32) * factor for factor in (1e6, np.nan, -1, 0)]
    with bench.run("verb", {"n": name}, {}) as run:
        codes_id = plan_codes(run, plan)
        before = content(bench)
        for message, block in bad.items():
            with pytest.raises(InputError, match=message):
                publish_codes(run, plan, codes_id, 0, block)
        for values in wrong:
            with pytest.raises(PrecisionError, match="not finite and positive as float16"):
                publish_codes(
                    run, plan, codes_id, 0, Csr(good.indptr, good.indices, values, FEATURES)
                )
        assert content(bench) == before
        with pytest.raises(InputError, match="have 0 of"):
            seal_codes(run, plan, codes_id)
        assert content(bench) == before


def test_codes_dtype__is_one_of_two(bench: Lake) -> None:
    with bench.run("verb", {"n": fresh_name()}, {}) as run:
        before = content(bench)
        for dtype in ("bfloat16", "float64", "int8"):
            with pytest.raises(InputError, match="float16 or float32"):
                plan_codes(run, codes_plan(fresh_name(), bench.rowset("c@w"), dtype=dtype))
        with pytest.raises(NameTakenError, match="'d@c' is taken"):
            plan_codes(run, codes_plan("d@c", bench.rowset("c@w"), dtype="float32"))
        assert content(bench) == before


def test_shard__is_committed_once_and_over_an_orphan(bench: Lake) -> None:
    name, rowset = fresh_name(), bench.rowset("c@w")
    plan, block = codes_plan(name, rowset), csr_from_dense(dense(bench), dtype="float16")
    parts = [
        block.keep(np.arange(rowset.rows) // rowset.shard_rows == s)
        for s in range(len(rowset.grid))
    ]
    with bench.run("verb", {"n": name}, {}) as run:
        codes_id = plan_codes(run, plan)
        assert plan_codes(run, plan) == codes_id
        orphan = publish_codes(run, plan, codes_id, 0, parts[1])  # a crash came before its commit
        shard = publish_codes(run, plan, codes_id, 0, parts[0])
        assert bench.committed_shards(codes_id) == set()
        commit_codes(run, [shard], "x")
        before = content(bench)
        with pytest.raises(InputError, match="already committed"):
            publish_codes(run, plan, codes_id, 0, parts[0])
        assert orphan.postings is not None
        with pytest.raises(InputError, match="already committed"):
            commit_codes(run, [orphan], "x")
        after = content(bench)
        left = before.keys() - after.keys()
        assert left == {orphan.postings.path.relative_to(bench.root).as_posix()}
        codes = bench.codes(name)
        assert codes.missing() == [*range(1, len(rowset.grid))]
        np.testing.assert_array_equal(codes.shard(0).dense(), parts[0].dense())
        rest = [publish_codes(run, plan, codes_id, s, parts[s]) for s in codes.missing()]
        commit_codes(run, rest, "rest")
        seal_codes(run, plan, codes_id)
    assert [*Path(codes.folder).rglob("*.tmp")] == []
    np.testing.assert_array_equal(bench.codes(name)[:].dense(), block.dense())
