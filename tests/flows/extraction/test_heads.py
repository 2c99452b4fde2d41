"""head_out where the output matrix is too wide to determine it: weights of attention times values.

The maps are the model's own, the values those that hooks of this test take.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actlake.flows.extraction.capture import capture
from actlake.flows.extraction.forward import text_inputs
from actlake.flows.extraction.models import load_model
from tests.flows.extraction.test_attention import windows
from tests.flows.extraction.test_capture import LAYERS, LLAMAS, worst

LENGTHS = (11, 3, 8, 1)
T5 = {
    "head_out": ("encoder.block.{}.layer.0.SelfAttention.v", "encoder_attentions"),
    "decoder.head_out": ("decoder.block.{}.layer.0.SelfAttention.v", "decoder_attentions"),
    "decoder.cross_head_out": ("decoder.block.{}.layer.1.EncDecAttention.v", "cross_attentions"),
}
LLAMA = {"head_out": ("layers.{}.self_attn.v_proj", "attentions")}
PLACES = dict.fromkeys(LLAMAS, LLAMA) | {"t5": T5, "t5_gated": T5}
"""Of each architecture its sites, where their values are made, and what its maps are called."""


def heads(maps: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs of all heads side by side, of maps (heads, queries, keys), one head at a time."""
    width = 8
    shared = len(maps) // (values.shape[1] // width)  # heads that share their keys and values
    parts = []
    for head, weights in enumerate(maps):
        first = head // shared * width
        parts.append(weights @ values[:, first : first + width])
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("architecture", PLACES)
def test_head_out__is_what_each_head_sees(
    architecture: str, tiny_model: Callable[[str], Path]
) -> None:
    places = PLACES[architecture]
    sites = [f"{site}.{layer}" for site in places for layer in range(LAYERS)]
    loaded = load_model(str(tiny_model(architecture)), attention="eager")
    seen, rows = windows(LENGTHS), sum(LENGTHS)
    # A window at a time: t5 does not scale what is inside a softmax, so that weights which are
    # eight times what models have make 1e-7 into 1e-4.
    found = capture(loaded, sites, seen, row_start=0, row_stop=rows, token_budget=1)

    model: Any = loaded.module
    taken: dict[str, NDArray[np.float32]] = {}

    def keep(site: str) -> Callable[..., None]:
        return lambda _module, _args, output: taken.update({site: output[0].numpy()})

    for site, (path, _) in places.items():
        for layer in range(LAYERS):
            module = model.get_submodule(path.format(layer))
            module.register_forward_hook(keep(f"{site}.{layer}"))
    right: dict[str, list[NDArray[np.float32]]] = {site: [] for site in sites}
    for window in seen:
        with torch.no_grad():
            ids = torch.from_numpy(window.token_ids)[None]
            output = model(**text_inputs(model, ids), output_attentions=True)
        for site, (_, maps) in places.items():
            for layer in range(LAYERS):
                name = f"{site}.{layer}"
                right[name].append(heads(output[maps][layer][0].numpy(), taken[name]))
    for site in sites:
        expected = np.concatenate(right[site])
        assert expected.shape == (rows, 32)
        assert worst(found[site], expected) <= 1e-5, site
    assert loaded.facts.width == 16 < 32  # so that its output matrix says nothing of many inputs
