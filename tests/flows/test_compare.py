"""compare: planted partners come back across tokenizers, and chance stays chance."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from actlake.flows.aligned import aligned_rows
from actlake.flows.compare import compare
from actlake.flows.encode import encode
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage import Document, Lake
from actlake.storage.errors import InputError, LakeError, NotFoundError
from tests.flows.planted_pair import (
    ALONE,
    DOCUMENTS,
    SHARED,
    TENSOR_A,
    TENSOR_B,
    A,
    B,
    build_planted_pair,
    partner_of,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = build_planted_pair(tmp_path_factory.mktemp("pair") / "lake")
    yield lake
    lake.close()


@pytest.fixture
def own(pair: Lake, tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(shutil.copytree(pair.root, tmp_path / "lake"))
    yield lake
    lake.close()


def matches(lake: Lake, **where: object) -> pl.DataFrame:
    table = lake.table("feature_matches").collect()
    return table.filter(**where) if where else table


@pytest.fixture(scope="module")
def compared(pair: Lake) -> Lake:
    compare(pair, a=A, b=B, mask="all")
    compare(pair, a=TENSOR_A, b=TENSOR_B, mask="all", permutations=19)
    return pair


def test_matches__are_the_planted_ones(compared: Lake) -> None:
    found = matches(compared, best_of="a", method="activation")
    mutual = found.filter(pl.col("is_mutual") & (pl.col("q") <= 0.05))
    planted = set(enumerate(partner_of().tolist()))
    recovered = set(zip(mutual["feature_a"], mutual["feature_b"], strict=True))
    assert len(recovered & planted) >= 0.95 * SHARED
    # A false discovery rate of 5 % lets one or two of the lone features through at most.
    assert len(recovered - planted) <= 2
    scores = dict(zip(found["feature_a"], found["score"], strict=True))
    assert min(scores[feature] for feature in range(SHARED)) > 0.5
    assert max(scores[feature] for feature in range(SHARED, SHARED + ALONE)) < 0.2


def test_matches__have_both_directions_with_their_margins_and_nulls(compared: Lake) -> None:
    found = matches(compared)
    assert found.group_by("best_of").len().sort("best_of")["len"].to_list() == [36, 36]
    there = found.filter(best_of="a", is_mutual=True).select("feature_a", "feature_b")
    back = found.filter(best_of="b", is_mutual=True).select("feature_a", "feature_b")
    assert set(there.rows()) == set(back.rows())
    assert (found["margin"].drop_nulls() >= 0).all()
    assert (found["null_mean"] < found["null_high"]).all()
    assert found["p"].is_between(0, 1).all()
    assert found["n_joint"].is_between(0, found["n_fires"]).all()


def test_comparison__says_what_was_aligned(compared: Lake) -> None:
    [row] = compared.table("comparisons").collect().to_dicts()
    assert row["documents"] == DOCUMENTS
    assert row["units"] == DOCUMENTS * 60  # words, of which pairs of characters are parts
    # Spaces are in no pair of characters.
    texts = (
        compared.sql(
            "SELECT sum(length(text)) AS n, sum(length(replace(text, ' ', ''))) AS m FROM documents"
        )
        .arrow()
        .to_pylist()[0]
    )
    assert row["text_aligned"] == pytest.approx(texts["m"] / texts["n"])
    assert row["rows_aligned_a"] == row["rows_aligned_b"] == 1
    assert row["mutual"] == matches(compared, best_of="a", is_mutual=True).height
    assert (row["tested_a"], row["tested_b"], row["permutations"]) == (36, 36, 20)


def test_tensors__are_alike_beyond_chance(compared: Lake) -> None:
    rows = {row["method"]: row for row in compared.table("similarities").collect().to_dicts()}
    assert rows.keys() == {"cka", "svcca"}
    for row in rows.values():
        assert row["value"] > row["null_mean"] + 0.2
        assert row["p"] == 1 / 20
        assert row["n"] <= 3600
    assert rows["cka"]["value"] < 0.95  # a third of the features are each side's own


def test_universal_features__are_those_with_a_sure_partner(compared: Lake) -> None:
    asked: dict[str, Any] = {"codes": A, "mask": "all", "q": 0.05, "limit": 100}
    found = compared.query("universal_features", **asked).pl()
    partners = dict(zip(found["feature"], found["partners"], strict=True))
    planted = enumerate(partner_of().tolist())
    held = sum(partners.get(feature, [None])[0] == f"{B} {other}" for feature, other in planted)
    assert held >= 0.95 * SHARED
    assert found["n_codes"].to_list() == [1] * found.height
    # The other side asks the same and hears the same.
    back = compared.query("universal_features", **{**asked, "codes": B}).pl()
    assert sorted(back["mean_score"]) == pytest.approx(sorted(found["mean_score"]))


def test_orphans__are_the_features_of_one_side(compared: Lake) -> None:
    asked: dict[str, Any] = {"mask": "all", "q": 0.05, "limit": 100}
    for codes, others, shared in ((A, B, set(range(SHARED))), (B, A, {*partner_of().tolist()})):
        found = compared.query("orphans", codes=codes, others=others, **asked).pl()
        assert len(set(found["feature"]) & shared) <= 1
        assert len(set(found["feature"]) - shared) >= ALONE - 2
        assert (found["q"] > 0.05).all()


def test_matches_of_feature__name_its_partner(compared: Lake) -> None:
    summarize(compared, codes=A, mask="all", examples=2)
    summarize(compared, codes=B, mask="all", examples=2)
    asked: dict[str, Any] = {"codes": A, "mask": "all", "feature": 0, "limit": 2}
    [row] = compared.query("matches_of_feature", **asked).pl().to_dicts()
    assert (row["other_codes"], row["other_feature"]) == (B, int(partner_of()[0]))
    assert row["is_mutual"]
    word = row["contexts"][0].split("«")[1].split("»")[0].strip()
    piece = row["other_contexts"][0].split("«")[1].split("»")[0]
    assert len(row["contexts"]) == len(row["other_contexts"]) == 2
    assert 2 <= len(word) < 8
    assert 1 <= len(piece) <= 2


def test_runs__are_told_by_flow_and_between_snapshots(compared: Lake) -> None:
    flows = {
        row["flow"]: row for row in compared.query("runs_and_schedules", days=1).pl().to_dicts()
    }
    assert flows["compare"]["runs"] == flows["compare"]["completed"] == 2
    assert flows["compare"]["under_prefect"] == 0
    assert flows["compare"]["hours_between"] < 1
    newest = compared.newest_snapshot()
    changes = compared.query("changes_between", first=0, last=newest).pl()
    matched = changes.filter(kind="feature_matches").to_dicts()
    assert [(row["flow"], row["n"]) for row in matched] == [("compare", 72)]
    after = matched[0]["snapshot_after"]
    assert compared.query("changes_between", first=newest, last=newest).pl().height == 0
    assert after in set(
        compared.query("changes_between", first=after - 1, last=after).pl()["snapshot_after"]
    )


def test_same_comparison__is_not_made_twice_and_another_replaces_it(own: Lake) -> None:
    compare(own, a=A, b=B, mask="all", permutations=2)
    first = own.newest_snapshot()
    compare(own, a=A, b=B, mask="all", permutations=2)
    assert own.newest_snapshot() == first
    compare(own, a=A, b=B, mask="all", permutations=3)
    [row] = own.table("comparisons").collect().to_dicts()
    assert row["permutations"] == 3
    assert set(matches(own)["run"]) == {row["run"]}
    compare(own, a=A, b=B, mask="all", permutations=2)  # which is work again, and the same
    [row] = own.table("comparisons").collect().to_dicts()
    assert row["permutations"] == 2


def test_pair__is_one_whichever_way_round(own: Lake) -> None:
    compare(own, a=A, b=B, mask="all", permutations=2)
    there = matches(own).filter(best_of="a")
    compare(own, a=B, b=A, mask="all", permutations=2)
    assert set(matches(own)["codes_a"]) == {B}
    assert own.table("comparisons").collect()["codes_a"].to_list() == [B]
    back = matches(own).filter(best_of="b")  # B was named first, so these are those of A
    assert back.sort("feature_b")["score"].to_list() == pytest.approx(
        there.sort("feature_a")["score"].to_list()
    )
    newest = own.newest_snapshot()
    compare(own, a=B, b=A, mask="all", permutations=2)
    assert own.newest_snapshot() == newest
    orphans = own.query("orphans", codes=A, others=B, mask="all", q=0.05, limit=100).pl()
    assert orphans["feature"].is_unique().all()
    for a, b in ((TENSOR_A, TENSOR_B), (TENSOR_B, TENSOR_A)):
        compare(own, a=a, b=b, mask="all", permutations=2)
    assert own.table("similarities").collect()["tensor_a"].to_list() == [TENSOR_B] * 2


def test_few_rows__are_of_many_documents(pair: Lake) -> None:
    one, other, mask = pair.tensor(TENSOR_A), pair.tensor(TENSOR_B), pair.mask("all")
    aligned = aligned_rows(pair, one, other, mask, most_rows=640, seed=3)
    documents, counts = np.unique(aligned.document, return_counts=True)
    assert len(documents) >= 32
    assert counts.max() <= 640 // 32
    # What was drawn is the beginning of each document, the same text on both sides.
    whole = aligned_rows(pair, one, other, mask, most_rows=1 << 30, seed=3)
    for document in documents[:3]:
        begun = aligned.document == document
        full = np.flatnonzero(whole.document == document)[: begun.sum()]
        np.testing.assert_array_equal(aligned.a[begun], whole.a[full])
        np.testing.assert_array_equal(aligned.b[begun], whole.b[full])


def test_unrelated_codes__stay_near_chance(own: Lake) -> None:
    rng = np.random.default_rng(8)
    rows = own.rowset("planted@b").rows
    values = rng.lognormal(1, 0.3, (rows, 20)) * (rng.random((rows, 20)) < 0.08)
    with own.create_tensor("noise", rowset="planted@b", width=20, dtype="float32") as writer:
        writer.append(values.astype(np.float32))
    dictionary = train(
        own, tensor="noise", method="identity", k=20, dictionary="n", baselines=False
    )
    encode(own, dictionary=dictionary, codes="noise-codes")
    compare(own, a=A, b="noise-codes", mask="all")
    found = matches(own, codes_b="noise-codes")
    assert (found["q"] <= 0.05).sum() <= 1
    assert found["p"].mean() == pytest.approx(0.5, abs=0.2)
    compare(own, a=TENSOR_A, b="noise", mask="all", permutations=19)
    of_noise = (pl.col("method") == "cka") & (pl.col("tensor_b") == "noise")
    [cka] = own.table("similarities").filter(of_noise).collect().to_dicts()
    assert abs(cka["value"]) < 0.02


def test_two_dictionaries_of_one_site__are_also_matched_by_direction(own: Lake) -> None:
    for seed in (0, 1):
        name = train(
            own,
            tensor=TENSOR_A,
            method="random",
            n_features=48,
            k=8,
            seed=seed,
            dictionary=f"random{seed}",
            baselines=False,
            mask="all",
        )
        encode(own, dictionary=name, codes=f"random{seed}-codes")
    compare(own, a="random0-codes", b="random1-codes", mask="all", permutations=2)
    found = matches(own, method="decoder")
    assert found.height == 96
    # Directions drawn apart: the best of 48 is what chance makes of it.
    assert found["score"].mean() == pytest.approx(found["null_mean"].mean(), abs=0.03)
    assert found["p"].mean() == pytest.approx(0.5, abs=0.15)
    assert own.table("comparisons").filter(pl.col("method") == "decoder").collect().height == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"a": A, "b": A}, InputError, "given twice"),
        ({"a": A, "b": "nothing"}, NotFoundError, "no codes or tensor 'nothing'"),
        ({"a": A, "b": TENSOR_B}, InputError, "codes and a tensor"),
        ({"a": A, "b": B, "mask": "nowhere"}, InputError, "nothing is aligned"),
        ({"a": A, "b": B, "mask": "unknown"}, NotFoundError, "no mask 'unknown'"),
        ({"a": A, "b": B, "min_fires": 1}, InputError, "cannot be compared"),
        ({"a": A, "b": B, "permutations": -1}, InputError, "permutations is -1"),
        ({"a": A, "b": B, "permutations": 0}, InputError, "permutations is 0"),
        ({"a": A, "b": B, "min_fires": 10**6}, InputError, "smaller --min-fires"),
        ({"a": A, "b": B, "most_rows": 3}, InputError, "too few"),
        ({"a": A, "b": B, "seed": -1}, InputError, "the seed is -1"),
        ({"a": TENSOR_A, "b": TENSOR_B, "most_rows": 3}, InputError, "too few"),
        ({"a": TENSOR_A, "b": TENSOR_B, "permutations": 0}, InputError, "permutations is 0"),
        ({"a": A, "b": "other-codes"}, InputError, "compared over one corpus"),
    ],
)
def test_bad_input__is_one_line_and_changes_nothing(
    pair: Lake, arguments: dict[str, str], error: type[LakeError], message: str
) -> None:
    if "nowhere" not in pair.table("masks").collect()["mask"]:
        pair.create_mask("nowhere", "position < 0")
        pair.create_corpus("other", [Document(f"o{i}", f"text {i} here") for i in range(30)])
        pair.create_rowset("other@a", corpus="other", columns={"document": np.arange(30)})
        with pair.create_tensor("other", rowset="other@a", width=4, dtype="float32") as writer:
            writer.append(np.ones((30, 4), np.float32))
        train(pair, tensor="other", method="identity", k=4, dictionary="other", baselines=False)
        encode(pair, dictionary="other", codes="other-codes")
    tables = ("feature_matches", "comparisons", "similarities")
    before = {name: pair.table(name).collect() for name in tables}
    with pytest.raises(error, match=message) as raised:
        compare(pair, **{"mask": "all", **arguments})  # type: ignore[arg-type] # mixed on purpose
    assert "\n" not in str(raised.value)
    for name, table in before.items():
        assert pair.table(name).collect().equals(table), name
