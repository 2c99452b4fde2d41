"""Every flow twice: the second time finds all of it, runs no model, and commits nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actlake.analytics.dictionaries.topk import Trainer
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.extraction import models
from actlake.flows.ingest import ingest, ingest_documents, ingest_tokens
from actlake.flows.sources import Source
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage.errors import CorpusError, InputError, NameTakenError
from actlake.storage.lake import Lake
from tests.flows.tiny import save_model, state, write_documents


def test_second_time__nothing_is_run_or_written(
    dictionary_lake: Path,
    tiny: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    source = str(tiny("llama"))
    documents = Source(path=str(dictionary_lake.parent / "documents.jsonl"), id="id")
    dictionary: dict[str, Any] = {"k": 4, "n_features": 32, "steps": 30, "batch_rows": 64}

    def everything() -> None:
        ingest(lake, corpus="c", source=documents)
        ingest_tokens(lake, corpus="c", source=source)
        ingest_documents(lake, corpus="c")
        sites = ["resid_post.1", "pooled.mean"]
        extract(lake, source=source, sites=sites, corpus="c", torch_threads=1)
        train(lake, tensor="tiny-llama:resid_post.1@c", dictionary="d", **dictionary)
        train(lake, tensor="tiny-llama:resid_post.1@c", method="identity", k=4)
        summarize(lake, codes=encode(lake, dictionary="d"))

    everything()
    newest, before = lake.newest_snapshot(), state(lake)
    runs = lake.sql("SELECT count(*) FROM runs").rows()

    def never(*_: object, **__: object) -> Any:
        raise AssertionError("a model or a trainer was started")

    monkeypatch.setattr(models, "load_model", never)
    monkeypatch.setattr(models, "load_tokenizer", never)
    monkeypatch.setattr(Trainer, "start", never)
    everything()
    assert lake.newest_snapshot() == newest
    assert lake.sql("SELECT count(*) FROM runs").rows() == runs
    assert state(lake) == before


def test_another_site__keeps_what_is_there(
    lake: Lake, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"source": str(tiny("llama")), "corpus": "c", "torch_threads": 1}
    [first] = extract(lake, sites=["resid_post.1"], **options)
    committed = lake.sql("SELECT * FROM shards WHERE owner = $o", o=lake.tensor(first).id).rows()
    extract(lake, sites=["mlp_out.0"], **options)
    monkeypatch.setattr(models, "load_model", None)  # both are there: no model is wanted
    extract(lake, sites=["resid_post.1", "mlp_out.0"], **options)
    again = lake.sql("SELECT * FROM shards WHERE owner = $o", o=lake.tensor(first).id).rows()
    assert sorted(map(repr, again)) == sorted(map(repr, committed))


def test_taken_names__mean_what_they_meant(
    lake: Lake, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    other = write_documents(tmp_path / "other.jsonl", (5, 6), seed=9)
    before = state(lake)
    with pytest.raises(NameTakenError, match="'c' is taken"):
        ingest(lake, corpus="c", source=Source(path=str(other), id="id"))
    with pytest.raises(NameTakenError, match="'c@tiny-llama' is taken"):
        ingest_tokens(lake, corpus="c", source=str(tiny("llama")), overlap=4)
    stranger = save_model("bert", tmp_path / "elsewhere" / "tiny-llama")
    tokenizer = stranger / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"w0"', '"v0"'), "utf-8")
    # Its rows would show the tokens of the other: the vocabulary is stored by this name.
    with pytest.raises(NameTakenError, match="tokenizer name 'tiny-llama' is taken"):
        ingest_tokens(lake, corpus="c", source=str(stranger), rowset="mine")
    assert state(lake) == before
    assert ingest_tokens(lake, corpus="c", source=str(stranger), model="b") == "c@b"


def test_bad_corpora__leave_no_trace(
    lake: Lake, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    blank = tmp_path / "blank.jsonl"
    blank.write_text('{"text": "w1"}\n{"text": " "}\n', "utf-8")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", "utf-8")
    source = str(tiny("llama"))
    before = state(lake)
    for path in (blank, empty, tmp_path / "missing.jsonl"):
        with pytest.raises(CorpusError, match=path.name):
            ingest(lake, corpus="d", source=Source(path=str(path)))
    runs = lake.sql("SELECT count(*) FROM runs").rows()
    for name in ("../c", "a/b", "", "x" * 121, "a b", ".hidden", "a\nb"):
        with pytest.raises(InputError, match="is no name for a corpus"):
            ingest(lake, corpus=name, source=Source(path=str(blank)))
    for options, message in (
        ({"window": 33}, "33 tokens and tiny-llama takes 32"),
        ({"window": 2}, "no room"),
        ({"window": 0}, "no room"),
        ({"overlap": 30}, "no room"),
        ({"overlap": -1}, "negative"),
        ({"windowing": "diagonal"}, "no windowing 'diagonal'"),
        ({"corpus": "d"}, "no corpus 'd'"),
        ({"rowset": "a/b"}, "is no name for a rowset"),
    ):
        given: dict[str, Any] = {"corpus": "c", "source": source, "rowset": "r", **options}
        with pytest.raises(InputError, match=message):
            ingest_tokens(lake, **given)
    assert state(lake) == before
    # Where only the arguments are wrong, no run begins.
    assert lake.sql("SELECT count(*) FROM runs WHERE flow <> 'ingest'").rows() == [(0,)]
    assert runs == [(2,)]
