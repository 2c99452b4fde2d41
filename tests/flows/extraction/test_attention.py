"""What is kept of attention is what the maps say that the model itself gives out."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from actlake.flows.extraction.architectures import ARCHITECTURES, IMAGES
from actlake.flows.extraction.attention import STATISTICS, attention_statistic, statistic_of
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
CONTEXTS = (4, 40)
"""Tokens of context: of some windows and of none there is a token after them."""
NAMES = [*STATISTICS, *(f"lookback{context}" for context in CONTEXTS)]


def lookback(row: NDArray[np.float64], query: int, context: int) -> float:
    """The ratio of one query of one head, by its definition."""
    of_context = [row[key] for key in range(query + 1) if key < context]
    new = [row[key] for key in range(query + 1) if key >= context]
    if not new:
        return 1
    return float(np.mean(of_context) / (np.mean(of_context) + np.mean(new)))


def planted(maps: Maps) -> dict[str, NDArray[np.float64]]:
    """The statistics of maps, (heads, queries, keys), in loops: (queries, heads)."""
    found = {name: np.zeros(maps.shape[1::-1]) for name in NAMES}
    for head, one in enumerate(maps.astype(np.float64)):
        for query, row in enumerate(one):
            found["entropy"][query, head] = entropy(row / row.sum())
            found["first"][query, head] = row[0]
            found["self"][query, head] = row[query]
            found["previous"][query, head] = row[query - 1] if query else 0
            found["max"][query, head] = row.max()
            for context in CONTEXTS:
                found[f"lookback{context}"][query, head] = lookback(row, query, context)
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
    names = [f"attn_{name}.{layer}" for name in NAMES for layer in (0, 2)]
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
    sites = [f"attn_{name}.1" for name in NAMES]
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
    found = {name: attention_statistic(STATISTICS[name], output) for name in STATISTICS}
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
        assert attention_statistic(STATISTICS["max"], other) is None


def ratios(context: int, maps: torch.Tensor) -> NDArray[np.floating]:
    """The lookback ratios of maps, (heads, queries, keys): (queries, heads)."""
    statistic = statistic_of(f"lookback{context}")
    assert statistic is not None
    found = attention_statistic(statistic, (torch.zeros(1), maps[None]))
    assert found is not None
    assert found.dtype == torch.promote_types(maps.dtype, torch.float32)
    return found[0].numpy()


@given(tokens=st.integers(1, 60), context=st.integers(1, 70))
def test_lookback__of_even_weights_is_a_half_at_any_length(tokens: int, context: int) -> None:
    """analytics.G38, of a head that reads what is before, and of one that reads all."""
    all_keys = torch.ones(tokens, tokens, dtype=torch.float64)
    before = all_keys.tril()
    even = torch.stack([before / before.sum(-1, keepdim=True), all_keys / tokens])
    found = ratios(context, even)
    assert (found[:context] == 1).all()
    assert found[context:].size == 0 or np.abs(found[context:] - 0.5).max() <= 1e-12


@given(tokens=st.integers(2, 40), context=st.integers(1, 39), seed=st.integers(0, 99))
def test_lookback__is_one_on_the_context_and_none_off_it(
    tokens: int, context: int, seed: int
) -> None:
    context = min(context, tokens - 1)
    some = torch.from_numpy(np.random.default_rng(seed).random((2, tokens, tokens)) + 0.1).tril()
    on, off = some.clone(), some.clone()
    on[..., context:] = 0
    off[..., :context] = 0
    assert (ratios(context, on) == 1).all()
    assert not ratios(context, off)[context:].any()


def test_lookback__takes_means_over_the_keys_that_a_query_has() -> None:
    row = torch.tensor([0.2, 0.1, 0.3, 0.15, 0.15, 0.1], dtype=torch.float64)
    found = ratios(2, row.expand(1, 6, 6))[:, 0]
    # By hand: the context's mean is 0.15, of those after it 0.3, 0.225, 0.2 and 0.175.
    right = [1, 1, 0.15 / 0.45, 0.15 / 0.375, 0.15 / 0.35, 0.15 / 0.325]
    np.testing.assert_allclose(found, right, rtol=1e-14)


def test_lookback__is_finite_where_a_query_weighs_later_keys_alone() -> None:
    later = torch.zeros(1, 4, 4, dtype=torch.float16)
    later[..., 3] = 1
    assert ratios(2, later)[:, 0].tolist() == [1, 1, 0.5, 0]
    later[0, 2] = later[0, 0] = torch.nan  # no statistic makes a number of it
    np.testing.assert_array_equal(ratios(2, later)[:, 0], [np.nan, 1, np.nan, 0])


def test_lookback__names_its_context(tiny_model: Callable[[str], Path]) -> None:
    model = skeleton(inspect_model(str(tiny_model("llama"))), "eager")
    names = ["attn_lookback32.1", "layers.1.self_attn:lookback32", "attn_lookback1.0[2]"]
    [site, path, some] = resolve_sites(model, names)
    assert (site.module, site.side, site.layer, site.width) == (path.module, path.side, 1, 4)
    assert (site.module, site.side) == ("layers.1.self_attn", "lookback32")
    assert (some.side, some.width, some.columns) == ("lookback1", 1, (2,))
    for wrong in ("", "0", "-1", "04", "x", "\N{ARABIC-INDIC DIGIT THREE}", "1" * 9):
        with pytest.raises(ModelError, match=r"how many .* are context; .* attn_lookback32\.0, "):
            resolve_sites(model, [f"attn_lookback{wrong}.1"])
        with pytest.raises(ModelError, match=r"has no side 'lookback.*'; end it with"):
            resolve_sites(model, [f"layers.1.self_attn:lookback{wrong}"])
    with pytest.raises(ModelError, match=r"choose attn_lookback4\.0 to attn_lookback4\.2$"):
        resolve_sites(model, ["attn_lookback4.3"])
    with pytest.raises(ModelError, match="use --attention eager"):
        resolve_sites(skeleton(inspect_model(str(tiny_model("llama")))), ["attn_lookback4.0"])


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
