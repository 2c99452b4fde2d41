"""Encoder-decoders that no site table knows, by module path; t5, which one knows, is in capture."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers.models.bart.modeling_bart import shift_tokens_right

from actlake.flows.extraction.capture import capture, pool
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.flows.extraction.skeletons import sites_of
from actlake.storage.errors import InputError, ModelError
from tests.flows.extraction.test_capture import (
    LAYERS,
    ModelMaker,
    TokenizerMaker,
    windows_of_corpus,
    worst,
)

SITES = {
    side: [f"{side}.layers.{layer}:output" for layer in range(LAYERS)]
    for side in ("encoder", "decoder")
}


def test_rows__are_the_models_own(tiny_model: ModelMaker, make_tokenizer: TokenizerMaker) -> None:
    folder = str(tiny_model("bart"))
    names = [*SITES["encoder"], *SITES["decoder"]]
    sites, attention = sites_of(inspect_model(folder), names, "auto")
    assert [(site.width, site.layer) for site in sites] == [(16, None)] * len(names)
    assert attention == "sdpa"
    loaded = replace(load_model(folder), tokenizer=make_tokenizer(1, 1))
    windows, rows = windows_of_corpus(loaded)
    found = capture(loaded, names, windows, row_start=0, row_stop=rows, token_budget=40)
    model: Any = loaded.module
    states: dict[str, list[list[NDArray[np.float32]]]] = {side: [] for side in SITES}
    for window in windows:
        ids = torch.from_numpy(window.token_ids)[None]
        before = shift_tokens_right(ids, 0, model.config.decoder_start_token_id)
        with torch.no_grad():
            output = model(input_ids=ids, decoder_input_ids=before, output_hidden_states=True)
        for side, parts in states.items():
            kept = [one[0].numpy()[window.kept] for one in output[f"{side}_hidden_states"]]
            parts.append(kept)
    for side, parts in states.items():
        right = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
        for layer, name in enumerate(SITES[side]):
            assert worst(found[name], right[layer + 1]) <= 1e-5, name
    assert worst(found[SITES["decoder"][0]], found[SITES["encoder"][0]]) > 1e-2
    # Pooled rows are of the side that reads the text.
    mean = pool(loaded, [[windows[0]]], ["pooled.mean"], token_budget=40)["pooled.mean"]
    content = states["encoder"][0][-1][~windows[0].is_special]
    assert worst(mean, content.mean(axis=0)[None]) <= 1e-5


def test_model_that_looks_into_its_tensors__is_resolved_with_random_weights(
    tiny_model: ModelMaker,
) -> None:
    """Its tokens go to experts, which have no shape before they are chosen."""
    facts = inspect_model(str(tiny_model("switch_transformers")))
    [site], attention = sites_of(facts, ["decoder.block.1:output"], "auto")
    assert (site.module, site.width, attention) == ("decoder.block.1", 16, "eager")
    torch.manual_seed(7)
    right = torch.rand(1)
    torch.manual_seed(7)
    sites_of(facts, ["decoder.block.1:output"], "auto")
    assert torch.rand(1) == right  # nobody else's numbers change


def test_model_that_hears__is_refused(tiny_model: Callable[[str], Path]) -> None:
    facts = inspect_model(str(tiny_model("whisper")))
    with pytest.raises(ModelError, match=r"\(whisper\) does not run on tokens alone: "):
        sites_of(facts, ["encoder.layers.0:output"], "auto")


def test_model_that_lengthens_its_windows__is_refused(tiny_model: ModelMaker) -> None:
    """It needs the token that pads, which it does not have on the meta device."""
    facts = inspect_model(str(tiny_model("led")))
    with pytest.raises(ModelError, match=r"gives shape \(2, 4, 16\) for .*; choose a module with"):
        sites_of(facts, ["encoder.layers.0:output"], "auto")


def test_columns_that_do_not_rise__are_told_as_such(tiny_model: ModelMaker) -> None:
    facts = inspect_model(str(tiny_model("bart")))
    with pytest.raises(InputError, match=r"do not rise; give each once, the smallest first$"):
        sites_of(facts, ["encoder.layers.0:output[5,5]"], "auto")


def test_model_too_large_to_be_built__is_refused(
    tiny_model: ModelMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = inspect_model(str(tiny_model("switch_transformers")))
    monkeypatch.setattr(os, "sysconf", lambda _: 64)
    with pytest.raises(ModelError, match="more than half of the memory here; use a larger"):
        sites_of(facts, ["decoder.block.1:output"], "auto")
