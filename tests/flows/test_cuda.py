"""What another device computes is what the CPU computes, from a model to the postings of codes.

Each test runs on the CPU as well, against passes of other sizes: what it compares, and how, is so
known to be right where there is no GPU.
"""

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModel

from actlake.flows.encode import encode, encoder_of
from actlake.flows.extract import extract
from actlake.flows.extraction.capture import capture
from actlake.flows.extraction.models import load_model
from actlake.flows.extraction.patches import capture_patches
from actlake.flows.ingest import ingest_documents
from actlake.flows.shard_capture import capture_shard
from actlake.flows.train import train
from actlake.storage.lake import Lake
from actlake.storage.precision import DTYPES
from tests.flows.extraction.test_attention import windows
from tests.flows.image_files import draw, image_lake, save_vision_model, write_images

Rows = NDArray[np.float32]

DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
FLOAT32 = 2e-5
"""Of what rows of a site measure. Sums in another order, as sdpa and eager attention have, make
1.5e-6 of it in these models on the CPU; matrices rounded to TF32 there make 1e-3."""
TF32 = 3e-3
"""The same where a convolution makes patches, in which cuDNN rounds to eleven bits unless told not
to: with pixels and weights rounded so on the CPU, rows of the tiny vit are 5e-4 apart."""
TENSOR = "tiny-llama:resid_post.1@c"


@contextmanager
def at_work(device: str) -> Generator[None]:
    """A device that is asked for and not used would pass every comparison."""
    if device == "cpu":
        yield
        return
    torch.cuda.init()  # type: ignore[no-untyped-call]  # theirs
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    yield
    assert torch.cuda.max_memory_allocated() > before


def extracted(
    lake: Lake, model: Path, sites: list[str], device: str, **more: Any
) -> dict[str, Rows]:
    """Each site's rows as a lake keeps them."""
    given: dict[str, Any] = {"corpus": "c", "dtype": "float32", "torch_threads": 1} | more
    with at_work(device):
        names = extract(lake, source=str(model), sites=sites, device=device, **given)
    return {site: lake.tensor(one)[:] for site, one in zip(sites, names, strict=True)}


def computed(
    lake: Lake, model: Path, sites: list[str], rowset: str, attention: str = "auto"
) -> dict[str, Rows]:
    """The same on the CPU, two windows at a time, without keeping them."""
    loaded, axis = load_model(str(model), device="cpu", attention=attention), lake.rowset(rowset)
    parts = [
        capture_shard(lake, loaded, axis, sites, shard, window=32, token_budget=64)
        for shard in range(len(axis.grid))
    ]
    return {site: np.concatenate([part[site] for part in parts]) for site in sites}


def apart(found: Rows, right: Rows) -> float:
    """The largest distance of two rows, as a share of what a row of ``right`` measures.

    Of the site's rows all together, since one may be 0: of a token that an expert is not sent.
    """
    gaps = np.linalg.norm(found.astype(np.float64) - right, axis=1)
    return float(gaps.max() / np.sqrt(np.square(right.astype(np.float64)).sum(1).mean()))


@DEVICES
def test_sites__are_those_of_the_cpu(device: str, lake: Lake, tiny: Callable[[str], Path]) -> None:
    ingest_documents(lake, corpus="c")
    model, rowset = tiny("qwen2_moe"), "c@tiny-llama"
    tokens = ["resid_post.2", "attn_entropy.1", "attn_lookback4.2", "router.0", "router.2"]
    tokens += ["expert1_out.0", "mlp_act.1[0:8,20]"]
    sites = [*tokens, "pooled.mean", "pooled.max"]
    found = extracted(lake, model, sites, device, rowset=rowset, attention="eager")
    right = computed(lake, model, tokens, rowset, "eager")
    right |= computed(lake, model, sites[len(tokens) :], "c@documents", "eager")
    for site in sites:
        assert apart(found[site], right[site]) <= FLOAT32, site
    for site in ("router.0", "router.2"):  # or a token could go to another expert with good reason
        third, second = np.sort(right[site], axis=1)[:, -3:-1].T
        assert (second - third).min() > 1e-4
    sent = right["expert1_out.0"].any(1)
    assert 0 < sent.mean() < 1
    assert np.array_equal(found["expert1_out.0"].any(1), sent)


@DEVICES
def test_rows_of_images__are_those_of_the_cpu(device: str, tmp_path: Path) -> None:
    folder = save_vision_model("vit", tmp_path / "vit")
    lake = image_lake(tmp_path / "lake", write_images(tmp_path / "pictures", draw(3)), folder)
    sites = ["resid_post.2", "mlp_act.0"]
    found = extracted(lake, folder, sites, device, corpus="p")
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pixels = processor(images=[*draw(3)], return_tensors="np")["pixel_values"]
    model = AutoModel.from_pretrained(folder).eval()
    for site, right in capture_patches(model, sites, pixels, images_at_once=2).items():
        rows = right.reshape(found[site].shape)
        assert apart(found[site], rows) <= (FLOAT32 if device == "cpu" else TF32), site


@DEVICES
def test_bfloat16__is_as_far_from_float32_as_on_the_cpu(
    device: str, tiny: Callable[[str], Path]
) -> None:
    """Two passes in bfloat16 are further from each other than each is from float32, so each is held
    to that: the middle row's distance, 7e-3 on the CPU, where float16 has 2e-3."""
    lengths, [site] = (32,) * 8 + (11, 3, 8), ["resid_post.2"]

    def rows(where: str, compute: str, stored: str, attention: str) -> Rows:
        with at_work(where):
            loaded = load_model(
                str(tiny("llama")), device=where, compute_dtype=compute, attention=attention
            )
            given: dict[str, Any] = {"row_start": 0, "row_stop": sum(lengths), "dtype": stored}
            return capture(loaded, [site], windows(lengths), token_budget=64, **given)[site]

    exact = rows("cpu", "float32", "float32", "sdpa")

    def middle(found: NDArray[Any]) -> float:
        gaps = np.linalg.norm(found.astype(np.float32) - exact, axis=1)
        return float(np.median(gaps / np.linalg.norm(exact, axis=1)))

    right = middle(rows("cpu", "bfloat16", "bfloat16", "sdpa"))
    found = rows(device, "bfloat16", "bfloat16", "eager")
    assert found.dtype == DTYPES["bfloat16"]
    assert right > 1e-3  # eight bits
    assert right / 1.5 < middle(found) < right * 1.5


@pytest.mark.gpu  # on the CPU a C++ compiler takes half a minute: test_compiled.py
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # their own
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")  # advice to take it
def test_compiled_models__give_the_rows_of_the_cpu(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)  # or processes stay behind
    sites, model = ["resid_post.1", "attn_out.0", "mlp_act.1"], tiny("llama")
    found = extracted(lake, model, sites, "cuda", compiled=True)
    right = computed(lake, model, sites, "c@tiny-llama")
    for site in sites:
        assert apart(found[site], right[site]) <= FLOAT32, site


@pytest.fixture
def learned(dictionary_lake: Path, tmp_path: Path) -> Lake:
    """A lake with TENSOR and its dictionary ``d``, to write into."""
    return Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))


@DEVICES
def test_training__learns_as_on_the_cpu(device: str, learned: Lake) -> None:
    """Low bits decide now and then which feature a row keeps, so weights may differ: compared is
    what they do. Noise of 1e-6 in the rows moves the loss by 6e-8 of it; another seed, the control,
    by 1e-2, and the share of variance unexplained by 5e-3."""
    given: dict[str, Any] = {"k": 4, "n_features": 32, "steps": 60, "batch_rows": 64}
    given |= {"tensor": TENSOR, "baselines": False, "torch_threads": 1}
    train(learned, dictionary="here", device="cpu", **given)
    train(learned, dictionary="other", device="cpu", **given, seed=1)
    with at_work(device):
        train(learned, dictionary="there", device=device, **given)
    assert learned.dictionary("there").config["device"] == device

    def told(dictionary: str) -> dict[str, float]:
        """Of the last step and of the documents that were held out."""
        query = """
            SELECT metric, value FROM training_logs WHERE dictionary = $dictionary
            UNION ALL
            SELECT 'held out ' || metric, value FROM evaluations
            WHERE dictionary = $dictionary AND split = 'holdout' AND metric = 'fvu'
        """
        found = learned.sql(query, dictionary=dictionary).pl()
        return dict(zip(found["metric"], found["value"], strict=True))

    right, other = told("here"), told("other")
    assert {"loss", "fvu", "l0", "dead_share", "held out fvu"} == right.keys()
    assert told("there") == pytest.approx(right, rel=1e-3)
    for metric in ("loss", "fvu", "held out fvu"):
        assert other[metric] != pytest.approx(right[metric], rel=3e-3), metric


@DEVICES
def test_codes__are_those_of_numpy(device: str, learned: Lake) -> None:
    """But for ties: of two features that are as good as equal, a row may keep either."""
    file, rows = learned.dictionary("d"), learned.tensor(TENSOR)[:]
    right = encoder_of(file, "").encode(rows).dense()
    with at_work(device):
        encode(learned, dictionary="d", codes="there", dtype="float32", device=device)
    codes = learned.codes("there")
    found, close = codes[:].dense(), FLOAT32 * right.max()
    # The k-th largest of a row moves no more than its values do.
    for one, other in ((found, right), (right, found)):
        smallest = np.sort(other, axis=1)[:, -file.config["k"], None]
        assert (one[other == 0] <= np.broadcast_to(smallest + close, one.shape)[other == 0]).all()
    shared = (found > 0) & (right > 0)
    assert shared.sum() >= 0.999 * (right > 0).sum()
    assert np.abs(found - right)[shared].max() <= close
    for feature in range(file.n_features):
        postings = codes.postings(feature)
        at = np.flatnonzero(found[:, feature])
        assert postings["row"].to_list() == at.tolist()
        assert postings["value"].to_list() == found[at, feature].tolist()
    assert [*learned.verify()] == []
