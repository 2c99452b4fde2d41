"""Planning is idempotent, a shard is published once, and sealing waits for all of them."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from actlake.storage import Lake
from actlake.storage import run as run_module
from actlake.storage.errors import BusyError, InputError, NameTakenError, PrecisionError
from actlake.storage.tensor_writer import (
    TensorPlan,
    abandon_tensors,
    check_tensor,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
    tensor_fingerprint,
)
from tests.storage.conftest import DTYPES, content, fresh_name


def plan(lake: Lake, name: str, *, dtype: str = "float16", width: int = 2) -> TensorPlan:
    return TensorPlan(
        name=name,
        model="m",
        model_fingerprint="f",
        site="s",
        module="s",
        side="output",
        rowset=lake.rowset("c@w"),
        dtype=dtype,
        compute_dtype="float32",
        width=width,
    )


def test_fingerprint__is_that_of_the_rows_alone(bench: Lake) -> None:
    one = plan(bench, "a")
    same = [
        replace(one, name="b"),
        replace(one, batch_plan=(("token_budget", 7),)),
        replace(one, site="t"),
    ]
    assert {tensor_fingerprint(other) for other in same} == {tensor_fingerprint(one)}
    others = [
        replace(one, dtype="float32"),
        replace(one, width=3),
        replace(one, module="t"),
        replace(one, side="input"),
        replace(one, compute_dtype="bfloat16"),
        replace(one, model_fingerprint="g"),
        replace(one, provenance=(("window", 5),)),
        replace(one, rowset=replace(one.rowset, fingerprint="g")),
    ]
    assert len({tensor_fingerprint(other) for other in [one, *others]}) == 9


def test_plan__keeps_its_id(bench: Lake) -> None:
    names = [fresh_name() for _ in range(3)]
    with bench.run("verb", {"n": names[0]}, {}) as run:
        first = plan_tensors(run, [plan(bench, name) for name in names[:2]])
        before = content(bench)
        assert plan_tensors(run, [plan(bench, name) for name in names[:2]]) == first
        assert content(bench) == before
    with bench.run("verb", {"n": names[2]}, {}) as run:
        later = plan_tensors(run, [plan(bench, name) for name in names])
        assert {**later, **first} == later
        before = content(bench)
        with pytest.raises(NameTakenError, match=f"{names[1]!r} is taken"):
            plan_tensors(run, [plan(bench, fresh_name()), plan(bench, names[1], width=3)])
        assert content(bench) == before
    assert {key: bench._claims.names()["tensor", key][0] for key in later} == later


def test_check_tensor__refuses_what_cannot_be(bench: Lake) -> None:
    for wrong in (
        plan(bench, "a/b"),
        plan(bench, "a", dtype="float64"),
        plan(bench, "a", width=0),
        plan(bench, "a", width=-1),
    ):
        with pytest.raises(InputError):
            check_tensor(wrong)


def test_plan__that_cannot_be_written_leaves_nothing(bench: Lake) -> None:
    with bench.run("verb", {"n": fresh_name()}, {}) as run:
        name = fresh_name()
        with bench.run("other", {"n": name}, {}) as other:
            plan_tensors(other, [plan(bench, name)])
        before = content(bench)
        run._holding[f"tensor:{name}"] = run.claim  # as if the other had not been waited for
        seen = run.examine
        run.examine = lambda look: []  # type: ignore[method-assign, assignment, return-value]  # nor been seen
        with pytest.raises(BusyError, match="just made the tensor"):
            plan_tensors(run, [plan(bench, name)])
        run.examine = seen  # type: ignore[method-assign]
        after = content(bench)
    assert after == before


def test_shard__is_committed_once(bench: Lake) -> None:
    name = fresh_name()
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    with bench.run("verb", {"n": name}, {}) as run:
        one = plan(bench, name)
        id_ = plan_tensors(run, [one])[name]
        receipts = publish_shard(run, one, id_, 1, rows, token_budget=7, torch_threads=2)
        assert bench.committed_shards(id_) == set()  # a file alone is no shard
        commit_shards(run, receipts, "x")
        assert bench.committed_shards(id_) == {1}
        before = content(bench)
        with pytest.raises(InputError, match=r"shard 1 .* already committed"):
            publish_shard(run, one, id_, 1, rows + 1)
        with pytest.raises(InputError, match="already committed"):
            commit_shards(run, receipts, "x")
        for wrong in (rows[:3], rows[:, :1], rows.ravel()):
            with pytest.raises(InputError, match=r"cannot be of shape .*; give \(4, 2\)"):
                publish_shard(run, one, id_, 2, wrong)
        with pytest.raises(PrecisionError, match="rows 8 to 12: 1 values do not fit float16"):
            publish_shard(run, one, id_, 2, rows + np.eye(4, 2, k=1) * 1e6)
        with pytest.raises(InputError, match="has 1 of 10 shards"):
            seal(run, [one], {name: id_})
        assert content(bench) == before
    assert bench.tensor(name)[4:8].tolist() == rows.tolist()
    [facts] = bench.sql("SELECT * FROM shards WHERE owner = $o", o=id_).arrow().to_pylist()
    assert (facts["row_start"], facts["row_stop"], facts["nonfinite"]) == (4, 8, 0)
    assert (facts["token_budget"], facts["torch_threads"]) == (7, 2)
    assert facts["norm_mean"] == pytest.approx(np.linalg.norm(rows, axis=1).mean())


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm__is_that_of_the_stored_rows(bench: Lake, dtype: str) -> None:
    name = fresh_name()
    rows = np.full((4, 2), 300.0)  # whose squares float16 does not hold
    with bench.run("verb", {"n": name}, {}) as run:
        one = plan(bench, name, dtype=dtype)
        receipt, *_ = publish_shard(run, one, plan_tensors(run, [one])[name], 0, rows)
    assert receipt.norm_mean == pytest.approx(300 * 2**0.5, rel=1e-2)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_orphan__is_replaced(bench: Lake, dtype: str) -> None:
    """What a writer left that died between its file and its commit."""
    name = fresh_name()
    with bench.run("verb", {"n": name}, {}) as run:
        one = plan(bench, name, dtype=dtype)
        id_ = plan_tensors(run, [one])[name]
        publish_shard(run, one, id_, 0, np.zeros((4, 2)))
        commit_shards(run, publish_shard(run, one, id_, 0, np.full((4, 2), 127)), "x")
    assert bench.tensor(name)[:4].tolist() == [[127, 127]] * 4


def test_abandon__frees_what_was_planned_and_keeps_what_is_sealed(bench: Lake) -> None:
    sealed, planned = fresh_name(), fresh_name()
    with bench.run("verb", {"n": sealed}, {}) as run:
        plans = [plan(bench, sealed), plan(bench, planned, dtype="int8")]
        ids = plan_tensors(run, plans)
        for shard in range(10):
            start, stop = plans[0].rowset.grid.span(shard)
            rows = np.ones((stop - start, 2))
            receipts = [
                receipt
                for one in plans[: 2 - shard % 2]
                for receipt in publish_shard(run, one, ids[one.name], shard, rows)
            ]
            commit_shards(run, receipts, "x")
        seal(run, plans[:1], {sealed: ids[sealed]})
        abandon_tensors(run, ids)
    assert bench.tensor(sealed)[:].tolist() == [[1, 1]] * 37
    assert bench.table("tensors").collect()["tensor"].to_list().count(planned) == 0
    assert bench.committed_shards(ids[planned]) == set()
    assert not (bench.root / "tensors" / ids[planned]).exists()
    assert ("tensor", planned) not in bench._claims.names()
    assert not [path for path in bench._claims.files() if ids[planned] in path]
    with bench.create_tensor(planned, rowset="c@w", width=5, dtype="float32") as writer:
        writer.append(np.zeros((37, 5)))  # the name means something else now


def test_runs__that_share_a_tensor_write_it_one_after_the_other(
    bench: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "POLL_SECONDS", 0.01)
    name, other, order = fresh_name(), fresh_name(), list[str]()
    planned = threading.Event()

    def first() -> None:
        with bench.run("verb", {"n": name}, {}) as run:
            plans = [plan(bench, name), plan(bench, other)]
            ids = plan_tensors(run, plans)
            planned.set()
            commit_shards(run, publish_shard(run, plans[0], ids[name], 0, np.ones((4, 2))), "x")
            order.append("first")

    def second() -> None:
        planned.wait()
        with bench.run("verb", {"n": other}, {}) as run:
            id_ = plan_tensors(run, [plan(bench, name)])[name]
            order.append("second")
            assert bench.committed_shards(id_) == {0}

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["first", "second"]
