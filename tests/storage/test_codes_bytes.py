"""How many bytes of the disk a value of codes and a posting take."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Csr, Document, Lake
from tests.storage.conftest import codes_plan, write_codes
from tests.storage.test_compaction import compacted, files

ROWS, FEATURES, K = 1 << 16, 1 << 16, 32


@pytest.mark.slow
@pytest.mark.parametrize("use", ["even", "power law"])
def test_codes__of_65536_features_take_few_bytes(use: str, fresh: Lake) -> None:
    """At most 4.2 a value of codes and 4.0 a posting: k 32, float16, shards of 8,192 rows.

    Features that are used evenly leave the least to pack; real ones are used as a power law. Those
    alone keep to 4.0 however many rows are compacted: evenly used ones then take up to 4.2, as the
    step from a feature's last row to the first of the next widens a whole block of deltas.
    """
    columns = {"document": np.arange(ROWS) // 128}
    fresh.create_corpus("wide", [Document(str(one), f"wide {one}") for one in range(ROWS // 128)])
    rowset = fresh.create_rowset("wide", corpus="wide", columns=columns)
    block = random_codes(np.ones(FEATURES) if use == "even" else 1 / (10.0 + np.arange(FEATURES)))
    with fresh.run("test", {"wide": True}, {}) as run:
        write_codes(run, codes_plan("wide", rowset, features=FEATURES), block)

    assert (rowset.shard_rows, len(files(fresh))) == (8192, 8)
    assert block.nnz > 0.9 * ROWS * K
    arrays = [path for path in fresh.codes("wide").folder.rglob("*") if path.is_file()]
    assert bytes_of(arrays) <= 4.2 * block.nnz
    assert bytes_of(files(fresh)) <= 4 * block.nnz
    if use == "power law":
        compacted(fresh)
        assert len(files(fresh)) == 1
        assert bytes_of(files(fresh)) <= 4 * block.nnz


def random_codes(weights: NDArray[np.float64]) -> Csr:
    """At most K different features a row, each as often as its weight says, in no order of it."""
    rng = np.random.default_rng(0)
    up_to = np.cumsum(rng.permutation(weights / weights.sum()))
    drawn = np.sort(np.searchsorted(up_to[:-1], rng.random((ROWS, K + 1))), axis=1)
    once = np.diff(drawn, axis=1, prepend=-1) > 0
    once &= once.cumsum(axis=1) <= K
    indptr = np.concatenate(([0], np.cumsum(once.sum(axis=1))))
    values = rng.lognormal(0, 0.5, indptr[-1]).astype(np.float16)
    return Csr(indptr, drawn[once].astype(np.uint16), values, FEATURES)


def bytes_of(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)
