"""Labels of spans: planted truths, scikit-learn and numpy beside the tables."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, jaccard_score, precision_score, roc_auc_score

from actlake.flows.cards import cards_of
from actlake.flows.hypothesize import hypothesize
from actlake.flows.span_labels import span_label
from actlake.flows.summaries import summaries
from actlake.flows.summarize import summarize
from actlake.flows.summarize_labels import summarize_labels
from actlake.flows.withdraw import withdraw
from actlake.storage.codes import Codes
from actlake.storage.corpora import Document
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake
from tests.flows.record_lake import ask, rows
from tests.flows.span_lake import (
    BURSTY,
    CHANCE,
    CODES,
    COMMON,
    CORPUS,
    DEAD,
    DENSITY,
    DOCUMENTS,
    DOMAINS,
    FEATURES,
    IN_ONE,
    KNOWN,
    LOOKED_AT,
    MASK,
    PARTLY,
    RARE,
    SPECIAL,
    VALUES,
    planted,
    shared_span_lake,  # noqa: F401  # a fixture
)


def scored(lake: Lake, value: str, label: str = "entity", mask: str = MASK) -> dict[int, Any]:
    found = rows(lake, "label_scores", label=label, value=value, mask=mask, subset="")
    return {row["feature"]: row for row in found.iter_rows(named=True)}


def test_labels__are_spans_of_documents_and_what_has_none_says_so(span_lake: Lake) -> None:
    table = rows(span_lake, "labels", corpus=CORPUS, label="entity")
    none = table.filter(table["char_start"] == table["char_stop"])
    assert none["document"].to_list() == list(range(0, LOOKED_AT, 10))
    assert none["value_text"].null_count() == len(none)
    documents = planted().documents
    some = table.filter(table["char_start"] < table["char_stop"])
    found = some.select("document", "char_start", "char_stop", "value_text").rows()
    assert found == [
        (number, one.start, one.stop, one.value)
        for number, document in enumerate(documents)
        for one in document.spans.get("entity", ())
    ]
    assert [*span_lake.verify()] == []


def test_a_feature_that_fires_on_the_spans__is_found_with_auroc_and_iou_of_1(
    span_lake: Lake,
) -> None:
    for feature, value in ((COMMON, "person"), (RARE, "rare")):
        found = scored(span_lake, value)[feature]
        names = ("auroc", "auprc", "precision", "recall", "f1", "iou_firing")
        assert {found[name] for name in names} == {1}, value
        assert (found["rate_positive"], found["rate_negative"]) == (1, 0)
        assert found["q"] < 1e-10
    # The strongest 0.5 % of rows are no more than the rows of the rare value (analytics.C15).
    rare = scored(span_lake, "rare")[RARE]
    assert (rare["iou"], rare["top_precision"]) == (1, 1)
    given = {"codes": CODES, "mask": MASK, "label": "entity", "q": 0.01, "limit": 1}
    [first] = ask(span_lake, "features_of_label", value="person", **given).to_dicts()
    assert (first["feature"], first["level"]) == (COMMON, "token")


def test_a_feature_that_fires_anywhere__has_the_iou_of_chance(span_lake: Lake) -> None:
    for value in ("person", "place"):
        found = scored(span_lake, value)[CHANCE]
        n, share = found["n_positive"] + found["n_negative"], found["prevalence"]
        chance = DENSITY * share / (DENSITY + share - DENSITY * share)
        # Five standard errors of the rows on which both are.
        error = np.sqrt(DENSITY * (1 - DENSITY) * share / n)
        assert abs(found["iou_firing"] - chance) < 5 * error / (DENSITY + share)
        deviation = np.sqrt(DENSITY * (1 - DENSITY) / found["n_positive"])
        assert abs(found["auroc"] - 0.5) < 5 * deviation / 2
        assert found["p"] > 1e-4


@pytest.mark.parametrize("value", VALUES)
def test_scores__are_those_of_scikit_learn_on_the_characters(span_lake: Lake, value: str) -> None:
    truth = planted()
    used = truth.looked_at("entity")
    y, x, document = truth.has("entity", value)[used], truth.values[used], truth.document[used]
    found = scored(span_lake, value)
    assert set(found) == set(range(FEATURES)) - {DEAD, SPECIAL}
    for feature, row in found.items():
        a = x[:, feature].astype(float)
        assert (row["n_positive"], row["n_negative"]) == (y.sum(), (~y).sum())
        assert row["auroc"] == pytest.approx(roc_auc_score(y, a), abs=1e-12)
        assert row["auprc"] == pytest.approx(average_precision_score(y, a), abs=1e-12)
        hit = a >= row["threshold"]
        assert row["precision"] == pytest.approx(precision_score(y, hit))
        assert row["recall"] == pytest.approx(hit[y].mean())
        assert row["iou_firing"] == pytest.approx(jaccard_score(y, a > 0))
        top = (a > np.sort(a)[::-1][int(0.005 * len(a))]) & (a > 0)
        assert row["iou"] == pytest.approx(jaccard_score(y, top))
        assert row["top_precision"] == pytest.approx(y[top].mean())
        spread = np.sqrt((a[y].var() * y.sum() + a[~y].var() * (~y).sum()) / (len(y) - 2))
        d = (a[y].mean() - a[~y].mean()) / spread
        assert row["hedges_g"] == pytest.approx(d * (1 - 3 / (4 * len(y) - 9)))
        # What each document adds to the difference of the two shares.
        fires = a > 0
        per = [np.bincount(document[y], (fires[y] - fires[y].mean()) / y.sum(), LOOKED_AT)]
        per += [np.bincount(document[~y], (fires[~y] - fires[~y].mean()) / (~y).sum(), LOOKED_AT)]
        n = len(np.unique(document[y]))
        error = np.sqrt(((per[0] - per[1]) ** 2).sum() * n / (n - 1))
        with np.errstate(divide="ignore"):
            t = (fires[y].mean() - fires[~y].mean()) / error
        p = max(2 * stats.t.sf(abs(t), n - 1), 2.0 ** (1 - n))
        assert row["p"] == pytest.approx(p, rel=1e-6)
        assert row["p_fisher"] is None
    every = rows(span_lake, "feature_labels", label="entity", mask=MASK)
    q = stats.false_discovery_control(every["p"].to_numpy())
    assert every["q"].to_list() == pytest.approx(q.tolist())


def test_special_rows__are_never_positive(span_lake: Lake) -> None:
    with_special, without = (scored(span_lake, "person", mask=mask) for mask in ("all", MASK))
    assert with_special[CHANCE]["n_positive"] == without[CHANCE]["n_positive"]
    more = with_special[CHANCE]["n_negative"] - without[CHANCE]["n_negative"]
    assert more == LOOKED_AT  # one of each document that was looked at
    assert with_special[SPECIAL]["rate_positive"] == 0


def test_subsets__tell_what_is_known_in_every_domain_from_one(span_lake: Lake) -> None:
    """analytics.C4: 0.9 of known rows and 0.1 of others give 0.8 in every domain."""
    truth = planted()
    known, domain = truth.has("known", "yes"), truth.document % 4
    found = rows(span_lake, "label_subsets", label="known", value="yes")
    of = {row["feature"]: row for row in found.iter_rows(named=True)}
    for feature in (KNOWN, IN_ONE, CHANCE, PARTLY):
        rates = []
        for number in range(len(DOMAINS)):
            here = (domain == number) & ~truth.is_special
            fires = truth.values[here, feature] > 0
            rates.append(fires[known[here]].mean() - fires[~known[here]].mean())
        assert of[feature]["rate_difference_min"] == pytest.approx(min(rates))
    # At 200 known rows a domain: five standard errors, the smallest of four being one below.
    assert of[KNOWN]["rate_difference_min"] == pytest.approx(0.8, abs=6 * 0.0215)
    assert abs(of[IN_ONE]["rate_difference_min"]) < 6 * 0.0215
    assert of[IN_ONE]["strongest_subset"] == DOMAINS[2]
    given = {"codes": CODES, "mask": MASK, "label": "known", "value": "yes", "q": 0.01, "limit": 9}
    table = ask(span_lake, "features_of_label", **given).to_dicts()
    holds = {row["feature"]: row["holds"] for row in table}
    assert (holds[KNOWN], holds[IN_ONE]) == ("in every subset", "in one subset")
    assert BURSTY not in holds


@pytest.fixture
def copied(span_lake: Lake, tmp_path: Path) -> Iterator[Lake]:
    with closing(Lake.open(shutil.copytree(span_lake.root, tmp_path / "lake"))) as lake:
        yield lake


def test_features_between_values__leave_documents_of_other_values_out(copied: Lake) -> None:
    given: dict[str, Any] = {"codes": CODES, "mask": MASK, "label": "domain"}
    for pooling in ("mean", "any"):
        summarize_labels(copied, **given, level="document", pooling=pooling)
    truth, kept = planted(), ~planted().is_special
    document, values = truth.document[kept], truth.values[kept].astype(float)
    means = np.stack([values[document == one].mean(axis=0) for one in range(DOCUMENTS)])
    domain = np.arange(DOCUMENTS) % 4
    a, b = (means[domain == DOMAINS.index(one)] for one in ("player", "song"))
    asked = {**given, "a": "player", "b": "song", "least": 0.0, "limit": 99}
    found = ask(copied, "features_between_values", **asked)
    of_means = {one["feature"]: one for one in found.filter(pooling="mean").to_dicts()}
    assert next(iter(of_means)) == IN_ONE
    for feature, one in of_means.items():
        x, y = a[:, feature], b[:, feature]
        pooled = np.sqrt(((x - x.mean()) ** 2).sum() / 198 + ((y - y.mean()) ** 2).sum() / 198)
        assert (one["n_a"], one["n_b"], one["subsets"], one["holds"]) == (100, 100, None, None)
        assert one["cohen_d"] == pytest.approx((x.mean() - y.mean()) / pooled, rel=1e-6)
        t = stats.ttest_ind(x, y, equal_var=False).statistic
        assert one["welch_t"] == pytest.approx(t, rel=1e-6)
    # A feature of one domain alone, without any spread.
    with copied.run("test", {}, {}) as run:
        table = copied.table("feature_labels").filter(pooling="any", value="song", feature=RARE)
        zero = dict.fromkeys(("fires_positive", "sum_positive", "square_positive"), 0.0)
        zero["fires_positive"] = 0
        ones = dict.fromkeys(zero, 100.0) | {"fires_positive": 100}

        def thirds(n: int) -> dict[str, float]:
            """A feature that is a third wherever the value is: sums differ by rounding."""
            of = np.full(n, 1 / 3)
            return {
                "n_positive": n,
                "fires_positive": n,
                "sum_positive": float(np.cumsum(of)[-1]),
                "square_positive": float(np.cumsum(of**2)[-1]),
            }

        rows_of = [
            table.collect().with_columns(
                pl.lit(one, table.collect_schema()[column]).alias(column)
                for column, one in {"value": name, "feature": feature, **some}.items()
            )
            for feature, name, some in (
                (99, "song", zero),
                (99, "player", ones),
                (98, "song", thirds(100)),
                (98, "player", thirds(97)),
            )
        ]
        run.append({"feature_labels": pl.concat(rows_of).to_arrow()}, "planted")
    of_any = ask(copied, "features_between_values", **asked).filter(pooling="any").to_dicts()
    first = of_any[0]
    assert (first["feature"], first["cohen_d"], first["welch_t"]) == (99, np.inf, None)
    assert 98 not in {one["feature"] for one in of_any}


def test_a_card__tells_the_labels_of_the_spans_that_reach_its_token(copied: Lake) -> None:
    summarize(copied, codes=CODES, mask=MASK)
    truth = planted()
    labels = {"entity": VALUES, "known": ("no", "yes")}
    has = {
        (label, one): truth.has(label, one) for label, several in labels.items() for one in several
    }
    cards = cards_of(copied, summaries(copied, CODES)[0], [COMMON, CHANCE], "token")
    found = [one["marks"] for card in cards for one in card["contexts"]]
    of_documents = [one["labels"] for card in cards for one in card["contexts"]]
    shown = copied.contexts_of(CODES, [COMMON, CHANCE], mask=MASK, limit=len(cards[0]["contexts"]))
    every = [one for contexts in shown.values() for one in contexts]
    assert found == [
        [{"name": name, "value": value} for (name, value), on in has.items() if on[one.row]]
        for one in every
    ]
    domains = [DOMAINS[one.document % 4] for one in every]
    assert of_documents == [[{"name": "domain", "value": one}] for one in domains]
    assert sum(map(bool, found)) > len(found) / 3


def test_labels_of_spans__are_told_from_labels_of_documents(span_lake: Lake) -> None:
    snapshot = span_lake.newest_snapshot()
    is_of_spans = "label entity of spans is of spans and not of documents; score it with"
    with pytest.raises(InputError, match=is_of_spans):
        summarize_labels(span_lake, codes=CODES, label="entity", level="document")
    with pytest.raises(InputError, match=is_of_spans):
        hypothesize(span_lake, codes=CODES, target="entity", group="domain")
    with pytest.raises(InputError, match="label known of spans is of spans"):
        summarize_labels(span_lake, codes=CODES, label="entity", subset_by="known")
    assert span_lake.newest_snapshot() == snapshot


def test_withdrawn__documents_have_no_spans_and_no_rows(copied: Lake) -> None:
    gone = [10, 11, DOCUMENTS - 1]  # one that has none, one that has some, one not looked at
    withdraw(copied, corpus=CORPUS, documents=gone, reason="test")
    assert not set(rows(copied, "labels", corpus=CORPUS)["document"]) & set(gone)
    assert [*copied.verify()] == []
    summarize_labels(copied, codes=CODES, label="entity")
    truth = planted()
    used = truth.looked_at("entity") & ~np.isin(truth.document, gone)
    y = truth.has("entity", "person")[used]
    found = scored(copied, "person")[COMMON]
    assert (found["n_positive"], found["n_negative"]) == (y.sum(), (~y).sum())
    assert found["auroc"] == 1


def test_a_label_of_no_spans__says_that_nothing_can_be_told(copied: Lake) -> None:
    copied.create_corpus("none", [Document("a", "text", spans={"name": []})])
    codes = SimpleNamespace(rowset=SimpleNamespace(corpus="none"))  # nothing else is asked
    with pytest.raises(InputError, match="no document of none has a span of name"):
        span_label(copied, [cast("Codes", codes)], "name")
