"""extract --plan: what it says is what extract then writes, and it writes nothing itself."""

import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.flows.extract import extract
from actlake.flows.extract_plan import forecast
from actlake.flows.extraction import capture
from actlake.flows.extraction.forward import forward
from actlake.flows.extraction.kept_rows import KeptRows
from actlake.flows.ingest import ingest_documents
from actlake.storage.errors import InputError, NameTakenError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli
from tests.flows.tiny import hashes

SITES = ["resid_post.1", "mlp_act.0", "pooled.mean"]


def asked(model: Path, **more: object) -> dict[str, Any]:
    nothing = dict.fromkeys(("model", "revision", "window", "rowset", "rows", "random_weights"))
    given = {"source": str(model), "sites": SITES, "corpus": "c", "dtype": "bfloat16"}
    fixed = {"compute_dtype": "float32", "attention": "auto", "device": "cpu"}
    return {**nothing, **given, **fixed, "trust_remote_code": False, **more}


@pytest.mark.slow
def test_forecast__is_what_is_then_written(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_documents(lake, corpus="c")
    model = tiny("llama")
    given = asked(model)
    before = hashes(lake.root), lake.sql("SELECT count(*) FROM runs").rows()

    found = forecast(lake, price=0.5, token_budget=64, **given)
    assert (hashes(lake.root), lake.sql("SELECT count(*) FROM runs").rows()) == before

    passes: list[Any] = []

    def counted(*given: Any) -> Any:
        passes.append(given)
        return forward(*given)

    monkeypatch.setattr(capture, "forward", counted)
    names = extract(lake, **given, token_budget=64)
    assert found.tensors["tensor"].to_pylist() == names
    written = 0
    for row, name in zip(found.tensors.to_pylist(), names, strict=True):
        tensor = lake.tensor(name)
        chunks = [file for file in tensor.folder.iterdir() if file.name.startswith("c.")]
        assert row["bytes"] == sum(file.stat().st_size for file in chunks)
        assert (row["rows"], row["width"], row["shards"]) == (*tensor.shape, len(chunks))
        assert row["bytes_per_row"] == tensor.width * 2
        written += row["bytes"]
    assert found.bytes == written
    assert found.euros_a_month == pytest.approx(written / 1e9 * 0.5)
    tokens, documents = found.passes
    of_tokens = [a for a in passes if a[2]]
    assert tokens.sampled == (len(lake.tensor(names[0]).grid) > 8)
    assert tokens.passes == pytest.approx(len(of_tokens), rel=0.25)
    assert documents.passes <= len(passes) - len(of_tokens)
    assert tokens.token_budget == documents.token_budget == 64
    masks = [a[1]["attention_mask"].numpy() for a in of_tokens]
    share = 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)
    assert tokens.padding == pytest.approx(share, abs=0.1)

    again = forecast(lake, price=0.5, **given)
    assert (again.bytes, again.passes) == (0, ())
    assert np.sum(again.tensors["rows"].to_numpy()) == 0
    with pytest.raises(NameTakenError, match="is taken"):
        forecast(lake, price=0.5, **asked(model, dtype="float32"))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_forecast__tells_how_much_memory_activations_take(
    dtype: str, lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asked(tiny("llama"), sites=["resid_post.1", "mlp_act.0[0:8]"], dtype=dtype)
    live, most = 0, 0
    array = KeptRows.array

    def counted(rows: KeptRows) -> NDArray[np.floating[Any]]:
        nonlocal live, most
        found = array(rows)
        live += found.nbytes
        most = max(most, live)
        weakref.finalize(found, freed, found.nbytes)
        return found

    def freed(size: int) -> None:
        nonlocal live
        live -= size

    monkeypatch.setattr(KeptRows, "array", counted)
    [passes] = forecast(lake, price=0, **given).passes

    extract(lake, **given)

    size = np.dtype(dtype).itemsize * (16 + 8)
    assert passes.held_bytes == 2 * lake.rowset(passes.rowset).shard_rows * size
    assert passes.held_bytes / 2 <= most <= passes.held_bytes
    assert live == 0


def test_command__prints_it_and_writes_nothing(
    cli: Cli, ingested_lake: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    lake = Path(shutil.copytree(ingested_lake, tmp_path / "lake"))
    before = hashes(lake)
    line = ("extract", tiny("llama"), "--corpus", "c", "--site", "resid_post.1", "--plan")
    told = cli(lake, *line, "--price", "1e6")
    assert told.exit_code == 0, told.output
    assert "tiny-llama:resid_post.1@c" in told.output
    assert "forward passes of at most 2,048 tokens over c@tiny-llama" in told.output
    rows = Lake.open(lake).rowset("c@tiny-llama")
    size = len(rows.grid) * (rows.shard_rows * 16 * 2 + 4)
    assert f"{size:,} bytes, {size / 1e3:,.2f} euros a month at 1e+06 euros a GB" in told.output
    assert hashes(lake) == before
    assert Lake.open(lake).sql("SELECT count(*) FROM tensors").rows() == [(0,)]


def test_price__is_a_number_of_euros(lake: Lake, tiny: Callable[[str], Path]) -> None:
    for price in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="euros a gigabyte and month is none"):
            forecast(lake, price=price, **asked(tiny("llama")))
