"""extract through the lake: stored rows are the model's rows, whatever dtype, window or packing."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from actlake.flows.extract import extract
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.storage.errors import InputError, ModelError, NotFoundError, PrecisionError
from actlake.storage.lake import Lake
from tests.flows.tiny import save_model, state

Rows = NDArray[np.float32]
Taps = Mapping[str, tuple[torch.nn.Module, str]]
"""Alias to the module and side that hold it, written out for one block of one architecture."""


def llama_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.input_layernorm, "input"),
        "attn_out": (block.self_attn.o_proj, "output"),
        "resid_mid": (block.post_attention_layernorm, "input"),
        "mlp_in": (block.mlp.up_proj, "input"),
        "mlp_act": (block.mlp.down_proj, "input"),
        "mlp_out": (block.mlp.down_proj, "output"),
        "head_out": (block.self_attn.o_proj, "input"),
        "resid_post": (block, "output"),
    }


def gpt2_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.ln_1, "input"),
        "attn_out": (block.attn.c_proj, "output"),
        "resid_mid": (block.ln_2, "input"),
        "mlp_in": (block.mlp.c_fc, "input"),
        "mlp_act": (block.mlp.act, "output"),
        "mlp_out": (block.mlp.c_proj, "output"),
        "head_out": (block.attn.c_proj, "input"),
        "resid_post": (block, "output"),
    }


def bert_taps(block: Any) -> Taps:
    return {
        "resid_pre": (block.attention.self.query, "input"),
        "attn_out": (block.attention.output.dropout, "input"),
        "resid_mid": (block.attention.output.LayerNorm, "output"),
        "mlp_in": (block.intermediate, "input"),
        "mlp_act": (block.intermediate, "output"),
        "mlp_out": (block.output.dropout, "input"),
        "head_out": (block.attention.output, "input"),
        "resid_post": (block.output.LayerNorm, "output"),
    }


BLOCKS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Taps]]] = {
    "llama": (lambda model: model.layers, llama_taps),
    "gpt2": (lambda model: model.h, gpt2_taps),
    "bert": (lambda model: model.encoder.layer, bert_taps),
}


def windows(
    tokenizer: Any, texts: list[str], window: int, overlap: int, *, packed: bool
) -> Iterator[tuple[list[int], list[int]]]:
    """What the model sees, and which of it are new rows, window by window in the order of rows."""
    contents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    full = tokenizer(texts[0])["input_ids"]
    before, after = full[:1], full[-1:]
    if packed:
        stream = [token for ids in contents for token in before + ids + after]
        for ids, carried in _pieces(stream, window, overlap):
            yield ids, list(range(carried, len(ids)))
        return
    for content in contents:
        for ids, carried in _pieces(content, window - 2, overlap):
            new = [0, *range(1 + carried, len(ids) + 2)]
            yield before + ids + after, new


def _pieces(tokens: list[int], size: int, overlap: int) -> Iterator[tuple[list[int], int]]:
    for start in range(0, max(1, len(tokens) - overlap), size - overlap):
        yield tokens[start : start + size], overlap if start else 0


def reference(
    model: Any, blocks: Any, taps: Callable[[Any], Taps], layers: tuple[int, ...], seen: Any
) -> dict[str, Rows]:
    """Every site of the layers by hooks of this test, one unpadded window at a time."""
    values: dict[str, torch.Tensor] = {}

    def hook(name: str, side: str) -> Callable[..., None]:
        def keep(_module: object, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            value = inputs[0] if side == "input" else output
            values[name] = value[0] if isinstance(value, tuple) else value

        return keep

    handles = [
        module.register_forward_hook(hook(f"{alias}.{layer}", side))
        for layer in layers
        for alias, (module, side) in taps(blocks[layer]).items()
    ]
    found: dict[str, list[Rows]] = {}
    for ids, new in seen:
        with torch.no_grad():
            output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
        values["embed"] = output.hidden_states[0]
        for name, value in values.items():
            found.setdefault(name, []).append(value[0].numpy()[new])
        for layer in layers:  # a second witness, which owes nothing to hooks
            assert torch.equal(output.hidden_states[layer], values[f"resid_pre.{layer}"])
    for handle in handles:
        handle.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def worst(found: NDArray[Any], right: Rows) -> float:
    gap = np.linalg.norm(found.astype(np.float64) - right, axis=1)
    return float((gap / np.linalg.norm(right.astype(np.float64), axis=1)).max())


def steps_apart(found: NDArray[Any], right: NDArray[Any]) -> NDArray[np.int64]:
    """How many representable numbers lie between two float16 or bfloat16 arrays."""

    def ranks(values: NDArray[Any]) -> NDArray[np.int64]:
        bits = values.view(np.int16).astype(np.int64)
        return np.where(bits < 0, -32768 - bits, bits)

    return np.abs(ranks(found) - ranks(right))


def all_texts(lake: Lake) -> list[str]:
    rows = lake.sql("SELECT text FROM documents WHERE corpus = 'c' ORDER BY document").rows()
    return [str(text) for (text,) in rows]


CASES = {
    "llama": ("llama", "document", 0),
    "llama, overlap": ("llama", "document", 7),
    "llama, packed": ("llama", "packed", 5),
    "gpt2, overlap": ("gpt2", "document", 3),
    "bert": ("bert", "document", 0),
    "bert, packed": ("bert", "packed", 0),
}


@pytest.mark.parametrize("case", CASES)
def test_stored_rows__are_the_models_rows(
    case: str, tiny: Callable[[str], Path], documents: Path, tmp_path: Path
) -> None:
    architecture, windowing, overlap = CASES[case]
    folder = tiny(architecture)
    lake = Lake.create(tmp_path / "lake")
    ingest(lake, corpus="c", source=Source(path=str(documents), id="id"))
    rowset = ingest_tokens(
        lake, corpus="c", source=str(folder), overlap=overlap, windowing=windowing
    )
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    blocks, taps = BLOCKS[architecture]
    layers = (0, 2)
    seen = windows(tokenizer, all_texts(lake), 32, overlap, packed=windowing == "packed")
    right = reference(model, blocks(model), taps, layers, seen)
    # One full block is enough: every site is a file a shard.
    sites = [site for site in right if site.endswith(".2")]
    sites = sites if case == "llama, overlap" else ["embed", "mlp_act.0", "resid_post.2"]

    names = extract(
        lake, source=str(folder), sites=sites, corpus="c", dtype="float32", torch_threads=1
    )

    rows = lake.rowset(rowset).rows
    for name, site in zip(names, sites, strict=True):
        tensor = lake.tensor(name)
        assert (tensor.site, tensor.shape) == (site, right[site].shape)
        assert len(tensor) == rows
        assert worst(tensor[:], right[site]) <= 1e-5, site
    if case == "llama, overlap":
        stored = {site: lake.tensor(name)[:] for name, site in zip(names, sites, strict=True)}
        total = stored["resid_pre.2"] + stored["attn_out.2"] + stored["mlp_out.2"]
        assert worst(total, stored["resid_post.2"]) <= 1e-5


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_stored_rows__are_within_one_ulp_in_half_precision(
    dtype: str, lake: Lake, tiny: Callable[[str], Path]
) -> None:
    folder = str(tiny("llama"))
    sites = ["resid_post.2", "mlp_act.0"]
    names = extract(lake, source=folder, sites=sites, corpus="c", dtype=dtype, torch_threads=1)
    model = AutoModel.from_pretrained(folder).eval()
    seen = windows(AutoTokenizer.from_pretrained(folder), all_texts(lake), 32, 0, packed=False)
    right = reference(model, model.layers, llama_taps, (0, 2), seen)
    for name, site in zip(names, sites, strict=True):
        stored = lake.tensor(name)[:]
        assert stored.dtype.name == dtype
        apart = steps_apart(stored, right[site].astype(stored.dtype))
        assert (apart <= 1).mean() >= 0.99
        assert apart.max() <= 4


def test_rows__hold_every_token_of_the_corpus_once(lake: Lake, tiny: Callable[[str], Path]) -> None:
    """No wrap-around, no dropped last batch, no token twice (SAELens, Activault, Delphi)."""
    folder = tiny("llama")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    contents = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in all_texts(lake)]
    [name] = extract(lake, source=str(folder), sites=["resid_post.0"], corpus="c", torch_threads=1)
    rowset = lake.tensor(name).rowset

    content = ~rowset.column("is_special")
    assert content.sum() == sum(map(len, contents))
    assert rowset.column("token_id")[content].tolist() == [t for ids in contents for t in ids]
    places = [*zip(rowset.column("document"), rowset.column("position"), strict=True)]
    assert len(set(places)) == len(places) == len(lake.tensor(name))
    assert np.isfinite(lake.tensor(name)[:].astype(np.float32)).all()
    shards = lake.sql(
        "SELECT sum(row_stop - row_start), max(row_stop) FROM shards WHERE owner = $id",
        id=lake.tensor(name).id,
    ).rows()
    assert shards == [(len(places), len(places))]


def test_names__follow_the_sites_asked_for(lake: Lake, tiny: Callable[[str], Path]) -> None:
    """Pooled sites are computed last, and were once returned last too."""
    ingest_documents(lake, corpus="c")
    sites = ["pooled.mean", "resid_post.1", "pooled.cls", "resid_post.1"]
    names = extract(lake, source=str(tiny("bert")), sites=sites[:1], corpus="c", torch_threads=1)
    ingest_tokens(lake, corpus="c", source=str(tiny("bert")))
    names = extract(lake, source=str(tiny("bert")), sites=sites, corpus="c", torch_threads=1)
    assert names == [f"tiny-bert:{site}@c" for site in sites]
    assert [lake.tensor(name).site for name in names] == sites


def test_pooled_rows__are_those_of_the_documents(lake: Lake, tiny: Callable[[str], Path]) -> None:
    folder = tiny("bert")
    ingest_documents(lake, corpus="c")
    sites = ["pooled.mean", "pooled.max", "pooled.cls", "pooled.last"]
    names = extract(
        lake, source=str(folder), sites=sites, corpus="c", dtype="float32", torch_threads=1
    )
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    texts = all_texts(lake)
    found = {site: lake.tensor(name) for name, site in zip(names, sites, strict=True)}
    assert len(found["pooled.mean"]) == len(texts)
    for document, text in enumerate(texts):
        hidden = []
        for ids, _ in windows(tokenizer, [text], 32, 0, packed=False):
            with torch.no_grad():
                hidden.append(model.eval()(torch.tensor([ids])).last_hidden_state[0].numpy())
        content = np.concatenate([window[1:-1] for window in hidden])
        right = {
            "pooled.mean": content.mean(axis=0),
            "pooled.max": content.max(axis=0),
            "pooled.cls": hidden[0][0],
            "pooled.last": content[-1],
        }
        for site, row in right.items():
            assert worst(found[site][document : document + 1], row[None]) <= 1e-5, site


def huge(tmp_path: Path) -> str:
    """A model whose activations overflow float16."""
    return str(save_model("llama", tmp_path / "huge-llama", scale=3000.0))


def test_overflow__leaves_the_lake_as_it_was(lake: Lake, tmp_path: Path) -> None:
    folder = huge(tmp_path)
    ingest_tokens(lake, corpus="c", source=folder)
    before = state(lake)
    options: dict[str, Any] = {"source": folder, "corpus": "c", "torch_threads": 1}
    with pytest.raises(PrecisionError, match=r"huge-llama:resid_post\.2@c.*bfloat16.*float32"):
        extract(lake, sites=["resid_post.2"], **options)
    assert state(lake) == before
    [name] = extract(lake, sites=["resid_post.2"], dtype="float32", **options)
    assert lake.tensor(name).sealed


def test_overflow__spares_tensors_that_are_complete(lake: Lake, tmp_path: Path) -> None:
    folder = huge(tmp_path)
    ingest_tokens(lake, corpus="c", source=folder)
    options: dict[str, Any] = {"source": folder, "corpus": "c", "torch_threads": 1}
    [done] = extract(lake, sites=["mlp_in.0"], **options)
    rows = lake.tensor(done)[:]
    with pytest.raises(PrecisionError):
        extract(lake, sites=["mlp_in.0", "resid_post.2"], **options)
    assert lake.tensor(done).sealed
    assert np.array_equal(lake.tensor(done)[:], rows)
    with pytest.raises(NotFoundError):
        lake.tensor("huge-llama:resid_post.2@c")
    assert [*lake.verify()] == []


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"compute_dtype": "float8"}, InputError, "no compute dtype 'float8'"),
    ({"device": "tpu"}, InputError, "no device 'tpu'"),
    ({"attention": "telepathy"}, ModelError, "telepathy"),
    ({"dtype": "int3"}, InputError, "int3"),
    ({"sites": ["resid_pots.1"]}, ModelError, r"did you mean resid_post\.1"),
    ({"sites": ["resid_post.9"]}, ModelError, r"resid_post\.0 to resid_post\.2"),
    ({"sites": []}, InputError, "no site"),
    ({"corpus": "d"}, NotFoundError, "actlake ingest"),
    ({"window": 16}, NotFoundError, "actlake ingest"),
    ({"sites": ["pooled.mean"]}, NotFoundError, "--documents"),
    ({"source": "/nowhere/model"}, ModelError, "/nowhere/model"),
]


def test_bad_input__leaves_no_trace_and_no_name_taken(
    lake: Lake, tiny: Callable[[str], Path]
) -> None:
    good: dict[str, Any] = {
        "source": str(tiny("llama")),
        "corpus": "c",
        "sites": ["resid_post.1"],
        "torch_threads": 1,
    }
    before = state(lake)
    for options, error, message in BAD:
        with pytest.raises(error, match=message):
            extract(lake, **{**good, **options})
    assert state(lake) == before


def test_rowset_of_another_corpus__is_refused(
    lake: Lake, tiny: Callable[[str], Path], documents: Path
) -> None:
    ingest(lake, corpus="d", source=Source(path=str(documents), id="id", where="year > 1905"))
    with pytest.raises(InputError, match="of the corpus c and not of d"):
        extract(
            lake,
            source=str(tiny("llama")),
            sites=["embed"],
            corpus="d",
            rowset="c@tiny-llama",
        )


def test_rowset_of_another_tokenizer__is_refused(
    lake: Lake, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    other = save_model("llama", tmp_path / "other" / "tiny-llama")
    config = other / "tokenizer.json"
    config.write_text(config.read_text("utf-8").replace('"w0"', '"v0"'), "utf-8")
    with pytest.raises(InputError, match="another tokenizer"):
        extract(lake, source=str(other), sites=["embed"], corpus="c")


def test_shards__record_what_they_were_computed_with(
    lake: Lake, tiny: Callable[[str], Path]
) -> None:
    [name] = extract(
        lake,
        source=str(tiny("llama")),
        sites=["resid_post.1"],
        corpus="c",
        token_budget=96,
        torch_threads=1,
    )
    tensor = lake.tensor(name)
    plans = lake.sql(
        "SELECT DISTINCT token_budget, torch_threads FROM shards WHERE owner = $id", id=tensor.id
    ).rows()
    assert plans == [(96, 1)]
    assert (tensor.attributes()["token_budget"], tensor.attributes()["torch_threads"]) == (96, 1)
    assert tensor.attributes()["module"] == "layers.1"
    model = lake.sql("SELECT model, architecture, layers, width FROM models").rows()
    assert model == [("tiny-llama", "llama", 3, 16)]
