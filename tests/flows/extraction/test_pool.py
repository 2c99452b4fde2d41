from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from actlake.flows.extraction.architectures import ARCHITECTURES, IMAGES
from actlake.flows.extraction.capture import pool
from actlake.flows.extraction.models import LoadedModel, load_model
from actlake.flows.extraction.sites import POOLED
from actlake.flows.extraction.tokens import tokenize_documents
from actlake.flows.extraction.windows import Window, windows_of_document
from actlake.storage.errors import InputError

TEXTS = [one for one in ARCHITECTURES if one not in IMAGES]
LENGTHS = (3, 10, 1, 25, 41)  # content tokens; a window of 12 has room for 10


@pytest.fixture
def load(
    tiny_model: Callable[[str], Path],
    make_tokenizer: Callable[[int, int], PreTrainedTokenizerBase],
) -> Callable[[str], LoadedModel]:
    return lambda architecture: replace(
        load_model(str(tiny_model(architecture))), tokenizer=make_tokenizer(1, 1)
    )


def documents_of(loaded: LoadedModel) -> list[list[Window]]:
    rng = np.random.default_rng(1)
    texts = [" ".join(f"w{i}" for i in rng.integers(0, 20, length)) for length in LENGTHS]
    rows = tokenize_documents(loaded.tokenizer, texts, window=12, overlap=3)
    documents = [windows_of_document(document) for document in rows]
    # Batches go by length: a short window before a long one must not count as the last.
    return [*documents, documents[2] + documents[1]]


@pytest.mark.parametrize(
    "architecture", [*TEXTS, "gpt_neox_sequential", "opt_post_norm", "t5_gated"]
)
@pytest.mark.parametrize("token_budget", [1, 40, 1000])
def test_pool__is_over_the_content_of_all_windows(
    load: Callable[[str], LoadedModel], architecture: str, token_budget: int
) -> None:
    loaded = load(architecture)
    documents = documents_of(loaded)
    model: Any = loaded.module
    model = (
        model.encoder if model.config.is_encoder_decoder else model
    )  # the side that reads the text

    pooled = pool(loaded, documents, list(POOLED), token_budget=token_budget)

    for i, windows in enumerate(documents):
        rows = []
        for window in windows:
            with torch.no_grad():
                output = model(input_ids=torch.from_numpy(window.token_ids)[None])
            rows.append(output.last_hidden_state[0].numpy()[window.kept])
        every = np.concatenate(rows).astype(np.float64)
        content = every[~np.concatenate([window.is_special for window in windows])]
        assert len(content) == [*LENGTHS, 11][i]
        right = {
            "pooled.mean": content.mean(axis=0),
            "pooled.max": content.max(axis=0),
            "pooled.last": content[-1],
            "pooled.cls": every[0],
        }
        for site, vector in right.items():
            np.testing.assert_allclose(pooled[site][i], vector, rtol=1e-4, atol=1e-5, err_msg=site)
            assert pooled[site].dtype == np.float32


def test_pool__gives_the_sites_asked_for_with_the_same_bits(
    load: Callable[[str], LoadedModel],
) -> None:
    loaded = load("llama")
    documents = documents_of(loaded)
    first, again = (pool(loaded, documents, ["pooled.max"], token_budget=40) for _ in range(2))
    assert list(first) == ["pooled.max"]
    assert first["pooled.max"].tobytes() == again["pooled.max"].tobytes()


def test_pool__needs_content_and_a_known_site(load: Callable[[str], LoadedModel]) -> None:
    loaded = load("llama")
    documents = documents_of(loaded)
    with pytest.raises(InputError, match="document 1 of those to pool has no content"):
        pool(loaded, [documents[0], []], ["pooled.mean"], token_budget=40)
    with pytest.raises(InputError, match=r"no pooled site mean; choose one of pooled\.mean"):
        pool(loaded, documents, ["mean"], token_budget=40)
