"""Rows of images are those of hooks of our own, for every architecture that sees."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel, CLIPConfig, CLIPModel

from actlake.flows.extraction.capture import capture, pool
from actlake.flows.extraction.images import Patches, pixels_of
from actlake.flows.extraction.models import inspect_model, load_model
from actlake.flows.extraction.sites import POOLED
from actlake.flows.extraction.windows import windows_of_document, windows_of_rows
from actlake.storage.errors import ModelError
from tests.flows.extraction.conftest import config
from tests.flows.image_files import draw, save_vision_model
from tests.flows.references import worst

IMAGES = draw(7)
PATHS = {
    "vit": ("layers", 2, 2, 1),
    "dinov2": ("encoder.layer", 3, 2, 1),
    "dinov2_with_registers": ("encoder.layer", 3, 2, 3),
    "clip_vision_model": ("encoder.layers", 2, 2, 1),
    "clip": ("encoder.layers", 2, 2, 1),
}
"""Of each: its blocks, lines and columns of patches, and tokens before them."""


def save(architecture: str, folder: Path) -> Path:
    if architecture != "clip":
        return save_vision_model(architecture, folder)
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 9}
    text |= {"num_attention_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    save_vision_model("clip_vision_model", folder)
    sees = config("clip_vision_model").to_dict()
    CLIPModel(CLIPConfig(text_config=text, vision_config=sees)).save_pretrained(folder)
    return folder


def own_rows(folder: Path, paths: dict[str, str]) -> dict[str, Any]:
    """What hooks of our own take from the model, an image at a time, and its last hidden states."""
    whole = json.loads((folder / "config.json").read_text())["model_type"] == "clip"
    options = {"config": CLIPConfig.from_pretrained(folder).vision_config} if whole else {}
    model: Any = AutoModel.from_pretrained(folder, **options).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    taken: dict[str, list[Any]] = {site: [] for site in paths}

    def keep(site: str) -> Callable[..., None]:
        def hook(_module: Any, args: Any, output: Any) -> None:
            value = args[0] if site.startswith("mlp_act") else output
            value = value if isinstance(value, torch.Tensor) else value[0]
            taken[site].append(value[0].numpy())

        return hook

    for site, path in paths.items():
        model.get_submodule(path).register_forward_hook(keep(site))
    final = []
    for image in IMAGES:
        with torch.no_grad():
            output = model(**processor(images=[image], return_tensors="pt"))
        final.append(output.last_hidden_state[0].numpy())
    return {site: np.stack(arrays) for site, arrays in taken.items()} | {"final": np.stack(final)}


@pytest.mark.parametrize("architecture", PATHS)
def test_rows__are_the_models_own(architecture: str, tmp_path: Path) -> None:
    folder = save(architecture, tmp_path / "model")
    blocks, lines, columns, before = PATHS[architecture]
    paths = {"resid_post.1": f"{blocks}.1", "mlp_act.0": f"{blocks}.0.mlp.fc2"}
    right = own_rows(folder, paths)

    loaded = load_model(inspect_model(str(folder)))
    patches = loaded.facts.patches
    assert patches == Patches(lines, columns, before, lines * 4, columns * 4)
    one, tokens = patches.rows(0), patches.tokens
    assert loaded.facts.default_window == tokens == len(patches.vocabulary())

    def read_column(name: str, start: int, stop: int) -> Any:
        return np.tile(getattr(one, name), len(IMAGES))[start:stop]

    def pixels(indices: Any) -> Any:
        # The first window is cut off, so that there is one image less before those asked for.
        return np.stack([pixels_of(loaded.tokenizer, IMAGES[1 + i], "x") for i in indices])

    span = (tokens + 2, (len(IMAGES) - 1) * tokens + 1)  # through the middle of two images
    windows = windows_of_rows(read_column, len(IMAGES) * tokens, *span, windowing="document")
    found = capture(
        loaded,
        [*paths],
        windows,
        row_start=span[0],
        row_stop=span[1],
        token_budget=3 * tokens,
        pixels=pixels,
    )
    for site in paths:
        flat = right[site].reshape(-1, right[site].shape[2])[slice(*span)]
        assert worst(found[site], flat) <= 1e-5, site

    cut = [windows_of_document(patches.rows(i)) for i in range(len(IMAGES) - 1)]
    pooled = pool(loaded, cut, list(POOLED), token_budget=20, pixels=pixels)
    patches_alone = right["final"][1:, before:]
    assert worst(pooled["pooled.cls"], right["final"][1:, 0]) <= 1e-5
    assert worst(pooled["pooled.mean"], patches_alone.mean(axis=1)) <= 1e-5
    assert worst(pooled["pooled.max"], patches_alone.max(axis=1)) <= 1e-5
    assert worst(pooled["pooled.last"], patches_alone[:, -1]) <= 1e-5


def test_names__are_of_places_and_of_what_is_added() -> None:
    patches = Patches(lines=2, columns=3, before=3, height=8, width=12)
    names = patches.vocabulary()
    rows = patches.rows(5)
    assert [names[token] for token in rows.token_id] == (
        "[CLS] [REG1] [REG2] patch(0,0) patch(0,1) patch(0,2) patch(1,0) patch(1,1) patch(1,2)"
    ).split()
    assert rows.is_special.tolist() == [True] * 3 + [False] * 6
    assert (rows.document, rows.rows) == (5, 9)


PROCESSOR = "preprocessor_config.json"
UNCUT = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 8},
    "do_center_crop": False,
}
FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no such processor": (PROCESSOR, {"image_processor_type": "None"}, "cannot be read"),
    "several sizes": (PROCESSOR, UNCUT, "makes pixels of several sizes; set a crop_size"),
    "another size": (PROCESSOR, {"size": {"height": 8, "width": 12}}, "8 × 12 pixels and the"),
    "huge": (PROCESSOR, {"size": {"height": 10**6, "width": 8}}, "config.json says 1000000, and"),
    "odd": (PROCESSOR, {"size": "x"}, "image processor"),
    "huge config": ("config.json", {"image_size": 10**6}, "image_size is 1000000 and not 1 to"),
    "grey": ("config.json", {"num_channels": 1}, "takes 1 channels, and images have 3; give"),
    "no patch": ("config.json", {"patch_size": 0}, "patch_size is 0 and not 1 to"),
    "one patch": ("config.json", {"patch_size": 64}, "hold no patch of 64 × 64"),
}


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vision_model("vit", tmp_path_factory.mktemp("vit") / "tiny-vit")


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_processors__are_refused_in_one_line(fault: str, vit: Path, tmp_path: Path) -> None:
    file, change, said = FAULTS[fault]
    folder = Path(shutil.copytree(vit, tmp_path / "copy"))
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | change))
    with pytest.raises(ModelError, match=said) as caught:
        inspect_model(str(folder))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_another_processor__is_another_model_and_other_rows(vit: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(vit, tmp_path / "tiny-vit"))
    before = inspect_model(str(folder))
    assert (before.window_limit, before.vocabulary) == (5, 5)
    settings = json.loads((folder / PROCESSOR).read_text())
    (folder / PROCESSOR).write_text(json.dumps(settings | {"image_mean": [0.1, 0.2, 0.3]}))
    after = inspect_model(str(folder))
    assert after.patches == before.patches
    assert after.fingerprint != before.fingerprint
    assert after.tokenizer_fingerprint != before.tokenizer_fingerprint
