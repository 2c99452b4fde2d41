"""int8 with a scale a row, through every step: whoever reads a tensor reads values."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.flows.delete import delete
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.extract_plan import forecast
from actlake.flows.repair import repair
from actlake.flows.train import train
from actlake.storage.lake import Lake
from actlake.storage.precision import quantize, restore
from tests.flows.commands import Cli, ok
from tests.flows.test_extract_plan import asked

SITE = "resid_post.1"
TENSOR = f"tiny-llama:{SITE}@c"


@pytest.mark.slow
def test_int8__goes_the_whole_way(
    dictionary_lake: Path, tiny: Callable[[str], Path], cli: Cli, tmp_path: Path
) -> None:
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    delete(lake, kind="tensor", name=TENSOR, cascade=True)
    model = tiny("llama")
    given = {"source": str(model), "sites": [SITE], "corpus": "c", "torch_threads": 1}
    extract(lake, dtype="float32", **given)  # type: ignore[arg-type]  # mixed
    x, whole_floats = lake.tensor(TENSOR)[:], lake.newest_snapshot()
    delete(lake, kind="tensor", name=TENSOR)

    # What is extracted is what the plan says, and the values of the model to half a scale.
    plan = forecast(lake, price=1.0, **asked(model, sites=[SITE], dtype="int8"))
    line = ("extract", model, "--corpus", "c", "--site", SITE, "--torch-threads", 1)
    ok(cli(lake.root, *line, "--dtype", "int8"))
    lake = Lake.open(lake.root)
    tensor = lake.tensor(TENSOR)
    files = {
        one.path.relative_to(tensor.folder).as_posix(): one.path.read_bytes()
        for one in lake.store.files(tensor.folder)
    }
    assert {name.split("/")[0] for name in files} == {"zarr.json", "rows", "scale"}
    sizes = [len(files[name]) for name in files if not name.endswith("zarr.json")]
    assert plan.bytes == sum(sizes)
    assert plan.tensors["bytes_per_row"].to_pylist() == [tensor.width + 4]
    coverage = "SELECT bytes, complete FROM shard_coverage WHERE name = $n"
    assert lake.sql(coverage, n=TENSOR).rows() == [(plan.bytes, True)]
    assert (tensor.stored_dtype, tensor.dtype.name) == ("int8", "float32")
    values = tensor[:]
    assert np.array_equal(values, restore(*quantize(x)))
    assert (np.abs(values - x) <= np.abs(x).max(axis=1, keepdims=True) * 0.51 / 127).all()
    assert not np.array_equal(values, x)

    # A dictionary is learned from these values, and encodes them.
    few = {"k": 4, "n_features": 32, "steps": 5, "batch_rows": 64}
    train(lake, tensor=TENSOR, dictionary="d", torch_threads=1, **few)  # type: ignore[arg-type]
    encode(lake, dictionary="d", dtype="float32")
    learned = lake.dictionary("d")
    right = Dictionary(learned.method, learned.config, learned.arrays).encode(values)
    assert right.nnz == 4 * len(values)
    found = lake.codes("d@c")[:].dense()
    assert np.array_equal(found > 0, right.dense() > 0)
    np.testing.assert_allclose(found, right.dense(), rtol=1e-5)  # by another library's product

    # Older snapshots have what was there, and a copy is the same lake.
    with closing(lake.at(whole_floats)) as then:
        assert np.array_equal(then.tensor(TENSOR)[:], x)
    with closing(Lake.open(shutil.copytree(lake.root, tmp_path / "copy"))) as copy:
        assert np.array_equal(copy.tensor(TENSOR)[:], values)

    # What is damaged is found, and made again to the byte.
    for name in ("rows/c.0.0", "scale/c.1", "scale/zarr.json"):
        (tensor.folder / name).write_bytes(files[name][:-9] + b"?" + files[name][-8:])
    for name in ("zarr.json", "rows/zarr.json"):
        (tensor.folder / name).unlink()
    done = repair(lake)
    assert sorted(one.path.removeprefix(f"tensors/{tensor.id}/") for one in done) == [
        "rows/c.0.0", "rows/zarr.json", "scale/c.1", "scale/zarr.json", "zarr.json",
    ]  # fmt: skip
    assert [str(one) for one in done if not one.done] == []
    assert {name: (tensor.folder / name).read_bytes() for name in files} == files
    assert [*lake.verify()] == []
