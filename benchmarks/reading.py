"""What it costs to hold what is read against its receipt: ``python -m benchmarks.reading``."""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actlake.storage import Document, Lake
from actlake.storage.reading import MODES
from actlake.storage.tensors import Tensor

ROWS, WIDTH, BATCH = 65_536, 4_096, 4_096
"""Eight shards of 64 MiB in float16."""


def main() -> None:
    random = np.random.default_rng(0)
    index = np.sort(random.integers(0, ROWS, BATCH))
    with tempfile.TemporaryDirectory() as folder:
        root = _written(Path(folder) / "lake", random)
        with closing(Lake.open(root, verify="never")) as lake:
            _pass(lake.tensor("t"))  # from here on the files are in memory
        print("mode | first row | first pass | pass | gather of 4,096 rows | row (ms)")
        for mode in MODES:
            with closing(Lake.open(root, verify=mode)) as lake:
                first = _first_row(lake.tensor("t"))
            with closing(Lake.open(root, verify=mode)) as lake:
                times = first, *_measured(lake.tensor("t"), index)
            print(mode, *(f"{1000 * seconds:.2f}" for seconds in times), sep=" | ")


def _first_row(tensor: Tensor) -> float:
    return _seconds(lambda: tensor[5:6], 1)


def _measured(tensor: Tensor, index: NDArray[np.int64]) -> tuple[float, ...]:
    return (
        _seconds(lambda: _pass(tensor), 1),
        _seconds(lambda: _pass(tensor)),
        _seconds(lambda: tensor.rows(index)),
        _seconds(lambda: tensor[5:6]),
    )


def _written(root: Path, random: np.random.Generator) -> Path:
    with closing(Lake.create(root)) as lake:
        lake.create_corpus("c", [Document(str(number), f"text {number}") for number in range(64)])
        columns: dict[str, NDArray[np.int64]] = {"document": np.arange(ROWS) // 1024}
        lake.create_rowset("r", corpus="c", columns=columns, width_hint=WIDTH)
        with lake.create_tensor("t", rowset="r", width=WIDTH) as writer:
            for _ in range(8):
                writer.append(random.standard_normal((ROWS // 8, WIDTH), np.float32))
    return root


def _pass(tensor: Tensor) -> None:
    block = np.empty((tensor.grid.shard_rows, WIDTH), tensor.dtype)
    for shard in range(len(tensor.grid)):
        np.copyto(block, tensor.shard(shard))


def _seconds(call: Callable[[], object], times: int = 5) -> float:
    """Processor time, which a busy machine does not stretch; the least of several runs."""
    found = []
    for _ in range(times):
        started = time.process_time()
        call()
        found.append(time.process_time() - started)
    return min(found)


if __name__ == "__main__":
    main()
