"""Weights of a dictionary as rows, with and without logits to have effects on."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import false_discovery_control, ks_2samp

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
    with pytest.raises(InputError, match="give 1 or more"):
        summarize_weights(lake, dictionary="d", tokens=0)
    with pytest.raises(InputError, match="give 1 neighbour or more"):
        summarize_weights(lake, dictionary="d", neighbours=0)

    summarize_weights(lake, dictionary="d")  # the checkpoint has no head
    decoder = lake.dictionary("d").arrays["W_dec"].astype(float)
    plain = features(lake)
    assert plain["feature"].to_list() == [*range(len(decoder))]
    assert plain["decoder_norm"].to_numpy() == pytest.approx(np.linalg.norm(decoder, axis=1))
    assert plain["logit_std"].null_count() == len(decoder)
    assert plain["nearest_decoder"].null_count() == 0
    assert lake.table("feature_logits").collect().is_empty()
    unit = decoder / np.linalg.norm(decoder, axis=1, keepdims=True)
    cosine = unit @ unit.T - 9 * np.eye(len(unit))
    near = lake.table("feature_neighbours").sort("feature", "rank").collect()
    order = np.argsort(-cosine, axis=1)[:, :10]
    assert near["rank"].to_list() == [*range(1, 11)] * len(decoder)
    assert near["neighbour"].to_numpy().reshape(-1, 10).tolist() == order.tolist()
    cosines = np.take_along_axis(cosine, order, axis=1).ravel()
    assert near["cosine"].to_numpy() == pytest.approx(cosines, abs=1e-6)
    firsts = near.filter(rank=1)
    for one, column in (("neighbour", "nearest_decoder"), ("p", "nearest_decoder_p")):
        assert firsts[one].to_list() == plain[column].to_list()
    newest = lake.newest_snapshot()
    summarize_weights(lake, dictionary="d")
    assert lake.newest_snapshot() == newest

    assert lake.table("feature_token_sets").collect().is_empty()
    named = ["SELECT token_id, text FROM vocabulary ORDER BY token_id"]
    texts = [str(text) for _, text in lake.sql(*named).rows()]
    words = (len(texts), decoder.shape[1])
    weight = np.random.default_rng(0).standard_normal(words).astype(np.float32)
    head = Unembedding(weight, np.ones(decoder.shape[1], np.float32), centres=False)
    monkeypatch.setattr(unembedding, "has_unembedding", lambda _facts: True)
    monkeypatch.setattr(unembedding, "load_unembedding", lambda _facts: head)
    effects = decoder @ weight.T
    order = np.argsort(-effects[0])
    mine = {"first": [texts[one] for one in order[:4]], "some": [*texts[5:9], "no token"]}
    with pytest.raises(InputError, match="'space' is there for every vocabulary"):
        summarize_weights(lake, dictionary="d", token_sets={"space": [" a"]})
    with pytest.raises(InputError, match="none of the 1 entries of the token set 'x'"):
        summarize_weights(lake, dictionary="d", token_sets={"x": ["no token"]})
    summarize_weights(lake, dictionary="d", tokens=3, neighbours=2, token_sets=mine)
    assert len(lake.table("feature_neighbours").collect()) == 2 * len(decoder)
    assert "token set some: 1 of 5 entries are no token: 'no token'" in capsys.readouterr().err
    found = features(lake)
    assert len(found) == len(decoder)  # replaced, not added
    assert found["logit_std"].to_numpy() == pytest.approx(effects.std(axis=1), abs=1e-5)
    top = lake.table("feature_logits").filter(pl.col("kind") == "top", pl.col("rank") == 1)
    best = top.sort("feature").collect()["token_id"].to_list()
    assert best == effects.argmax(axis=1).tolist()
    sets = lake.table("feature_token_sets").collect()
    names = sets["token_set"].unique().to_list()
    assert {"first", "some"} <= set(names)
    assert len(sets) == len(names) * len(decoder)
    assert set(sets["n_tokens"]) == {len(texts)}
    assert set(sets["n_tests"]) == {len(sets)}
    whole = sets.filter(feature=0, token_set="first").row(0, named=True)
    inside = np.isin(texts, [one for text in mine["first"] for one in (text, f" {text}")])
    right = ks_2samp(-effects[0][inside], -effects[0][~inside], method="asymp")
    assert whole["n_set"] == inside.sum()
    assert abs(whole["score"]) == pytest.approx(right.statistic, abs=1e-6)
    assert whole["random_score"] < 1
    assert sets["q"].to_numpy() == pytest.approx(false_discovery_control(sets["p"].to_numpy()))
    assert [*lake.verify()] == []

    monkeypatch.setattr(Extraction, "facts", lambda *_: (_ for _ in ()).throw(InputError("x")))
    summarize_weights(lake, dictionary="d", tokens=3)
    assert "no effects of d on logits: x" in capsys.readouterr().err
    assert features(lake)["logit_std"].null_count() == len(decoder)
    assert lake.table("feature_token_sets").collect().is_empty()  # nor what was told before
    summarize_weights(lake, dictionary="d", token_sets={"x": ["no token"]})
    assert "d has no effects on logits that token sets" in capsys.readouterr().err
