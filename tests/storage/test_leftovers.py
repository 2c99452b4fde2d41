"""What killed runs left inside what the lake names, and nobody goes on with."""

import shutil
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from actlake.storage import Document, Lake
from actlake.storage.codes_writer import commit_codes, plan_codes, publish_codes
from actlake.storage.csr import csr_from_dense
from actlake.storage.dictionary_files import write_dictionary
from actlake.storage.durable import digest
from actlake.storage.errors import CorruptError
from tests.storage.conftest import FEATURES, codes_plan
from tests.storage.test_retention import HOUR, damaged, removed


def test_remove__takes_shards_that_no_commit_took_in(fresh: Lake) -> None:
    """Of what is not complete: who published them was killed, and nobody does it again."""
    fresh.create_corpus("c", [Document(str(n), "text") for n in range(20)])
    fresh.create_rowset("r", corpus="c", columns={"document": np.arange(20)}, width_hint=1 << 23)
    rowset = fresh.rowset("r")
    values = np.zeros((20, FEATURES), np.float32)
    with fresh.run("test", {"planned": True}, {}) as run:
        plan = codes_plan("d@c", rowset)
        codes = run.root / "codes" / plan_codes(run, plan)
        block = csr_from_dense(values[: rowset.shard_rows])
        commit_codes(run, [publish_codes(run, plan, codes.name, 0, block)], "one")
        publish_codes(run, plan, codes.name, 1, block)
    kept = []
    for dtype in ("float32", "int8"):
        options: dict[str, Any] = {"rowset": "r", "width": FEATURES, "dtype": dtype}
        with suppress(KeyboardInterrupt), fresh.create_tensor(f"t:{dtype}", **options) as writer:
            writer.append(values[: rowset.shard_rows])
            raise KeyboardInterrupt
        kept.append(fresh.root / "tensors" / fresh.tensor(f"t:{dtype}").id)
    folder = kept[0]
    chunks = [one for place in (codes / "0", *kept) for one in place.rglob("c.*")]
    orphans = [codes / "1"]
    for whole in (folder / "c.0.0", kept[1] / "rows" / "c.0.0", kept[1] / "scale" / "c.0"):
        orphans.append(whole.with_name(whole.name.replace("c.0", "c.1")))
        shutil.copy(whole, orphans[-1])
    fresh._claims.record_files({f"codes/{codes.name}/1/values/zarr.json": digest(folder / "c.0.0")})
    assert removed(fresh, HOUR) == []
    assert sorted(fresh.root / one.path for one in removed(fresh)) == sorted(orphans)
    assert not any(one.exists() for one in orphans)
    assert not any(path.startswith(f"codes/{codes.name}/1/") for path in fresh._claims.files())
    assert damaged(fresh) == []
    for file in (fresh.root / "tables/main/shards").glob("*.parquet"):  # which tell what stays
        content = file.read_bytes()
        file.write_bytes(content[:9] + bytes([content[9] ^ 1]) + content[10:])
    with pytest.raises(CorruptError, match=r"\(table shards\) is not what was committed"):
        removed(fresh)
    assert all(one.exists() for one in chunks)


def test_remove__takes_the_checkpoint_of_a_dictionary_that_is_there(fresh: Lake) -> None:
    """Who trained it was killed in between, and the same training is not started again."""
    with fresh.run("train", {"dictionary": "d"}, {}) as run:
        killed = run.root / "checkpoints" / f"{run.key}.safetensors"
        killed.parent.mkdir(exist_ok=True)
        killed.write_text("left")
    assert removed(fresh) == []
    with fresh.run("test", {}, {}) as run:
        dictionary: dict[str, Any] = {"name": "d", "method": "topk", "tensor": "t", "width": 2}
        arrays = {"decoder": np.ones((2, 2), np.float32)}
        facts: dict[str, Any] = {"n_features": 2, "config": {}, "fingerprint": "d", "tables": {}}
        write_dictionary(run, arrays=arrays, **dictionary, **facts)
    assert removed(fresh, HOUR) == []
    assert [fresh.root / one.path for one in removed(fresh)] == [killed]
    assert not killed.exists()
