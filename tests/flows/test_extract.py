"""extract through the lake: stored rows are the model's rows, whatever dtype, window or packing."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from actlake.flows.extract import extract
from actlake.flows.extraction import models
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.runners import Inline, Runner, Threads
from actlake.flows.sources import Source
from actlake.storage.lake import Lake
from tests.flows.references import (
    BLOCKS,
    all_texts,
    llama_taps,
    reference,
    steps_apart,
    windows,
    worst,
)

CASES = {
    "llama": ("llama", "document", 0),
    "llama, overlap": ("llama", "document", 7),
    "llama, packed": ("llama", "packed", 5),
    "gpt2, overlap": ("gpt2", "document", 3),
    "bert": ("bert", "document", 0),
    "bert, packed": ("bert", "packed", 0),
}


@pytest.mark.parametrize("case", CASES)
def test_stored_rows__are_the_models_rows(
    case: str, tiny: Callable[[str], Path], documents: Path, tmp_path: Path
) -> None:
    architecture, windowing, overlap = CASES[case]
    folder = tiny(architecture)
    lake = Lake.create(tmp_path / "lake")
    ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
    rowset = ingest_tokens(
        lake, corpus="c", source=str(folder), overlap=overlap, windowing=windowing
    )
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    blocks, taps = BLOCKS[architecture]
    layers = (0, 2)
    seen = windows(tokenizer, all_texts(lake), 32, overlap, packed=windowing == "packed")
    right = reference(model, blocks(model), taps, layers, seen)
    # One full block is enough: every site is a file a shard.
    sites = [site for site in right if site.endswith(".2")]
    sites = sites if case == "llama, overlap" else ["embed", "mlp_act.0", "resid_post.2"]

    names = extract(
        lake, source=str(folder), sites=sites, corpus="c", dtype="float32", torch_threads=1
    )

    rows = lake.rowset(rowset).rows
    for name, site in zip(names, sites, strict=True):
        tensor = lake.tensor(name)
        assert (tensor.site, tensor.shape) == (site, right[site].shape)
        assert len(tensor) == rows
        assert worst(tensor[:], right[site]) <= 1e-5, site
    if case == "llama, overlap":
        stored = {site: lake.tensor(name)[:] for name, site in zip(names, sites, strict=True)}
        total = stored["resid_pre.2"] + stored["attn_out.2"] + stored["mlp_out.2"]
        assert worst(total, stored["resid_post.2"]) <= 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stored_rows__are_within_one_ulp_in_half_precision(
    dtype: str, lake: Lake, tiny: Callable[[str], Path]
) -> None:
    folder = str(tiny("llama"))
    sites = ["resid_post.2", "mlp_act.0"]
    names = extract(lake, source=folder, sites=sites, corpus="c", dtype=dtype, torch_threads=1)
    model = AutoModel.from_pretrained(folder).eval()
    seen = windows(AutoTokenizer.from_pretrained(folder), all_texts(lake), 32, 0, packed=False)
    right = reference(model, model.layers, llama_taps, (0, 2), seen)
    for name, site in zip(names, sites, strict=True):
        stored = lake.tensor(name)[:]
        assert stored.dtype.name == dtype
        apart = steps_apart(stored, right[site].astype(stored.dtype))
        assert (apart <= 1).mean() >= 0.99
        assert apart.max() <= 4


def test_rows__hold_every_token_of_the_corpus_once(lake: Lake, tiny: Callable[[str], Path]) -> None:
    """No wrap-around, no dropped last batch, no token twice (SAELens, Activault, Delphi)."""
    folder = tiny("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    contents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in all_texts(lake)]
    [name] = extract(lake, source=str(folder), sites=["resid_post.0"], corpus="c", torch_threads=1)
    rowset = lake.tensor(name).rowset

    content = ~rowset.column("is_special")
    assert content.sum() == sum(map(len, contents))
    assert rowset.column("token_id")[content].tolist() == [t for ids in contents for t in ids]
    places = [*zip(rowset.column("document"), rowset.column("position"), strict=True)]
    assert len(set(places)) == len(places) == len(lake.tensor(name))
    assert np.isfinite(lake.tensor(name)[:].astype(np.float32)).all()
    shards = lake.sql(
        "SELECT sum(row_stop - row_start), max(row_stop) FROM shards WHERE owner = $id",
        id=lake.tensor(name).id,
    ).rows()
    assert shards == [(len(places), len(places))]


def test_names__follow_the_sites_asked_for(lake: Lake, tiny: Callable[[str], Path]) -> None:
    """Pooled sites are computed last, and were once returned last too."""
    ingest_documents(lake, corpus="c")
    sites = ["pooled.mean", "resid_post.1", "pooled.cls", "resid_post.1"]
    names = extract(lake, source=str(tiny("bert")), sites=sites[:1], corpus="c", torch_threads=1)
    ingest_tokens(lake, corpus="c", source=str(tiny("bert")))
    names = extract(lake, source=str(tiny("bert")), sites=sites, corpus="c", torch_threads=1)
    assert names == [f"tiny-bert:{site}@c" for site in sites]
    assert [lake.tensor(name).site for name in names] == sites


def test_pooled_rows__are_those_of_the_documents(lake: Lake, tiny: Callable[[str], Path]) -> None:
    folder = tiny("bert")
    ingest_documents(lake, corpus="c")
    sites = ["pooled.mean", "pooled.max", "pooled.cls", "pooled.last"]
    names = extract(
        lake, source=str(folder), sites=sites, corpus="c", dtype="float32", torch_threads=1
    )
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = all_texts(lake)
    found = {site: lake.tensor(name) for name, site in zip(names, sites, strict=True)}
    assert len(found["pooled.mean"]) == len(texts)
    for document, text in enumerate(texts):
        hidden = []
        for ids, _ in windows(tokenizer, [text], 32, 0, packed=False):
            with torch.no_grad():
                hidden.append(model.eval()(torch.tensor([ids])).last_hidden_state[0].numpy())
        content = np.concatenate([window[1:-1] for window in hidden])
        right = {
            "pooled.mean": content.mean(axis=0),
            "pooled.max": content.max(axis=0),
            "pooled.cls": hidden[0][0],
            "pooled.last": content[-1],
        }
        for site, row in right.items():
            assert worst(found[site][document : document + 1], row[None]) <= 1e-5, site


@pytest.mark.parametrize("runner", [Inline, Threads])
def test_extract__holds_no_model_when_it_is_done(
    runner: type[Runner],
    tiny: Callable[[str], Path],
    lake: Lake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[weakref.ref[torch.nn.Module]] = []
    load = models.load_model

    def remember(*facts: Any, **options: Any) -> models.LoadedModel:
        found = load(*facts, **options)
        loaded.append(weakref.ref(found.module))
        return found

    monkeypatch.setattr(models, "load_model", remember)
    gc.collect()
    gc.disable()  # it takes a fifth of a second, which a small run would notice
    try:
        extract(
            lake, source=str(tiny("llama")), sites=["resid_post.1"], corpus="c", runner=runner()
        )
        assert [one() for one in loaded] == [None]
    finally:
        gc.enable()
