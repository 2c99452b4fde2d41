"""What one expert adds is what its weights say, for the tokens that the router sends to it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actlake.flows.extraction.capture import capture
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.flows.extraction.sites import resolve_site
from actlake.flows.extraction.skeletons import sites_of, skeleton
from actlake.storage.errors import ModelError
from tests.flows.extraction.steps import expert_shares
from tests.flows.extraction.test_attention import windows
from tests.flows.extraction.test_capture import EXPERTS, worst

LENGTHS = (11, 3, 8, 1)
COUNT = 4


@pytest.mark.parametrize("architecture", EXPERTS)
def test_each_expert__adds_what_its_weights_say(
    architecture: str, tiny_model: Callable[[str], Path]
) -> None:
    facts = inspect_model(str(tiny_model(architecture)))
    names = [f"expert{expert}_out.2" for expert in range(COUNT)]
    sites, _ = sites_of(facts, names, "auto")
    assert [(one.module, one.side, one.layer, one.width) for one in sites] == [
        ("layers.2.mlp.experts", f"expert{expert}", 2, 16) for expert in range(COUNT)
    ]
    loaded, rows = load_model(facts, last_layer=2), sum(LENGTHS)
    asked = [*names, "mlp_in.2", "expert_out.2"]
    found = capture(loaded, asked, windows(LENGTHS), row_start=0, row_stop=rows, token_budget=64)
    model: Any = loaded.module
    _, right = expert_shares(model.layers[2].mlp, found["mlp_in.2"], model.config)
    sent = np.zeros(rows, np.int64)
    for name, expected in zip(names, right, strict=True):
        goes = expected.any(1)
        assert worst(found[name][goes], expected[goes]) <= 1e-5, name
        assert not found[name][~goes].any()
        sent += goes
    assert (sent == 2).all()  # experts of each token
    assert worst(np.sum([found[name] for name in names], 0), found["expert_out.2"]) <= 1e-5
    one, some = "layers.2.mlp.experts:expert1", "expert1_out.2[3:16:4]"
    again = capture(
        loaded, [one, some], windows(LENGTHS), row_start=0, row_stop=rows, token_budget=64
    )
    assert again[one].tobytes() == found["expert1_out.2"].tobytes()
    assert np.array_equal(again[some], found["expert1_out.2"][:, 3::4])


def test_experts_that_are_not_there__are_refused(tiny_model: Callable[[str], Path]) -> None:
    mixed = skeleton(inspect_model(str(tiny_model("qwen2_moe"))))
    dense = skeleton(inspect_model(str(tiny_model("llama"))))
    with pytest.raises(ModelError, match=r"expert4_out.0 has no expert 4; choose 0 to 3$"):
        resolve_site(mixed, "expert4_out.0")
    with pytest.raises(ModelError, match=r"no site expert0_out.1 in this qwen2_moe model; "):
        resolve_site(mixed, "expert0_out.1")  # a dense block
    for model, site in (
        (mixed, "expert01_out.0"),
        (mixed, "expert_1_out.0"),
        (dense, "expert1_out.0"),
    ):
        with pytest.raises(ModelError, match=f"no site {site} in this"):
            resolve_site(model, site)
    for site in ("layers.0.mlp:expert1", "layers.0.mlp.gate:expert1"):
        with pytest.raises(
            ModelError, match=f"site {site} is of one expert, .* name the module of"
        ):
            resolve_site(mixed, site)
