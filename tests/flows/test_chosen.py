"""Chosen rows and columns: what is stored is the model's, in whole windows, and no more."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from actlake.flows.default_names import codes_name, dictionary_name, tensor_name
from actlake.flows.delete import would_delete
from actlake.flows.extract import extract
from actlake.flows.extract_again import Extraction
from actlake.flows.extract_plan import forecast
from actlake.flows.extraction.models import load_model
from actlake.flows.ingest import ingest_tokens
from actlake.flows.repair import repair
from actlake.flows.shard_capture import capture_shard
from actlake.flows.summary_states import block_of
from actlake.flows.withdraw import withdraw
from actlake.storage import Lake
from actlake.storage.durable import replace_file
from actlake.storage.errors import (
    CorpusError,
    InputError,
    NameTakenError,
    NotFoundError,
    QueryError,
)
from actlake.storage.site_columns import split_columns
from tests.flows.commands import Cli, ok
from tests.flows.references import all_texts, llama_taps, reference, windows, worst

ROWS = "third=position % 3 = 1"
SITES = ["resid_post.2", "mlp_act.0[1,3:9:2,23]"]
COLUMNS = [1, 3, 5, 7, 23]
CUTS = {"document": 7, "packed": 5}
"""Windowings, and the tokens that windows of each carry."""


@pytest.fixture(scope="module")
def whole(
    ingested_lake: Path, tiny: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lake]:
    """A lake with chosen rows of two windowings, and their tensors; write under other names."""
    lake = Lake.open(shutil.copytree(ingested_lake, tmp_path_factory.mktemp("chosen") / "lake"))
    model = str(tiny("llama"))
    for windowing, overlap in CUTS.items():
        cut: dict[str, Any] = {"windowing": windowing, "overlap": overlap, "rowset": windowing}
        name = ingest_tokens(lake, corpus="c", source=model, rows=ROWS, **cut)
        assert name == f"{windowing}:third"
        extract(lake, **asked(model, rowset=windowing, model=windowing))
    yield lake
    lake.close()


def asked(source: str, **more: object) -> dict[str, Any]:
    given = {"source": source, "sites": SITES, "corpus": "c", "rows": "third", "dtype": "float32"}
    return {**given, "token_budget": 64, "torch_threads": 1, **more}


def tensors(lake: Lake, windowing: str) -> list[str]:
    return [f"{windowing}:resid_post.2@c:third", f"{windowing}:mlp_act.0.1.3-9-2.23@c:third"]


def chosen(lake: Lake, tokenizer: Any, windowing: str) -> NDArray[np.intp]:
    """The rows of every third token, from the second on, of each document."""
    texts, packed = all_texts(lake), windowing == "packed"
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    if not packed:  # each window of a document has its own special tokens
        cut = [windows(tokenizer, [text], 32, CUTS[windowing], packed=False) for text in texts]
        lengths = [sum(len(new) for _, new in of_text) for of_text in cut]
    return np.flatnonzero(np.concatenate([np.arange(n) for n in lengths]) % 3 == 1)


@pytest.mark.parametrize("windowing", CUTS)
def test_stored__is_what_the_model_says_in_whole_windows(
    windowing: str, whole: Lake, tiny: Callable[[str], Path]
) -> None:
    model = AutoModel.from_pretrained(tiny("llama")).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    packed = windowing == "packed"
    seen = windows(tokenizer, all_texts(whole), 32, CUTS[windowing], packed=packed)
    right = reference(model, model.layers, llama_taps, (0, 2), seen)
    rows = chosen(whole, tokenizer, windowing)
    residual, some = map(whole.tensor, tensors(whole, windowing))
    assert residual.rowset.name == some.rowset.name == f"{windowing}:third"
    assert (residual.shape, some.shape) == ((len(rows), 16), (len(rows), len(COLUMNS)))
    assert (residual.columns, some.columns) == (None, tuple(COLUMNS))
    assert worst(residual[:], right["resid_post.2"][rows]) <= 1e-5
    assert worst(some[:], right["mlp_act.0"][rows][:, COLUMNS]) <= 1e-5
    # Any range of rows knows its places among all of them, and in its document.
    rowset, every = residual.rowset, whole.rowset(windowing)
    assert rowset.of_parent(0, rowset.rows).tolist() == rows.tolist()
    assert rowset.of_parent(11, 40).tolist() == rows[11:40].tolist()
    document = every.column("document")[rows]
    assert rowset.column("document").tolist() == document.tolist()
    places = np.arange(len(rows)) - np.searchsorted(document, document)
    for start in range(0, len(rows), 13):
        assert rowset.places(start, start + 13).tolist() == places[start : start + 13].tolist()
    for number in range(document.max() + 2):
        assert rowset.first_row(number) == np.searchsorted(document, number)


def test_facts__say_what_was_chosen(whole: Lake) -> None:
    query = "SELECT rowset, parent, mask FROM rowsets WHERE mask IS NOT NULL ORDER BY rowset"
    assert whole.sql(query).rows() == [
        ("document:third", "document", "third"),
        ("packed:third", "packed", "third"),
    ]
    assert whole.mask("third").predicate == "position % 3 = 1"
    sites = "SELECT DISTINCT site FROM tensors WHERE width = 5"
    assert whole.sql(sites).rows() == [(SITES[1],)]
    assert whole.tensor(tensors(whole, "packed")[1]).attributes()["columns"] == COLUMNS
    assert [*whole.verify()] == []


def test_again__is_found_complete(
    whole: Lake, tiny: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = whole.newest_snapshot()
    names = extract(whole, **asked(str(tiny("llama")), rowset="packed", model="packed"))
    assert names == tensors(whole, "packed")
    assert "found complete" in capsys.readouterr().err
    assert whole.newest_snapshot() == before


def test_default_names__tell_choices_apart() -> None:
    many = ",".join(str(n) for n in range(0, 99, 2))
    names = [
        tensor_name("m", f"mlp_act.3{columns}", "c") for columns in ("", "[0:64,100]", f"[{many}]")
    ]
    assert names[:2] == ["m:mlp_act.3@c", "m:mlp_act.3.0-64.100@c"]
    assert re.fullmatch(r"m:mlp_act\.3\.[0-9a-f]{8}@c", names[2])
    assert tensor_name("m", "embed", "c", 16, "third") == "m:embed@c:16:third"
    assert codes_name("d", "c", mask="third") == "d@c:third"
    assert dictionary_name("topk", "m", "embed[3]", 8) == "topk:m:embed.3:8"


def test_plan__prices_what_is_chosen(whole: Lake, tiny: Callable[[str], Path]) -> None:
    given = asked(str(tiny("llama")), rowset="document", model="fresh")
    del given["torch_threads"]
    rest: dict[str, Any] = dict.fromkeys(("revision", "window", "random_weights"))
    fixed: dict[str, Any] = {"compute_dtype": "float32", "attention": "auto", "device": "cpu"}
    found = forecast(whole, price=1.0, trust_remote_code=False, **given, **fixed, **rest)
    for row, name in zip(found.tensors.to_pylist(), tensors(whole, "document"), strict=True):
        chunks = [*whole.tensor(name).folder.glob("c.*")]
        assert row["tensor"] == name.replace("document", "fresh")
        assert (row["rows"], row["width"]) == whole.tensor(name).shape
        assert row["bytes"] == sum(file.stat().st_size for file in chunks)
    [passes] = found.passes
    assert passes.passes >= len(chunks)


def test_repair__computes_chosen_rows_and_columns_again(whole: Lake) -> None:
    damaged = {}
    for name in tensors(whole, "document") + tensors(whole, "packed")[1:]:
        for file in ("c.3.0", "zarr.json"):
            path = whole.tensor(name).folder / file
            damaged[path] = path.read_bytes()
    path = whole.rowset("packed:third").folder / "position" / "c.2"
    damaged[path] = path.read_bytes()
    for path, content in damaged.items():
        replace_file(path, content[:9] + bytes([content[9] ^ 1]) + content[10:])
    assert [str(one) for one in repair(whole) if not one.done] == []
    assert [path for path, content in damaged.items() if path.read_bytes() != content] == []


@pytest.mark.slow
def test_withdrawn__documents_leave_their_neighbours_rows(
    whole: Lake, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    copy = Lake.open(shutil.copytree(whole.root, tmp_path / "copy"))
    [name, _] = tensors(copy, "document")
    before = copy.tensor(name)[:]
    withdraw(copy, corpus="c", documents=[4], reason="asked")
    tensor = copy.tensor(name)
    gone = tensor.rowset.column("document") == 4
    assert np.isnan(tensor[:][gone]).all()
    loaded = load_model(str(tiny("llama")))
    seen = 0
    for shard in np.unique(np.flatnonzero(gone) // tensor.grid.shard_rows).tolist():
        start, stop = tensor.grid.span(shard)
        rows = capture_shard(
            copy, loaded, tensor.rowset, SITES[:1], shard, window=32, token_budget=64
        )[SITES[0]]
        assert rows.shape == (stop - start, 16)
        others = ~gone[start:stop]
        seen += others.sum()
        assert np.allclose(rows[others], before[start:stop][others], atol=1e-4)
    assert seen
    # The same condition chooses the same rows after it.
    again = copy.rowset(
        ingest_tokens(
            copy,
            corpus="c",
            source=str(tiny("llama")),
            windowing="document",
            overlap=CUTS["document"],
            rowset="document",
            rows="later=position % 3 = 1",
        )
    )
    assert again.fingerprint == copy.rowset("document:third").fingerprint
    np.testing.assert_array_equal(again.column("document"), tensor.rowset.column("document"))
    copy.close()


def test_statistics__take_chosen_rows_for_what_they_are(whole: Lake) -> None:
    rowset = whole.rowset("document:third")
    codes: Any = SimpleNamespace(grid=rowset.grid, rowset=rowset, shard=lambda _: None)
    rows = np.bincount(rowset.column("document"))
    ended = []
    for shard in range(len(rowset.grid)):
        block = block_of(whole, codes, whole.mask("all"), shard)
        # Of every third token neither neighbour is there.
        assert (block.previous_token == -1).all()
        assert (block.next_token == -1).all()
        ends = np.flatnonzero(block.document_rows)
        assert block.document_rows[ends].tolist() == rows[block.document[ends]].tolist()
        ended += block.document[ends].tolist()
    assert ended == np.flatnonzero(rows).tolist()


def test_delete__knows_what_was_chosen_from_what(whole: Lake) -> None:
    for kind, name in (("rowset", "packed"), ("mask", "third")):
        gone = {(one.kind, one.name) for one in would_delete(whole, kind=kind, name=name).things}
        assert {("rowset", "packed:third"), ("tensor", tensors(whole, "packed")[0])} <= gone
    assert ("rowset", "document:third") in gone  # with the mask


def test_command_line__chooses_rows_and_columns(
    lake: Lake, tiny: Callable[[str], Path], documents: Path, cli: Cli
) -> None:
    model = tiny("llama")
    line = ("ingest", documents, "--corpus", "c", "--id", "id", "--model", model)
    ok(cli(lake.root, *line, "--rows", "no_special"))
    few = ("--site", "resid_post.1[2]", "--rows", "no_special", "--torch-threads", 1)
    said = ok(cli(lake.root, "extract", model, "--corpus", "c", *few))
    assert said.split() == ["tiny-llama:resid_post.1.2@c:no_special"]
    tensor = lake.tensor(said.strip())
    assert tensor.rowset.name == "c@tiny-llama:no_special"
    assert not tensor.rowset.column("is_special").any()
    special = lake.rowset("c@tiny-llama").column("is_special")
    assert tensor.shape == ((~special).sum(), 1)


def test_bad_choices__are_refused(whole: Lake, tiny: Callable[[str], Path]) -> None:
    model = str(tiny("llama"))
    before = whole.newest_snapshot()
    for rows, error, message in (
        ("nothing", NotFoundError, "no mask 'nothing'"),
        ("third=position % 3 = 2", NameTakenError, "third means position % 3 = 1, not position"),
        ("new=1; DROP TABLE x", QueryError, "predicate|condition|one"),
        ("new=no_column > 1", QueryError, "no_column"),
        ("../x=position > 1", InputError, "is no name for a mask"),
        ("said=token_id = 9", InputError, "asks for token_id, and rows that are chosen by what"),
    ):
        with pytest.raises(error, match=message):
            ingest_tokens(whole, corpus="c", source=model, rows=rows)
    assert whole.newest_snapshot() == before
    with pytest.raises(CorpusError, match="would have no rows; none is under none"):
        ingest_tokens(whole, corpus="c", source=model, rows="none=position < 0")
    with pytest.raises(NotFoundError, match=r"no rowset 'packed:other'.*--rows other"):
        extract(whole, **asked(model, rowset="packed", rows="other"))
    for columns, message in (
        ("", "has no columns ''"),
        ("a", "has no columns 'a'"),
        ("3,3", "do not rise"),
        ("5,2", "do not rise"),
        ("4:4", "do not rise"),
        ("0:9:0", "has no columns '0:9:0'"),
        ("-1", "has no columns '-1'"),
        ("0:16777216", "has no columns"),
        ("16", "no column 16; resid_post.1 has 0 to 15"),
    ):
        with pytest.raises(InputError, match=message):
            extract(whole, **asked(model, rowset="packed", sites=[f"resid_post.1[{columns}]"]))


def test_split_columns__is_pythons_ranges() -> None:
    assert split_columns("mlp_act.3") == ("mlp_act.3", None)
    assert split_columns("a.b:output[7]") == ("a.b:output", (7,))
    expected = (*range(0, 64, 5), 70, *range(80, 83))
    assert split_columns("mlp_act.3[0:64:5,70,80:83]") == ("mlp_act.3", expected)


def test_attention_statistics__are_sites_like_any(
    whole: Lake, tiny: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    given = asked(str(tiny("llama")), rowset="packed", model="eager")
    given |= {"sites": ["attn_entropy.1", "attn_first.2[0,3]"], "dtype": "float16"}
    with pytest.raises(InputError, match="use --attention eager"):
        extract(whole, **given)
    names = extract(whole, **given, attention="eager")
    assert names == ["eager:attn_entropy.1@c:third", "eager:attn_first.2.0.3@c:third"]
    model = AutoModel.from_pretrained(tiny("llama"), attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny("llama"))
    entropies, firsts = [], []
    for ids, new in windows(tokenizer, all_texts(whole), 32, CUTS["packed"], packed=True):
        with torch.no_grad():
            maps = model(torch.tensor([ids]), output_attentions=True).attentions
        own = maps[1][0].double()
        entropies.append(-torch.where(own > 0, own * own.log(), 0).sum(-1).T[new])
        firsts.append(maps[2][0, :, :, 0].T[new][:, [0, 3]])
    rows = chosen(whole, tokenizer, "packed")
    for name, right in zip(names, (entropies, firsts), strict=True):
        assert np.abs(whole.tensor(name)[:] - np.concatenate(right)[rows]).max() < 2e-3
    tensor = whole.tensor(names[1])
    again = Extraction(whole, {}, "cpu").chunk(tensor, "rows", 1)
    assert again == (tensor.folder / "c.1.0").read_bytes()
