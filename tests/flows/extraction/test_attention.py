"""What is kept of attention is what the maps say that the model itself gives out."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import entropy

from actlake.flows.extraction.architectures import ARCHITECTURES, IMAGES
from actlake.flows.extraction.attention import STATISTICS, attention_statistic
from actlake.flows.extraction.capture import capture
from actlake.flows.extraction.models import LoadedModel, inspect_model, load_model
from actlake.flows.extraction.patches import capture_patches
from actlake.flows.extraction.sites import resolve_sites
from actlake.flows.extraction.skeletons import skeleton
from actlake.flows.extraction.windows import Window
from actlake.storage.errors import ModelError
from tests.flows.extraction.conftest import random_model

Maps = NDArray[np.float32]
TEXTS = [a for a in ARCHITECTURES if a not in IMAGES]
LENGTHS = (11, 3, 8, 1)
"""Tokens of windows that share a pass, so that three of them are padded."""


def planted(maps: Maps) -> dict[str, NDArray[np.float64]]:
    """The statistics of maps, (heads, queries, keys), in loops: (queries, heads)."""
    found = {name: np.zeros(maps.shape[1::-1]) for name in STATISTICS}
    for head, one in enumerate(maps.astype(np.float64)):
        for query, row in enumerate(one):
            found["entropy"][query, head] = entropy(row / row.sum())
            found["first"][query, head] = row[0]
            found["self"][query, head] = row[query]
            found["previous"][query, head] = row[query - 1] if query else 0
            found["max"][query, head] = row.max()
    return found


@pytest.fixture(scope="module")
def eager(tiny_model: Callable[[str], Path]) -> Callable[[str], LoadedModel]:
    return cache(lambda name: load_model(str(tiny_model(name)), attention="eager"))


def windows(lengths: tuple[int, ...]) -> list[Window]:
    rng = np.random.default_rng(0)
    starts = np.cumsum((0, *lengths))
    return [
        Window(
            int(start),
            int(start) + n,
            rng.integers(7, 27, n),
            np.arange(n),
            np.zeros(n, bool),
        )
        for start, n in zip(starts, lengths, strict=False)
    ]


def maps_of(model: Any, ids: NDArray[np.int64]) -> tuple[Any, Any]:
    """The model's own maps of one window alone, of each block: (1, heads, queries, keys)."""
    inputs = {"input_ids": torch.from_numpy(ids)[None]}
    if model.config.is_encoder_decoder:
        start = torch.tensor([[model.config.decoder_start_token_id]])
        inputs["decoder_input_ids"] = torch.cat([start, inputs["input_ids"][:, :-1]], 1)
    with torch.no_grad():
        out = model(**inputs, output_attentions=True)
    if model.config.is_encoder_decoder:
        return out.encoder_attentions, out.decoder_attentions
    return out.attentions, ()


@pytest.mark.parametrize("architecture", TEXTS)
def test_statistics__are_those_of_the_models_own_maps(
    eager: Callable[[str], LoadedModel], architecture: str
) -> None:
    loaded, seen = eager(architecture), windows(LENGTHS)
    prefixes = ["", "decoder."] if architecture == "t5" else [""]
    names = [f"attn_{name}.{layer}" for name in STATISTICS for layer in (0, 2)]
    sites = [prefix + name for prefix in prefixes for name in names]
    rows = sum(LENGTHS)
    found = capture(loaded, sites, seen, row_start=0, row_stop=rows, token_budget=64)
    for window in seen:
        for prefix, maps in zip(prefixes, maps_of(loaded.module, window.token_ids), strict=False):
            for layer in (0, 2):
                right = planted(maps[layer][0].numpy())
                for name, values in right.items():
                    stored = found[f"{prefix}attn_{name}.{layer}"][window.start : window.stop]
                    assert stored.shape == values.shape == (len(window.token_ids), 4)
                    assert np.abs(stored - values).max() < 2e-5, (name, layer)


@pytest.mark.parametrize("architecture", sorted(IMAGES))
def test_statistics__of_patches_are_those_of_the_models_own_maps(architecture: str) -> None:
    model: Any = random_model(architecture)
    model.set_attn_implementation("eager")
    sites = [f"attn_{name}.1" for name in STATISTICS]
    pixels = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    found = capture_patches(model, sites, pixels, images_at_once=2)
    with torch.no_grad():
        maps = model(torch.from_numpy(pixels), output_attentions=True).attentions[1].numpy()
    for image in range(3):
        for name, values in planted(maps[image]).items():
            assert np.abs(found[f"attn_{name}.1"][image] - values).max() < 2e-5, name


def test_planted_maps__have_known_statistics() -> None:
    identity, even = torch.eye(4), torch.full((4, 4), 0.25)
    shifted = torch.roll(torch.eye(4), -1, 1)  # each looks at the one before, the first at the last
    output = (torch.zeros(1), torch.stack([identity, even, shifted])[None].to(torch.float16))
    found = {name: attention_statistic(name, output) for name in STATISTICS}
    ln4 = float(np.log(4))
    expected = {
        "entropy": [[0, ln4, 0]] * 4,
        "first": [[1, 0.25, 0], [0, 0.25, 1], [0, 0.25, 0], [0, 0.25, 0]],
        "self": [[1, 0.25, 0]] * 4,
        "previous": [[0, 0, 0], [0, 0.25, 1], [0, 0.25, 1], [0, 0.25, 1]],
        "max": [[1, 0.25, 1]] * 4,
    }
    for name, values in found.items():
        assert values is not None
        assert values.dtype == torch.float32
        assert torch.allclose(values[0], torch.tensor(expected[name])), name
    for other in (torch.zeros(1), (torch.zeros(1), None), (torch.zeros(1, 2, 3, 4),)):
        assert attention_statistic("max", other) is None


def test_sites__have_a_column_a_head_and_need_eager_attention(
    tiny_model: Callable[[str], Path],
) -> None:
    facts = inspect_model(str(tiny_model("llama")))
    [site, path] = resolve_sites(
        skeleton(facts, "eager"), ["attn_entropy.1", "layers.2.self_attn:max"]
    )
    assert (site.module, site.side) == ("layers.1.self_attn", "entropy")
    assert (site.layer, site.width) == (1, 4)
    assert (path.side, path.layer, path.width) == ("max", 2, 4)
    with pytest.raises(ModelError, match=r"site attn_self.0 is made of .* use --attention eager"):
        resolve_sites(skeleton(facts), ["attn_self.0"])
    with pytest.raises(ModelError, match="use --attention eager"):
        resolve_sites(skeleton(facts, "eager"), ["layers.2.mlp:max"])
    with pytest.raises(ModelError, match=r"no site entropy.1 in this llama model"):
        resolve_sites(skeleton(facts, "eager"), ["entropy.1"])
    with pytest.raises(ModelError, match="no such layer"):
        resolve_sites(skeleton(facts, "eager"), ["attn_max.3"])
