"""Every array of a lake that the flows made opens in zarr-python and tensorstore and verifies."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr
from numpy.typing import NDArray

from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.ingest import ingest_documents
from actlake.storage.lake import Lake

Array = NDArray[Any]
SITES = {"embed": "bfloat16", "mlp_act.0": "int8", "head_out.1": "float32", "pooled.mean": "int8"}
"""One in each dtype, beside the float16 of the lake."""


@pytest.fixture(scope="module")
def lake(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Lake:
    root = tmp_path_factory.mktemp("zarr") / "lake"
    lake = Lake.open(shutil.copytree(dictionary_lake, root))
    encode(lake, dictionary="d")
    ingest_documents(lake, corpus="c")
    for site, dtype in SITES.items():
        extract(
            lake, source=str(tiny("llama")), sites=[site], corpus="c", dtype=dtype, torch_threads=1
        )
    return lake


def by_zarr(folder: Path) -> Array:
    return np.asarray(zarr.open_array(store=folder, mode="r")[:])


def by_tensorstore(folder: Path) -> Array:
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


READERS = (by_zarr, by_tensorstore)


def arrays(lake: Lake) -> dict[str, Path]:
    """Every folder that holds an array, by its path in the lake."""
    found = {}
    for file in lake.root.rglob("zarr.json"):
        if '"node_type": "array"' in file.read_text():
            found[file.parent.relative_to(lake.root).as_posix()] = file.parent
    return found


def test_every_array__is_the_same_to_all_readers(lake: Lake) -> None:
    found = arrays(lake)
    # Nothing but arrays, and what says how they belong together, is in these folders.
    for kind in ("tensors", "codes", "rowsets"):
        files = [p for p in (lake.root / kind).rglob("*") if p.is_file() and p.name[0] != "z"]
        assert files
        assert {p.parent for p in files} <= {*found.values()}
    read = {}
    for place, folder in found.items():
        one, other = (reader(folder) for reader in READERS)
        assert one.dtype == other.dtype, place
        assert one.shape == other.shape, place
        assert one.tobytes() == other.tobytes(), place
        read[place] = one
    types = {values.dtype.name for values in read.values()}
    assert types >= {"float16", "bfloat16", "float32", "int8", "int64", "uint16", "uint32", "bool"}

    # And what they hold is what the lake's own reader says.
    names = lake.table("tensors").collect()
    assert sorted(names["dtype"]) == ["bfloat16", "float16", "float32", "int8", "int8"]
    for name in names["tensor"]:
        tensor = lake.tensor(name)
        place = f"tensors/{tensor.id}"
        if tensor.stored_dtype == "int8":
            whole = read.pop(f"{place}/rows") * read.pop(f"{place}/scale")[:, None]
            assert np.array_equal(whole, tensor[:])
        else:
            assert read.pop(place).tobytes() == tensor[:].tobytes()
    [codes] = lake.table("codes").collect()["codes"]
    of_codes = lake.codes(codes)
    for shard in range(len(of_codes.grid)):
        block = of_codes.shard(shard)
        for part in ("indptr", "indices", "values"):
            values = read.pop(f"codes/{of_codes.id}/{shard}/{part}")
            assert np.array_equal(values, getattr(block, part)), (shard, part)
    for name in lake.table("rowsets").collect()["rowset"]:
        rowset = lake.rowset(name)
        for place in [one for one in read if one.startswith(f"rowsets/{rowset.id}/")]:
            assert np.array_equal(read.pop(place), rowset.column(Path(place).name)), place
    assert not read


@pytest.mark.parametrize("reader", READERS)
def test_every_array__is_verified_by_all_readers(
    lake: Lake, reader: Callable[[Path], Array], tmp_path: Path
) -> None:
    """One bit of a file of each, and it is refused."""
    shutil.copytree(lake.root, tmp_path / "lake")
    for place in arrays(lake):
        folder = tmp_path / "lake" / place
        chunk = sorted(folder.glob("c*"))[-1]
        whole = chunk.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 4
        chunk.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"(?i)crc32c|checksum|DATA_LOSS|FAILED_PRECONDITION"):
            reader(folder)
        chunk.write_bytes(whole)
        reader(folder)
