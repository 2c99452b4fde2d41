"""Appended rows are the tensor, however they are cut and whatever is killed."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actlake.storage import Lake
from actlake.storage.errors import (
    BusyError,
    IncompleteError,
    InputError,
    NameTakenError,
    PrecisionError,
)
from actlake.storage.precision import quantize, restore
from tests.storage.conftest import Planted, content, fresh_name, payloads, python

ROWS, WIDTH = 37, 3
VALUES = np.random.default_rng(2).normal(size=(ROWS, WIDTH)).astype(np.float32)


def chunks(payload: dict[str, bytes]) -> dict[str, bytes]:
    """The chunk files; a kill may leave a ``*.tmp`` beside them, which nothing ever reads."""
    return {name: one for name, one in payload.items() if Path(name).name.startswith("c.")}


@pytest.fixture(scope="module")
def undisturbed(bench: Lake) -> dict[str, bytes]:
    return written_whole(bench, "float16")


@pytest.fixture(scope="module")
def undisturbed_int8(bench: Lake) -> dict[str, bytes]:
    return written_whole(bench, "int8")


def written_whole(bench: Lake, dtype: str) -> dict[str, bytes]:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype=dtype) as writer:
        writer.append(VALUES)
    return chunks(payloads(bench, name))


@settings(max_examples=8)
@given(
    cuts=st.lists(st.integers(0, ROWS), max_size=8).map(sorted),
    dtype=st.sampled_from(["float16", "int8"]),
)
def test_append__gives_the_same_bytes_however_rows_are_cut(
    bench: Lake,
    undisturbed: dict[str, bytes],
    undisturbed_int8: dict[str, bytes],
    cuts: list[int],
    dtype: str,
) -> None:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype=dtype) as writer:
        for start, stop in zip([0, *cuts], [*cuts, ROWS], strict=True):
            assert writer.next_row == start
            mine = VALUES[start:stop].copy()
            writer.append(mine)
            mine[:] = 7  # the caller may use its array again
        assert writer.next_row == ROWS
    right = undisturbed_int8 if dtype == "int8" else undisturbed
    assert chunks(payloads(bench, name)) == right
    if dtype == "int8":
        assert np.array_equal(bench.tensor(name)[:], restore(*quantize(VALUES)))
    assert bench.tensor(name).sealed


def test_writer__goes_on_where_it_stopped(bench: Lake, undisturbed: dict[str, bytes]) -> None:
    name = fresh_name()
    for stop in (9, 9, 30, ROWS):
        writer = bench.create_tensor(name, rowset="c@w", width=WIDTH)
        start = writer.next_row
        assert start % 4 == 0
        writer.append(VALUES[start:stop])
        if stop < ROWS:
            with pytest.raises(IncompleteError, match="lacks its last"):
                writer.close()
        else:
            writer.close()
            writer.close()  # again does nothing
    assert chunks(payloads(bench, name)) == undisturbed
    with pytest.raises(InputError, match="is sealed already"):
        bench.create_tensor(name, rowset="c@w", width=WIDTH)


def test_refused_rows__are_not_taken(bench: Lake, undisturbed: dict[str, bytes]) -> None:
    name = fresh_name()
    overflow = VALUES[5:9].copy()
    overflow[-1, -1] = 1e6
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer:
        writer.append(VALUES[:5])
        before = content(bench)
        for rows, error, message in (
            (overflow, PrecisionError, "rows 5 to 9: 1 values do not fit float16"),
            (overflow * np.nan, PrecisionError, "NaN or infinite"),
            (VALUES[:, :2], InputError, r"shape \(37, 2\); give \(n, 3\)"),
            (VALUES[0], InputError, r"shape \(3,\); give"),
            (VALUES, InputError, "has 37 rows, and rows up to 42 were appended"),
        ):
            with pytest.raises(error, match=message):
                writer.append(rows)
        assert content(bench) == before
        assert writer.next_row == 5
        writer.append(VALUES[5:])
    assert chunks(payloads(bench, name)) == undisturbed
    with pytest.raises(InputError, match="is closed"):
        writer.append(VALUES[:1])


@pytest.mark.parametrize("how", ["overflow", "error", "unsealed", "interrupt"])
def test_writer__that_ends_before_its_first_shard_leaves_no_tensor(bench: Lake, how: str) -> None:
    name = fresh_name()
    before = content(bench)
    errors = {"overflow": PrecisionError, "error": ZeroDivisionError, "unsealed": IncompleteError}
    with (  # noqa: PT012 - the writer is left by the error
        pytest.raises(errors.get(how, KeyboardInterrupt)),
        bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer,
    ):
        writer.append(VALUES[:3])
        if how == "overflow":
            writer.append(VALUES[3:] * 1e6)
        elif how == "error":
            raise ZeroDivisionError
        elif how == "interrupt":
            raise KeyboardInterrupt
    after = content(bench)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    tables = {key.split("/")[2] for key in changed - {"tables"}}
    # Files of tables that came and went stay, as old snapshots name them; no other file does.
    assert tables <= {"runs", "tensors"}
    assert name not in bench.table("tensors").collect()["tensor"].to_list()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH, dtype="float32") as writer:
        writer.append(VALUES)
    states = "SELECT state FROM runs WHERE parameters = $p ORDER BY run"
    found = bench.sql(states, p=json.dumps({"name": name})).rows()
    assert found == [("failed",), ("completed",)]


def test_bad_tensors__are_refused_before_anything_happens(bench: Lake) -> None:
    before = content(bench)
    for name, options, error in (
        ("t:float16", {"width": 9}, NameTakenError),
        ("t:float16", {"width": 6, "dtype": "float32"}, NameTakenError),
        ("a/b", {}, InputError),
        (fresh_name(), {"rowset": "nope"}, InputError),
        (fresh_name(), {"dtype": "int4"}, InputError),
        (fresh_name(), {"width": 0}, InputError),
    ):
        with pytest.raises(error):
            bench.create_tensor(name, **({"rowset": "c@w", "width": 3} | options))  # type: ignore[arg-type]
    assert content(bench) == before


def test_second_writer__in_the_same_thread_is_refused(bench: Lake) -> None:
    name = fresh_name()
    with bench.create_tensor(name, rowset="c@w", width=WIDTH) as writer:
        with pytest.raises(BusyError, match="this thread is at work"):
            bench.create_tensor(name, rowset="c@w", width=WIDTH)
        writer.append(VALUES)


def test_provenance__is_kept_and_part_of_the_identity(bench: Lake) -> None:
    name = fresh_name()
    with bench.create_tensor(
        name, rowset="c@w", width=WIDTH, provenance={"engine": "vllm", "n": [1]}
    ) as writer:
        writer.append(VALUES)
    assert bench.tensor(name).attributes()["engine"] == "vllm"
    with pytest.raises(NameTakenError):
        bench.create_tensor(name, rowset="c@w", width=WIDTH, provenance={"engine": "other"})


# Kill it anywhere. One process imports everything; each victim is forked from it, since the
# imports take seconds, and is killed as it comes to its point.
NURSERY = """
import json, os, signal, sys
import numpy as np
from actlake.storage import Lake
from actlake.storage import arrays, catalog, durable, tensor_writer, transaction, writers

def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def plant(point, count):
    place, name, when = point
    owner = {"os": os, "Transaction": transaction.Transaction, "Writer": writers.TensorWriter,
             "writers": writers, "Catalog": catalog.Catalog, "durable": durable}[place]
    real, calls = getattr(owner, name), []
    def planted(*arguments, **options):
        calls.append(1)
        if len(calls) == count and when == "before":
            die()
        found = real(*arguments, **options)
        if len(calls) == count and when == "after":
            die()
        return found
    setattr(owner, name, planted)

for line in sys.stdin:
    root, values, point, count, dtype = json.loads(line)
    child = os.fork()
    if child == 0:
        values = np.array(values, np.float32)
        lake = Lake.open(root)
        plant(point, count)
        width = values.shape[1]
        with lake.create_tensor("victim", rowset="c@w", width=width, dtype=dtype) as writer:
            for start in range(writer.next_row, len(values), 5):
                writer.append(values[start : start + 5])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""

POINTS = [
    # (where, what, before or after), at which of its calls
    (("os", "link", "before"), 3),  # a chunk is written, and not published
    (("os", "link", "after"), 3),  # published, its folder not flushed
    (("durable", "flush", "after"), 4),
    (("Transaction", "register", "before"), 4),  # staged, not registered
    (("Transaction", "register", "after"), 5),  # registered, not committed
    (("Transaction", "commit", "after"), 2),  # the tensor is planned, its commit unacknowledged
    (("Transaction", "commit", "after"), 5),  # a shard is committed, unacknowledged
    (("Writer", "_commit", "after"), 10),  # the last shard, before sealing
    (("writers", "seal", "after"), 1),  # sealed, before the run ends
]
POINTS_INT8 = [
    (("os", "link", "after"), 3),  # the rows of a shard are published, and not their scale
    (("os", "link", "after"), 4),  # both are, and not committed
]


@pytest.fixture(scope="module")
def nursery() -> Iterator["subprocess.Popen[str]"]:
    process = python(NURSERY, stdin=subprocess.PIPE)
    yield process
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "count", "dtype"),
    # Every step is killed in tests/soak; here every other one.
    [
        pytest.param(*at, dtype, marks=[pytest.mark.soak] if number % 2 else [])
        for dtype, points in (("float16", POINTS), ("int8", POINTS_INT8))
        for number, at in enumerate(points)
    ],
)
def test_killed_writer__is_resumed_to_the_same_bytes(
    planted: Planted,
    undisturbed: dict[str, bytes],
    undisturbed_int8: dict[str, bytes],
    nursery: "subprocess.Popen[str]",
    tmp_path: Path,
    point: tuple[str, str, str],
    count: int,
    dtype: str,
) -> None:
    root = shutil.copytree(planted.root, tmp_path / "lake")
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    print(
        json.dumps([str(root), VALUES.tolist(), point, count, dtype]),
        file=nursery.stdin,
        flush=True,
    )
    assert int(nursery.stdout.readline()) == -signal.SIGKILL, "never came to its point"

    lake = Lake.open(root)
    try:
        with lake.create_tensor("victim", rowset="c@w", width=WIDTH, dtype=dtype) as writer:
            writer.append(VALUES[writer.next_row :])
    except InputError as error:  # killed after it was sealed and done
        assert "is sealed already" in str(error)  # noqa: PT017 - only if the kill came late
    assert lake.tensor("victim").sealed
    right = undisturbed_int8 if dtype == "int8" else undisturbed
    assert chunks(payloads(lake, "victim")) == right
    receipts = """SELECT "array", shard FROM shards WHERE owner = $o"""
    arrays = ("rows", "scale") if dtype == "int8" else ("rows",)
    found = lake.sql(receipts, o=lake.tensor("victim").id).rows()
    assert sorted(found) == [(array, shard) for array in arrays for shard in range(10)]
    assert [*lake.verify()] == []
    assert lake._claims.pins() == []
    lake.close()
