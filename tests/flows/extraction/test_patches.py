"""Sites of models that see images, against hidden states and weights."""

from typing import Any

import numpy as np
import pytest
import torch

from actlake.flows.extraction.architectures import stacks
from actlake.flows.extraction.patches import capture_patches
from actlake.flows.extraction.sites import canonical_sites, find_point, is_pooled
from actlake.storage.errors import InputError, ModelError
from tests.flows.extraction.conftest import random_model
from tests.flows.extraction.steps import Rows, apply, steps

LAYERS = 3
TOKENS = 1 + 4
"""The class token, and patches of 4 pixels of an image of 8; registers come between."""
VISION = ["vit", "dinov2", "dinov2_swiglu", "dinov2_with_registers", "clip_vision_model"]
PIXELS = np.random.default_rng(0).normal(size=(5, 3, 8, 8)).astype(np.float32)


def worst(found: Rows, right: Rows) -> float:
    """The largest relative L2 distance of a token."""
    gap = np.linalg.norm(found.astype(np.float64) - right, axis=-1)
    return float((gap / np.linalg.norm(right.astype(np.float64), axis=-1)).max())


@pytest.mark.parametrize("architecture", VISION)
def test_every_site__is_the_models_own(architecture: str) -> None:
    model: Any = random_model(architecture)
    sites = [site for site in canonical_sites(model) if not is_pooled(site)]
    rows = capture_patches(model, sites, PIXELS, images_at_once=2)
    assert len(rows) == 1 + LAYERS * 8
    tokens = TOKENS + getattr(model.config, "num_register_tokens", 0)
    assert {array.shape[:2] for array in rows.values()} == {(5, tokens)}

    with torch.no_grad():
        output = model(torch.from_numpy(PIXELS), output_hidden_states=True)
    states = [state.numpy() for state in output.hidden_states]
    assert worst(rows["embed"], states[0]) <= 1e-5
    for layer in range(LAYERS):
        assert worst(rows[f"resid_pre.{layer}"], states[layer]) <= 1e-5
        assert worst(rows[f"resid_post.{layer}"], states[layer + 1]) <= 1e-5

    (stack,) = stacks(model.config)
    for layer, block in enumerate(model.get_submodule(stack.path)):
        of_block = {name: rows[f"{name}.{layer}"] for name in stack.sites}
        right = steps(block, of_block, model.config)
        for site, expected in right.items():
            assert worst(of_block[site], expected) <= 1e-5, (layer, site)
        assert set(right) | {"resid_pre", "head_out"} == set(of_block)
    if architecture == "vit":  # where it stands before the norm is another place
        assert worst(apply(model.layernorm, states[-1]), output.last_hidden_state.numpy()) <= 1e-5


def test_batches__keep_the_order_of_images() -> None:
    model = random_model("vit")
    one, all_ = (
        capture_patches(model, ["resid_post.1"], PIXELS, images_at_once=count)["resid_post.1"]
        for count in (1, 5)
    )
    assert worst(one, all_) <= 1e-5


def test_what_sees_no_images_and_what_is_none__are_refused() -> None:
    with pytest.raises(ModelError, match="llama is none of those that see images; choose one of"):
        capture_patches(random_model("llama"), ["embed"], PIXELS, images_at_once=1)
    model = random_model("vit")
    with pytest.raises(InputError, match=r"pixels of shape \(3, 8, 8\)"):
        capture_patches(model, ["embed"], PIXELS[0], images_at_once=1)
    with pytest.raises(InputError, match="0 images at once"):
        capture_patches(model, ["embed"], PIXELS, images_at_once=0)
    with pytest.raises(ModelError, match=r"did you mean resid_post.1"):
        find_point(model, "resid_pots.1")
    site = "embeddings.patch_embeddings.projection:output"
    with pytest.raises(ModelError, match=r"gives shape .* for images"):
        capture_patches(model, [site], PIXELS, images_at_once=5)
