"""What writes to a lake in a bucket and is killed between an object and its receipt."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from actlake.storage import Document, Lake
from actlake.storage.bucket import Bucket
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from tests.storage.conftest import FEATURES, codes_plan, write_codes

__all__ = ["CODES", "KILLS", "VALUES", "killed", "prepare"]

ROWS, WIDTH = 20, 4
VALUES = np.arange(1, ROWS * WIDTH + 1, dtype=np.float32).reshape(ROWS, WIDTH)
CODES = np.where(np.arange(ROWS * FEATURES).reshape(ROWS, FEATURES) % 7, 0, 2).astype(np.float32)


def prepare(lake: Lake) -> None:
    """A rowset and a dictionary, for what is written."""
    lake.create_corpus("c", [Document(str(i), f"text {i}") for i in range(ROWS)])
    lake.create_rowset("r", corpus="c", columns={"document": np.arange(ROWS)})
    with lake.run("test", {}, {}) as run:
        write_dictionary(
            run,
            name="d",
            method="topk",
            tensor="t:float32",
            n_features=FEATURES,
            width=WIDTH,
            config={"k": 3},
            arrays={"decoder": np.ones((FEATURES, WIDTH), np.float32)},
            fingerprint="d",
            tables={},
        )


def write(lake: Lake) -> None:
    """The tensor ``t:float32``, or what is missing of it."""
    with lake.create_tensor("t:float32", rowset="r", width=WIDTH, dtype="float32") as writer:
        writer.append(VALUES[writer.next_row :])


def encode(lake: Lake) -> None:
    """The codes ``d@c``, or what is missing of them, as one commit."""
    with lake.run("encode", {}, {}) as run:
        write_codes(run, codes_plan("d@c", lake.rowset("r")), csr_from_dense(CODES))


def killed(root: Path, work: Callable[[Lake], None], within: str, call: int, end: bool) -> None:
    """Do ``work``, and die as the ``call``-th object so called is put, or when it has been."""
    original, calls = Bucket.create, 0

    def killing(self: Bucket, key: str, content: bytes) -> None:
        nonlocal calls
        calls += within in key
        die = within in key and calls == call
        if die and not end:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, key, content)
        if die:
            os.kill(os.getpid(), signal.SIGKILL)

    Bucket.create = killing  # type: ignore[method-assign] # the child's own
    work(Lake.open(root))


KILLS = {
    write: (
        ("/zarr.json", 1, True),  # of a plan that nobody knows: the next one has another id
        ("/c.", 2, True),
    ),
    encode: (
        ("/values/c.0", 1, False),  # half a folder
        ("/postings/", 2, True),
    ),
}
"""Where each is killed, one time after the other; it is done once more then."""
