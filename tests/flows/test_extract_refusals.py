"""What extract refuses, and that a refusal leaves no trace and takes no name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake.flows.extract import extract
from actlake.flows.ingest import ingest, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage.errors import InputError, ModelError, NotFoundError, PrecisionError
from actlake.storage.lake import Lake
from tests.flows.tiny import save_model, state


def huge(tmp_path: Path) -> str:
    """A model whose activations overflow float16."""
    return str(save_model("llama", tmp_path / "huge-llama", scale=3000.0))


def test_overflow__leaves_the_lake_as_it_was(lake: Lake, tmp_path: Path) -> None:
    folder = huge(tmp_path)
    ingest_tokens(lake, corpus="c", source=folder)
    before = state(lake)
    options: dict[str, Any] = {"source": folder, "corpus": "c", "torch_threads": 1}
    with pytest.raises(PrecisionError, match=r"huge-llama:resid_post\.2@c.*bfloat16.*float32"):
        extract(lake, sites=["resid_post.2"], **options)
    assert state(lake) == before
    [name] = extract(lake, sites=["resid_post.2"], dtype="float32", **options)
    assert lake.tensor(name).sealed


def test_overflow__spares_tensors_that_are_complete(lake: Lake, tmp_path: Path) -> None:
    folder = huge(tmp_path)
    ingest_tokens(lake, corpus="c", source=folder)
    options: dict[str, Any] = {"source": folder, "corpus": "c", "torch_threads": 1}
    [done] = extract(lake, sites=["mlp_in.0"], **options)
    rows = lake.tensor(done)[:]
    with pytest.raises(PrecisionError):
        extract(lake, sites=["mlp_in.0", "resid_post.2"], **options)
    assert lake.tensor(done).sealed
    assert np.array_equal(lake.tensor(done)[:], rows)
    with pytest.raises(NotFoundError):
        lake.tensor("huge-llama:resid_post.2@c")
    assert [*lake.verify()] == []


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"compute_dtype": "float8"}, InputError, "no compute dtype 'float8'"),
    ({"device": "tpu"}, InputError, "no device 'tpu'"),
    ({"attention": "telepathy"}, ModelError, "telepathy"),
    ({"dtype": "int3"}, InputError, "int3"),
    ({"sites": ["resid_pots.1"]}, ModelError, r"did you mean resid_post\.1"),
    ({"sites": ["resid_post.9"]}, ModelError, r"resid_post\.0 to resid_post\.2"),
    ({"sites": []}, InputError, "no site"),
    ({"corpus": "d"}, NotFoundError, "actlake ingest"),
    ({"window": 16}, NotFoundError, "actlake ingest"),
    ({"sites": ["pooled.mean"]}, NotFoundError, "--documents"),
    ({"source": "/nowhere/model"}, ModelError, "/nowhere/model"),
]


def test_bad_input__leaves_no_trace_and_no_name_taken(
    lake: Lake, tiny: Callable[[str], Path]
) -> None:
    good: dict[str, Any] = {
        "source": str(tiny("llama")),
        "corpus": "c",
        "sites": ["resid_post.1"],
        "torch_threads": 1,
    }
    before = state(lake)
    for options, error, message in BAD:
        with pytest.raises(error, match=message):
            extract(lake, **{**good, **options})
    assert state(lake) == before


def test_rowset_of_another_corpus__is_refused(
    lake: Lake, tiny: Callable[[str], Path], documents: Path
) -> None:
    ingest(lake, corpus="d", source=Source(path=str(documents), id="id", where="year > 1905"))
    with pytest.raises(InputError, match="of the corpus c and not of d"):
        extract(
            lake,
            source=str(tiny("llama")),
            sites=["embed"],
            corpus="d",
            rowset="c@tiny-llama",
        )


def test_rowset_of_another_tokenizer__is_refused(
    lake: Lake, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    other = save_model("llama", tmp_path / "other" / "tiny-llama")
    config = other / "tokenizer.json"
    config.write_text(config.read_text("utf-8").replace('"w0"', '"v0"'), "utf-8")
    with pytest.raises(InputError, match="another tokenizer"):
        extract(lake, source=str(other), sites=["embed"], corpus="c")


def test_shards__record_what_they_were_computed_with(
    lake: Lake, tiny: Callable[[str], Path]
) -> None:
    [name] = extract(
        lake,
        source=str(tiny("llama")),
        sites=["resid_post.1"],
        corpus="c",
        token_budget=96,
        torch_threads=1,
    )
    tensor = lake.tensor(name)
    plans = lake.sql(
        "SELECT DISTINCT token_budget, torch_threads FROM shards WHERE owner = $id", id=tensor.id
    ).rows()
    assert plans == [(96, 1)]
    assert (tensor.attributes()["token_budget"], tensor.attributes()["torch_threads"]) == (96, 1)
    assert tensor.attributes()["module"] == "layers.1"
    model = lake.sql("SELECT model, architecture, layers, width FROM models").rows()
    assert model == [("tiny-llama", "llama", 3, 16)]
