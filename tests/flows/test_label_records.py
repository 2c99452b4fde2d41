"""Labels and changes of a lake: planted truths, scipy beside the SQL."""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import mutual_info_score
from sklearn.metrics.cluster import contingency_matrix, expected_mutual_information

from actlake.analytics.hypotheses.pooling import POOLINGS
from actlake.flows.summarize_labels import summarize_labels
from actlake.storage.lake import Lake
from tests.flows.record_lake import (
    BURSTY,
    CHANGED,
    CODES,
    CROSSED,
    DEAD,
    EVERYWHERE,
    FEATURES,
    IN_ONE,
    IN_PARTY,
    MASK,
    NOW,
    THEN,
    WORDS,
    ask,
    by_row,
    codes_of,
    rows,
    shared_record_lake,  # noqa: F401  # a fixture
    side,
    units,
)


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
        right["hedges_g"] = right["cohen_d"] * (1 - 3 / (4 * (len(y) - 2) - 1))
        if 0 < fires.sum() < len(fires):
            table = np.array(
                [[(fires & y).sum(), (fires & ~y).sum()], [(~fires & y).sum(), (~fires & ~y).sum()]]
            )
            chi2 = stats.chi2_contingency(table, correction=False).statistic
            right |= {"chi2": chi2, "phi": np.corrcoef(fires, y)[0, 1]}
            g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
            right["mutual_information"] = g / (2 * len(y))
            right["mutual_information_corrected"] = (g - 1) / (2 * len(y))  # analytics.C8
            right["p_fisher"] = stats.fisher_exact(table).pvalue
        else:
            assert row["chi2"] is None
            assert row["p_fisher"] == 1
            assert row["mutual_information_corrected"] == row["mutual_information"] == 0
        levels = fires.astype(int) + (a > np.median(a[fires]))
        right["information"] = mutual_info_score(levels, y)
        table = contingency_matrix(levels, y)
        right["information_by_chance"] = expected_mutual_information(table, len(y))
        right["information_corrected"] = right["information"] - right["information_by_chance"]
        for name, value in right.items():
            assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-10), name
    both = rows(record_lake, "label_scores", level="document", subset="")
    q = stats.false_discovery_control(both["p_fisher"].to_numpy())
    assert both["q_fisher"].to_list() == pytest.approx(q.tolist())
    by_row = rows(record_lake, "label_scores", level="token")
    assert by_row["p_fisher"].null_count() == by_row["information_corrected"].null_count()
    assert by_row["p_fisher"].null_count() == len(by_row) > by_row["information"].null_count() == 0


@pytest.mark.parametrize("pooling", POOLINGS)
def test_documents__are_ranked_by_what_their_rows_are_pooled_to(
    record_lake: Lake, tmp_path: Path, pooling: str
) -> None:
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))
    summarize_labels(lake, codes=CODES, label="side", mask=MASK, pooling=pooling, min_fires=1)
    values = by_row()
    pooled = {
        "max": values.max(axis=1),
        "mean": values.mean(axis=1),
        "sum": values.sum(axis=1),
        "any": (values > 0).any(axis=1),
    }
    x = pooled[pooling].astype(float)
    y = np.array([side(one) == "x" for one in range(len(x))])
    found = rows(lake, "feature_labels", label="side", value="x", pooling=pooling, subset_by="")
    assert len(found) == FEATURES - 1
    for row in found.iter_rows(named=True):
        a = x[:, row["feature"]]
        auroc = stats.mannwhitneyu(a[y], a[~y]).statistic / y.sum() / (~y).sum()
        assert row["auroc"] == pytest.approx(auroc, rel=1e-9)
        assert row["sum_positive"] == pytest.approx(a[y].sum(), rel=1e-9)


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
    assert set(subsets.filter(pl.col("auroc_max") == 1)["feature"]) == {
        *(EVERYWHERE, IN_ONE, CROSSED)
    }
    assert {row["holds"] for row in found.filter(level="token").to_dicts()} <= {None}
    # analytics.G33: nothing alone, ln 2 where the party is known.
    [crossed] = [row for row in within if row["feature"] == CROSSED]
    assert crossed["holds"] == "in opposite ways"
    assert abs(crossed["information"]) < 0.02
    assert crossed["information_within"] > 0.6
    assert subsets.row(by_predicate=pl.col("feature") == CROSSED, named=True)["auroc_min"] == 0


def test_features_between_values__where_there_are_two_are_those_of_a_value_and_its_others(
    record_lake: Lake,
) -> None:
    given = {"codes": CODES, "mask": MASK, "label": "side", "a": "x", "b": "y", "limit": 99}
    found = ask(record_lake, "features_between_values", least=0.0, **given)
    scores = rows(record_lake, "label_scores", label="side", value="x")
    key = ["level", "pooling", "subset_by", "feature"]
    whole = scores.filter(pl.col("subset") == "").join(found, on=key, suffix="_found")
    assert len(whole) == len(found) > FEATURES
    for name, of in (
        ("rate_a", "rate_positive"),
        ("mean_b", "mean_negative"),
        ("n_a", "n_positive"),
    ):
        np.testing.assert_allclose(whole[name], whole[of], rtol=1e-9)
    for name in ("cohen_d", "welch_t"):
        known = whole.filter(pl.col(name).is_not_null())
        np.testing.assert_allclose(known[f"{name}_found"], known[name], rtol=1e-6, atol=1e-9)
        assert len(known) > FEATURES
    subset = scores.filter(pl.col("subset") != "", pl.col("cohen_d").is_not_null())
    apart = subset.group_by(key).agg(least=pl.min("cohen_d"), most=pl.max("cohen_d"), n=pl.len())
    both = found.join(apart, on=key).filter(pl.col("subsets") == pl.col("n"))
    assert len(both) > FEATURES / 2
    np.testing.assert_allclose(both["cohen_d_min"], both["least"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(both["cohen_d_max"], both["most"], rtol=1e-6, atol=1e-9)

    strong = ask(record_lake, "features_between_values", least=1.0, **given)
    held = {row["feature"]: row["holds"] for row in strong.filter(level="document").to_dicts()}
    assert (held[EVERYWHERE], held[IN_ONE], held[CROSSED]) == (
        *("in every subset", "in one subset", "in opposite ways"),
    )
    assert len(held) < FEATURES / 2


def test_interaction__is_told_by_both_features_and_by_neither(record_lake: Lake) -> None:
    """analytics.G32 and G33: of two crossed bits the score is n / 4, and information is ln 2."""
    given = {"codes": CODES, "label": "side", "value": "x"}
    [both] = ask(
        record_lake, "interaction_of_features", feature=CROSSED, other=IN_PARTY, **given
    ).to_dicts()
    assert both["cells"] == [[0, 0, 15, 15], [0, 1, 15, 0], [1, 0, 15, 0], [1, 1, 15, 15]]
    assert both["influence"] == pytest.approx(60 / 4)
    assert both["influence_by_chance"] == pytest.approx(0.75)
    assert both["information_feature"] == pytest.approx(-1 / 120)  # 0, less its bias
    assert both["information_given_other"] == pytest.approx(np.log(2) - 2 / 120)
    assert both["interaction"] == pytest.approx(np.log(2) - 1 / 120)
    [copy] = ask(
        record_lake, "interaction_of_features", feature=CROSSED, other=CROSSED, **given
    ).to_dicts()
    assert copy["information_given_other"] == pytest.approx(0)  # a copy tells nothing more
    nothing = {"codes": CODES, "label": "side", "value": "z", "feature": 1, "other": 2}
    assert ask(record_lake, "interaction_of_features", **nothing).is_empty()


def test_token_labels__take_documents_for_clusters(record_lake: Lake) -> None:
    found = rows(record_lake, "feature_labels", level="token", value="x").sort("feature")
    x, y = units("token"), np.repeat([side(one) == "x" for one in range(60)], WORDS)
    by_rows = [
        stats.fisher_exact(
            np.array([[(x[of, f] > 0).sum(), (x[of, f] == 0).sum()] for of in (y, ~y)])
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
