"""Weights of a dictionary as rows, with and without logits to have effects on."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from actlake.analytics.dictionaries.logit_effects import Unembedding
from actlake.flows.extract_again import Extraction
from actlake.flows.extraction import unembedding
from actlake.flows.summarize_weights import summarize_weights
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake


def features(lake: Lake) -> pl.DataFrame:
    return lake.table("features").sort("feature").collect()


def test_weights__are_rows_and_their_logits_come_when_there_is_a_head(
    dictionary_lake: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lake = Lake.open(shutil.copytree(dictionary_lake, tmp_path / "lake"))
    with pytest.raises(NotFoundError, match="nobody"):
        summarize_weights(lake, dictionary="nobody")
    with pytest.raises(InputError, match="at least 1 token"):
        summarize_weights(lake, dictionary="d", tokens=0)

    summarize_weights(lake, dictionary="d")  # the checkpoint has no head
    decoder = lake.dictionary("d").arrays["W_dec"].astype(float)
    plain = features(lake)
    assert plain["feature"].to_list() == [*range(len(decoder))]
    assert plain["decoder_norm"].to_numpy() == pytest.approx(np.linalg.norm(decoder, axis=1))
    assert plain["logit_std"].null_count() == len(decoder)
    assert plain["nearest_decoder"].null_count() == 0
    assert lake.table("feature_logits").collect().is_empty()
    newest = lake.newest_snapshot()
    summarize_weights(lake, dictionary="d")
    assert lake.newest_snapshot() == newest

    weight = np.random.default_rng(0).standard_normal((24, decoder.shape[1])).astype(np.float32)
    head = Unembedding(weight, np.ones(decoder.shape[1], np.float32), centres=False)
    monkeypatch.setattr(unembedding, "has_unembedding", lambda _facts: True)
    monkeypatch.setattr(unembedding, "load_unembedding", lambda _facts: head)
    summarize_weights(lake, dictionary="d", tokens=3)
    effects = decoder @ weight.T
    found = features(lake)
    assert len(found) == len(decoder)  # replaced, not added
    assert found["logit_std"].to_numpy() == pytest.approx(effects.std(axis=1), abs=1e-5)
    top = lake.table("feature_logits").filter(pl.col("kind") == "top", pl.col("rank") == 1)
    best = top.sort("feature").collect()["token_id"].to_list()
    assert best == effects.argmax(axis=1).tolist()
    assert [*lake.verify()] == []

    monkeypatch.setattr(Extraction, "facts", lambda *_: (_ for _ in ()).throw(InputError("x")))
    summarize_weights(lake, dictionary="d", tokens=3)
    assert "no effects of d on logits: x" in capsys.readouterr().err
    assert features(lake)["logit_std"].null_count() == len(decoder)
