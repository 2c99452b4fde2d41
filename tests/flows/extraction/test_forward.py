"""A pass ends where the last point is: what it gives are the bits of a whole one, and what comes
after does not run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actlake.flows.extraction.architectures import ARCHITECTURES
from actlake.flows.extraction.forward import forward, probe
from actlake.flows.extraction.patches import capture_patches
from actlake.flows.extraction.sites import canonical_sites, find_point, is_pooled
from actlake.storage.errors import ModelError
from tests.flows.extraction.conftest import random_model

OTHERS = {
    "bloom": ["h.1.mlp:output", "word_embeddings_layernorm:input", "h.2.self_attention:output"],
    "bart": ["encoder.layers.1:output", "decoder.layers.0.encoder_attn:output"],
}
"""In no table of aliases."""


@contextmanager
def events(model: nn.Module) -> Iterator[list[str]]:
    """What modules begin and end, in order."""
    seen: list[str] = []
    handles = []

    def note(event: str) -> Callable[..., None]:
        return lambda *_args: seen.append(event)

    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(note(f"{path}:input")))
        handles.append(module.register_forward_hook(note(f"{path}:output")))
    yield seen
    for handle in handles:
        handle.remove()


def passed(model: Any, sites: list[str], *, whole: bool) -> tuple[dict[str, Tensor], Tensor]:
    found: dict[str, Tensor] = {}
    points = {site: find_point(model, site) for site in sites}

    def keep(site: str, value: Tensor) -> None:
        found[site] = value.clone()

    with torch.inference_mode():
        last = forward(model, probe(model), points, keep, whole=whole)
    return found, last


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *OTHERS])
def test_pass__ends_at_its_last_point_with_the_same_bits(architecture: str) -> None:
    model: Any = random_model(architecture)
    model.config.use_cache = False
    sites = OTHERS.get(architecture) or [s for s in canonical_sites(model) if not is_pooled(s)]
    with events(model) as seen:
        right, hidden = passed(model, sites, whole=True)
        order = seen.copy()
        ends = {site: order.index(":".join(find_point(model, site))) + 1 for site in sites}
        for site, end in ends.items():
            seen.clear()
            found, last = passed(model, [site], whole=False)
            assert found[site].numpy().tobytes() == right[site].numpy().tobytes(), site
            assert last.shape == found[site].shape
            assert seen == order[:end], site
        two = sorted(sites, key=lambda site: ends[site])[:2]
        seen.clear()
        found, _ = passed(model, two[::-1], whole=False)
        assert all(torch.equal(found[site], right[site]) for site in two)
        assert len(seen) == ends[two[1]] < len(order)
        seen.clear()
        final = passed(model, [], whole=False)[1]  # of nothing: pooled rows are made of all
        assert seen == order
    assert torch.equal(final, hidden)
    assert not any(module._forward_hooks for module in model.modules())


def test_module_that_runs_twice__is_refused_where_it_is_seen() -> None:
    model: Any = random_model("llama")
    model.layers[1] = model.layers[0]
    with pytest.raises(ModelError, match=r"embed is computed 2 times .* that runs once"):
        passed(model, ["embed"], whole=True)
    # The end is not before the last point, so a pass that ends there sees it, too.
    with pytest.raises(ModelError, match=r"embed is computed 2 times"):
        passed(model, ["embed", "resid_post.2"], whole=False)


def test_patches__are_of_modules_that_run_once() -> None:
    model: Any = random_model("vit")
    pixels = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
    right = capture_patches(model, ["mlp_act.0"], pixels, images_at_once=3)["mlp_act.0"]
    with events(model) as seen:
        one = capture_patches(model, ["mlp_act.0"], pixels, images_at_once=1)["mlp_act.0"]
    assert np.allclose(one, right, rtol=1e-5, atol=1e-5)
    assert seen.count("layers.0:input") == 3
    assert seen.count("layers.1:input") == 1  # of the first pass, which is whole
    model.layers[1] = model.layers[0]
    with pytest.raises(ModelError, match=r"mlp_act.0 is computed 2 times"):
        capture_patches(model, ["mlp_act.0"], pixels, images_at_once=3)
