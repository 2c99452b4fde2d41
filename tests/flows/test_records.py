"""Pairs, families, labels and changes of a lake: planted truths, numpy and scipy beside the SQL."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

from actlake.flows import codes_blocks
from actlake.flows import summarize_pairs as pairs_module
from actlake.flows.delete import delete
from actlake.flows.diff_corpora import diff_corpora
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.summarize_pairs import summarize_pairs
from actlake.flows.withdraw import withdraw
from actlake.storage.errors import LakeError
from actlake.storage.lake import Lake
from tests.flows.commands import Cli, ok
from tests.flows.record_lake import (
    BURSTY,
    CHANGED,
    CHILDREN,
    DEAD,
    DOCUMENTS,
    EVERYWHERE,
    FEATURES,
    IN_ONE,
    MASK,
    NOW,
    PARENT,
    THEN,
    TWINS,
    WORDS,
    codes_of,
    party,
    planted,
    shared_record_lake,  # noqa: F401  # a fixture
    side,
)

CODES = codes_of(NOW)
RECORDS = ("feature_pairs", "feature_families", "feature_labels", "feature_changes")


def by_row(corpus: str = NOW) -> NDArray[np.float64]:
    """Values under the mask, shape (documents, WORDS, features)."""
    x = planted(corpus).astype(float).reshape(DOCUMENTS[corpus], WORDS + 1, FEATURES)
    return x[:, 1:]


def units(level: str) -> NDArray[np.float64]:
    return by_row().max(axis=1) if level == "document" else by_row().reshape(-1, FEATURES)


def rows(lake: Lake, table: str, **where: Any) -> pl.DataFrame:
    return lake.table(table).filter(**where).collect()


def ask(lake: Lake, query: str, **parameters: Any) -> pl.DataFrame:
    return lake.query(query, **parameters).pl()


def contents(lake: Lake) -> dict[str, list[str]]:
    tables = (lake.table(name).collect().drop("run") for name in RECORDS)
    return {
        name: sorted(map(str, table.iter_rows()))
        for name, table in zip(RECORDS, tables, strict=True)
    }


@pytest.fixture
def copied(record_lake: Lake, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))


def test_lake__is_sound(record_lake: Lake) -> None:
    assert [str(fault) for fault in record_lake.verify()] == []


@pytest.mark.parametrize("level", ["token", "document"])
def test_pair_scores__are_those_of_dense_columns(record_lake: Lake, level: str) -> None:
    x = units(level)
    n, fires = len(x), x > 0
    found = rows(record_lake, "pair_scores", level=level, codes=CODES)
    assert len(found) > 20
    for row in found.iter_rows(named=True):
        a, b = row["feature_a"], row["feature_b"]
        both, k_a, k_b = (fires[:, a] & fires[:, b]).sum(), fires[:, a].sum(), fires[:, b].sum()
        assert (row["n"], row["joint"], row["fires_a"], row["fires_b"]) == (n, both, k_a, k_b)
        with np.errstate(all="ignore"):
            pmi = np.log(both * n / (k_a * k_b))
            right = {
                "lift": both * n / (k_a * k_b),
                "pmi": pmi,
                "npmi": pmi / -np.log(both / n) if both < n else 0,
                "jaccard": both / (fires[:, a] | fires[:, b]).sum(),
                "overlap": both / min(k_a, k_b),
                "given_a": both / k_a,
                "given_b": both / k_b,
                "cosine": x[:, a] @ x[:, b] / np.linalg.norm(x[:, a]) / np.linalg.norm(x[:, b]),
                "pearson": np.corrcoef(x[:, a], x[:, b])[0, 1],
                "p": stats.hypergeom.sf(both - 1, n, k_a, k_b),
            }
        if max(k_a, k_b) < n:  # analytics.G6
            right["phi"] = np.corrcoef(fires[:, a], fires[:, b])[0, 1]
        else:
            assert row["phi"] is None
        for name, value in right.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_feature_pairs__keep_the_planted_partners_with_q_over_all_pairs(record_lake: Lake) -> None:
    found = rows(record_lake, "feature_pairs", level="token", rank=1)
    best = dict(zip(found["feature_a"].to_list(), found["feature_b"].to_list(), strict=True))
    assert best[TWINS[0]] == TWINS[1]
    assert best[TWINS[1]] == TWINS[0]
    assert {best[child] for child in CHILDREN} == {PARENT}
    fires = (units("token") > 0).sum(axis=0)
    often = int((fires >= 10).sum())
    every = rows(record_lake, "feature_pairs", level="token")
    assert set(every["n_tests"]) == {often * (often - 1) // 2}
    # Beside every pair that was not kept, as if its p were 1.
    one_way = every.filter(pl.col("feature_a") < pl.col("feature_b"))
    other = every.join(
        one_way, left_on=["feature_a", "feature_b"], right_on=["feature_b", "feature_a"], how="anti"
    ).filter(pl.col("feature_a") > pl.col("feature_b"))
    p = np.array([*one_way["p"], *other["p"]])
    padded = np.concatenate((p, np.ones(int(every["n_tests"][0]) - len(p))))
    right = stats.false_discovery_control(padded)[: len(p)]
    assert [*one_way["q"], *other["q"]] == pytest.approx(right.tolist())


def test_feature_pairs__know_directions_and_redundancy(record_lake: Lake) -> None:
    found = rows(record_lake, "feature_pairs", level="token")
    twins = found.filter(feature_a=TWINS[0], feature_b=TWINS[1]).row(0, named=True)
    assert twins["decoder_cosine"] == pytest.approx(0.5)
    assert twins["redundancy_a"] > 0.95
    assert twins["weight"] > 0.4
    others = found.filter(~pl.col("feature_a").is_in(TWINS))
    assert others["decoder_cosine"].abs().max() < 1e-6
    assert others["redundancy_a"].is_between(0, 0.95).all()
    plain = rows(record_lake, "feature_pairs", level="document")
    assert plain["weight"].null_count() == plain["redundancy_a"].null_count() == len(plain)


def test_partners_of_feature__tell_chance_from_more(record_lake: Lake) -> None:
    given = {"codes": CODES, "mask": MASK, "level": "token"}
    found = ask(record_lake, "partners_of_feature", feature=CHILDREN[0], **given)
    first = found.row(0, named=True)
    density = (units("token")[:, PARENT] > 0).mean()
    # analytics.D8: nested, so P(parent | child) = 1 and PMI = -ln density of the parent.
    assert (first["partner"], first["given_feature"]) == (PARENT, 1)
    assert first["pmi"] == pytest.approx(-np.log(density))
    assert first["q"] < 1e-10
    assert (found["q"][1:] > 0.05).all()


def test_families_of_codes__are_the_planted_one(record_lake: Lake) -> None:
    given = {"codes": CODES, "mask": MASK, "level": "token", "limit": 9}
    found = ask(record_lake, "families_of_codes", **given)
    [family] = found.to_dicts()
    assert family["root"] == PARENT
    assert sorted(family["features"]) == [PARENT, *CHILDREN]
    assert family["features"][0] == PARENT
    assert family["cohesion"] is None  # children that never meet
    assert family["root_fires"] == (units("token")[:, PARENT] > 0).sum()
    assert family["mean_share"] > 0.9


def test_pairs__are_the_same_however_codes_are_cut(
    copied: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copied)
    monkeypatch.setattr(codes_blocks, "VALUES", 600)
    monkeypatch.setattr(pairs_module, "WORK", 500)
    monkeypatch.setattr(pairs_module, "CODE_VERSION", "other")
    summarize_pairs(copied, codes=CODES, min_fires=10, with_redundancy=True)
    after = contents(copied)
    assert after["feature_families"] == before["feature_families"]
    assert after["feature_pairs"] == before["feature_pairs"]


def test_label_scores__are_those_of_scipy(record_lake: Lake) -> None:
    x = units("document")
    y = np.array([side(one) == "x" for one in range(len(x))])
    found = rows(record_lake, "label_scores", level="document", value="x", subset="")
    assert set(found["feature"]) == set(range(FEATURES)) - {DEAD}
    for row in found.iter_rows(named=True):
        a = x[:, row["feature"]]
        fires = a > 0
        right = {
            "prevalence": y.mean(),
            "prevalence_firing": y[fires].mean(),
            "lift": y[fires].mean() / y.mean(),
            "rate_difference": fires[y].mean() - fires[~y].mean(),
            "welch_t": stats.ttest_ind(a[y], a[~y], equal_var=False).statistic,
            "point_biserial": stats.pointbiserialr(y, a).statistic,
            "auroc": stats.mannwhitneyu(a[y], a[~y]).statistic / y.sum() / (~y).sum(),
        }
        spread = np.sqrt((a[y].var() * y.sum() + a[~y].var() * (~y).sum()) / (len(y) - 2))
        right["cohen_d"] = (a[y].mean() - a[~y].mean()) / spread
        if 0 < fires.sum() < len(fires):
            table = np.array(
                [[(fires & y).sum(), (fires & ~y).sum()], [(~fires & y).sum(), (~fires & ~y).sum()]]
            )
            chi2 = stats.chi2_contingency(table, correction=False).statistic
            right |= {"chi2": chi2, "phi": np.corrcoef(fires, y)[0, 1]}
            g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
            right["mutual_information"] = g / (2 * len(y))
            right["mutual_information_corrected"] = (g - 1) / (2 * len(y))  # analytics.C8
        else:
            assert row["chi2"] is None
            assert row["mutual_information_corrected"] == row["mutual_information"] == 0
        for name, value in right.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-10), name


def test_features_of_label__hold_in_every_subset_or_in_one(record_lake: Lake) -> None:
    given = {"codes": CODES, "mask": MASK, "label": "side", "value": "x", "q": 0.01, "limit": 9}
    found = ask(record_lake, "features_of_label", **given)
    within = found.filter(level="document").to_dicts()
    first = within[0]
    assert (first["feature"], first["holds"], first["auroc"]) == (EVERYWHERE, "in every subset", 1)
    assert (first["rate_positive"], first["rate_negative"]) == (1, 0)
    [one] = [row for row in within if row["feature"] == IN_ONE]
    assert (one["holds"], one["strongest_subset"]) == ("in one subset", "A")
    assert one["auroc_max"] == 1
    assert abs(one["auroc_min"] - 0.5) < 0.25
    # The smallest over subsets ranks the general one first; the largest has both (analytics.C3).
    subsets = rows(record_lake, "label_subsets", value="x")
    assert subsets.sort("auroc_min")["feature"][-1] == EVERYWHERE
    assert set(subsets.filter(pl.col("auroc_max") == 1)["feature"]) == {EVERYWHERE, IN_ONE}
    assert {row["holds"] for row in found.filter(level="token").to_dicts()} <= {None}


def test_token_labels__take_documents_for_clusters(record_lake: Lake) -> None:
    found = rows(record_lake, "feature_labels", level="token", value="x").sort("feature")
    x, y = units("token"), np.repeat([side(one) == "x" for one in range(60)], WORDS)
    by_rows = [
        stats.fisher_exact(
            [
                [(x[y, f] > 0).sum(), (x[y, f] == 0).sum()],
                [(x[~y, f] > 0).sum(), (x[~y, f] == 0).sum()],
            ]
        ).pvalue
        for f in found["feature"].to_list()
    ]
    assert found["n_positive"][0] == y.sum()
    assert found["pooling"][0] == ""
    p = dict(zip(found["feature"].to_list(), found["p"].to_list(), strict=True))
    assert {feature for feature, value in p.items() if value < 0.001} == {EVERYWHERE, IN_ONE}
    # Rows for independent units would call the bursty one a finding, or near it.
    assert dict(zip(p, by_rows, strict=True))[BURSTY] < 0.1 * p[BURSTY]


def test_changes_between_corpora__are_the_planted_one(record_lake: Lake) -> None:
    given = {"mask": MASK, "q": 0.01, "limit": 9}
    there = ask(record_lake, "changes_between_corpora", codes=CODES, others=codes_of(THEN), **given)
    back = ask(record_lake, "changes_between_corpora", codes=codes_of(THEN), others=CODES, **given)
    [change], [reverse] = there.to_dicts(), back.to_dicts()
    assert change["feature"] == CHANGED
    rates = [(by_row(corpus)[..., CHANGED] > 0).mean() for corpus in (NOW, THEN)]
    assert change["change"] == pytest.approx(rates[1] - rates[0])
    assert change["low"] < 0.2 < change["high"]
    assert change["ratio"] == pytest.approx(rates[1] / rates[0])
    assert reverse["change"] == -change["change"]
    assert (reverse["rate_codes"], reverse["low"]) == (change["rate_others"], -change["high"])
    assert change["n_tests"] == FEATURES - 1  # the dead one is not compared
    kept = rows(record_lake, "feature_changes").sort("feature")
    assert kept["fires_b"].to_list() == (by_row(THEN) > 0).sum(axis=(0, 1)).tolist()
    assert kept["firing_documents_a"].to_list() == (by_row() > 0).any(axis=1).sum(axis=0).tolist()
    assert kept["q"].null_count() == 1


Call = Callable[[Lake], object]


def test_what_cannot_be_asked__is_one_line_and_writes_nothing(copied: Lake) -> None:
    copied.create_mask("never", "position < 0")
    before = contents(copied)
    pairs: dict[str, Any] = {"codes": CODES}
    side_: dict[str, Any] = {"codes": CODES, "label": "side"}
    calls: list[tuple[Call, str]] = [
        (lambda lake: summarize_pairs(lake, **pairs, mask="never"), "no row of now@words is under"),
        (lambda lake: summarize_pairs(lake, **pairs, level="word"), "no level 'word'"),
        (lambda lake: summarize_pairs(lake, **pairs, top=0), "top is 0"),
        (lambda lake: summarize_pairs(lake, **pairs, min_fires=9999), "no two features of"),
        (lambda lake: summarize_pairs(lake, codes="x"), "no codes 'x'"),
        (lambda lake: summarize_labels(lake, **side_, mask="never"), "no row of now@words"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="nothing"), "no label 'nothing'"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="same"), "one value, 'always'"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="number"), "60 values, more than"),
        (lambda lake: summarize_labels(lake, codes=CODES, label="half"), "one value, 'yes'"),
        (lambda lake: summarize_labels(lake, **side_, subset_by="side"), "cannot cut itself"),
        (lambda lake: summarize_labels(lake, **side_, subset_by="no"), "no label 'no'"),
        (lambda lake: summarize_labels(lake, **side_, pooling="median"), "no pooling 'median'"),
        (lambda lake: summarize_labels(lake, **side_, level="word"), "no level 'word'"),
        (lambda lake: summarize_labels(lake, **side_, min_fires=9999), "fires on 9999 of 60"),
        (lambda lake: diff_corpora(lake, a=CODES, b=CODES), "both over the corpus now"),
        (lambda lake: diff_corpora(lake, a=CODES, b="x"), "no codes 'x'"),
    ]
    for call, message in calls:
        with pytest.raises(LakeError, match=message) as told:
            call(copied)
        assert "\n" not in str(told.value)
    assert contents(copied) == before


@pytest.mark.slow
def test_records__replace_those_before_and_are_found_complete(copied: Lake) -> None:
    before, newest = contents(copied), copied.newest_snapshot()
    diff_corpora(copied, a=CODES, b=codes_of(THEN))
    summarize_labels(copied, codes=CODES, label="side", level="token")
    assert copied.newest_snapshot() == newest
    summarize_pairs(copied, codes=CODES, min_fires=10, level="document", top=1)
    diff_corpora(copied, a=codes_of(THEN), b=CODES)
    after = contents(copied)
    assert after["feature_labels"] == before["feature_labels"]
    assert rows(copied, "feature_pairs", level="document")["rank"].max() == 1
    assert set(rows(copied, "feature_changes")["codes_a"]) == {codes_of(THEN)}
    assert [str(fault) for fault in copied.verify()] == []


@pytest.mark.slow
def test_records__go_with_their_codes_and_with_a_withdrawn_document(
    record_lake: Lake, tmp_path: Path
) -> None:
    gone = Lake.open(shutil.copytree(record_lake.root, tmp_path / "deleted"))
    delete(gone, kind="codes", name=CODES, cascade=True)
    taken = Lake.open(shutil.copytree(record_lake.root, tmp_path / "withdrawn"))
    withdraw(taken, corpus=NOW, documents=[3], reason="test")
    for lake in (gone, taken):
        again = Lake.open(lake.root)
        assert {name: len(again.table(name).collect()) for name in RECORDS} == dict.fromkeys(
            RECORDS, 0
        )
        assert [str(fault) for fault in again.verify()] == []
    summarize_labels(Lake.open(taken.root), codes=CODES, label="side")
    found = rows(Lake.open(taken.root), "feature_labels")
    assert set(found["n_positive"] + found["n_negative"]) == {59}
    assert party(3) == "B"


DOCUMENT = Path(__file__).parents[2] / "docs" / "records.md"


def test_examples__of_the_document_are_what_is_printed(record_lake: Lake, cli: Cli) -> None:
    blocks = re.findall(r"```text\n\$ actlake (.*?)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert {command.split()[2] for command, _ in blocks} == {
        "partners_of_feature",
        "families_of_codes",
        "features_of_label",
        "changes_between_corpora",
    }
    for command, shown in blocks:
        printed = ok(cli(record_lake.root, *shlex.split(command)))
        assert [line.rstrip() for line in printed.splitlines()] == shown.splitlines(), command
