from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from actlake.flows.extraction.architectures import ARCHITECTURES, IMAGES
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.flows.extraction.sites import (
    Site,
    canonical_sites,
    is_pooled,
    last_layer,
    resolve_site,
    resolve_sites,
)
from actlake.flows.extraction.skeletons import skeleton
from actlake.storage.errors import ModelError
from tests.flows.extraction.conftest import random_model

ModelMaker = Callable[[str], Path]


@pytest.fixture
def llama(tiny_model: ModelMaker) -> PreTrainedModel:
    return skeleton(inspect_model(str(tiny_model("llama"))))


def test_canonical_sites__are_every_alias_of_every_layer(llama: PreTrainedModel) -> None:
    sites = canonical_sites(llama)
    assert len(sites) == len(set(sites)) == 1 + 3 * 8 + 4
    assert sites[:3] == ["embed", "resid_pre.0", "attn_out.0"]
    assert sites[-5:] == [
        "resid_post.2",
        "pooled.mean",
        "pooled.last",
        "pooled.cls",
        "pooled.max",
    ]


def test_resolve__alias_gives_module_side_layer_and_width(llama: PreTrainedModel) -> None:
    assert resolve_sites(llama, ["resid_post.2", "mlp_act.1", "head_out.0", "embed"]) == [
        Site("resid_post.2", "layers.2", "output", 2, 16),
        Site("mlp_act.1", "layers.1.mlp.down_proj", "input", 1, 24),
        Site("head_out.0", "layers.0.self_attn.o_proj", "input", 0, 4 * 8),
        Site("embed", "layers.0", "input", 0, 16),
    ]


def test_resolve__pooled_sites_need_the_whole_model(llama: PreTrainedModel) -> None:
    assert resolve_site(llama, "pooled.mean") == Site("pooled.mean", "", "output", None, 16)
    assert is_pooled("pooled.mean")
    assert not is_pooled("resid_post.0")
    with pytest.raises(ModelError, match=r"no site pooled.median; choose one of pooled.mean"):
        resolve_site(llama, "pooled.median")


def test_resolve__module_paths_may_be_those_of_the_causal_model(llama: PreTrainedModel) -> None:
    for prefix in ("", "model."):
        name = f"{prefix}layers.1.self_attn.k_proj:output"
        assert resolve_site(llama, name) == Site(
            name, "layers.1.self_attn.k_proj", "output", 1, 2 * 8
        )
    assert resolve_site(llama, "norm:output").layer is None


def test_resolve__any_architecture_by_module_path(tiny_model: ModelMaker) -> None:
    bloom = skeleton(inspect_model(str(tiny_model("bloom"))))
    name = "h.1.mlp.dense_h_to_4h:output"
    assert resolve_site(bloom, name) == Site(name, "h.1.mlp.dense_h_to_4h", "output", None, 64)
    with pytest.raises(ModelError, match="no aliases are known for the architecture bloom"):
        resolve_site(bloom, "resid_post.0")
    assert canonical_sites(bloom) == ["pooled.mean", "pooled.last", "pooled.cls", "pooled.max"]


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("resid_pots.1", "no site resid_pots.1 in this llama model; did you mean resid_post.1"),
        ("resid_post.3", "such layer in this llama model of 3 layers; choose resid_post.0 to"),
        ("resid_post.-1", "such layer .* choose resid_post.0 to resid_post.2"),
        ("resid_post", "such layer .* choose resid_post.0 to resid_post.2"),
        ("resid_post.01", "such layer"),
        ("model.layers.1.mlp.down:input", "did you mean layers.1.mlp.down_proj:input"),
        ("layers.1.mlp:middle", "has no side 'middle'; end it with :input or :output"),
        ("zzzzzzzzzz:input", "no site zzzzzzzzzz:input in this llama model; name a module path"),
        ("rotary_emb:output", "gives shape"),
    ],
)
def test_resolve__bad_names_say_what_to_do(llama: PreTrainedModel, site: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        resolve_site(llama, site)
    assert "\n" not in str(caught.value)


def test_resolve__a_module_that_is_never_run_is_refused(tiny_model: ModelMaker) -> None:
    model = load_model(str(tiny_model("llama"))).module
    model.register_module("unused", torch.nn.Linear(16, 16))
    with pytest.raises(ModelError, match="site unused:output is computed 0 times"):
        resolve_site(model, "unused:output")


def test_resolve__a_module_that_is_run_twice_is_refused(tiny_model: ModelMaker) -> None:
    model = load_model(str(tiny_model("llama"))).module
    model.get_submodule("layers")[1] = model.get_submodule("layers.0")
    with pytest.raises(ModelError, match=r"site layers.0.mlp:output is computed 2 times"):
        resolve_site(model, "layers.0.mlp:output")


def test_last_layer__is_the_last_one_that_any_site_needs(llama: PreTrainedModel) -> None:
    names = ["resid_pre.1", "embed", "layers.0.mlp:output"]
    assert last_layer(resolve_sites(llama, names)) == 1
    assert last_layer(resolve_sites(llama, [*names, "norm:input"])) is None
    assert last_layer(resolve_sites(llama, [*names, "pooled.mean"])) is None
    assert last_layer([]) is None


DOCUMENT = Path(__file__).parents[3] / "docs" / "sites.md"
COLUMNS = (
    "embed resid_pre attn_out resid_mid mlp_in mlp_act mlp_out head_out resid_post router "
    "expert_out cross_out cross_head_out pooled"
).split()


def test_document__shows_the_sites_of_every_architecture(tiny_model: ModelMaker) -> None:
    """The table against the aliases that a small model of each has, resolved to widths."""
    lines = [f"| architecture | {' | '.join(f'`{name}`' for name in COLUMNS)} |"]
    lines.append("|---|" + "---|" * len(COLUMNS))
    for architecture, places in ARCHITECTURES.items():
        images = architecture in IMAGES
        model = (
            random_model(architecture)
            if images
            else skeleton(inspect_model(str(tiny_model(architecture))))
        )
        aliases = canonical_sites(model)
        assert [site.alias for site in resolve_sites(model, aliases)] == aliases
        for place in places:
            second = "`decoder.`" if place.prefix else ""
            of_stack = [s for s in aliases if s.startswith("decoder.") == bool(place.prefix)]
            has = {site.removeprefix(place.prefix).split(".")[0] for site in of_stack}
            cells = ["✓" if name in has else "" for name in COLUMNS]
            lines.append(f"| {' '.join([architecture, second]).strip()} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    assert table in DOCUMENT.read_text(encoding="utf-8"), f"docs/sites.md should have\n{table}"
