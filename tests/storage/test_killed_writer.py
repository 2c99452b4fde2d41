"""Appended rows are the tensor, wherever their writer is killed."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actlake.storage import Lake
from actlake.storage.errors import InputError
from tests.storage.conftest import Planted, payloads, python
from tests.storage.written import VALUES, WIDTH, chunks

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
