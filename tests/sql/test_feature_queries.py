"""Questions about single features: flags at their lines, twins, controls, and what is sure."""

import re
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from actlake.storage.errors import InputError
from actlake.storage.lake import Lake
from tests.sql.conftest import ask, column, write
from tests.sql.tiny import (
    CAT,
    CODES,
    DEAD,
    DENSE,
    KEPT,
    LONE,
    ROWS,
    SPECIAL,
    START,
    THE,
    WORDS,
    vocabulary,
)

GIVEN: dict[str, Any] = {"codes": CODES, "mask": "all"}


def planted(mask: str, densities: list[float], **profiles: list[float]) -> dict[str, Any]:
    """Statistics of features of these densities over a million rows, with profiles."""
    rows = 1_000_000
    statistics, profile = [], []
    for feature, density in enumerate(densities):
        key = {"codes": CODES, "mask": mask, "feature": feature, "run": ""}
        fires = round(density * rows)
        statistics.append(
            key
            | {"n_rows": rows, "n_fires": fires, "density": fires / rows}
            | {"mean_all": 0.0, "std_all": 0.0}
        )
        profile.append(key | {name: values[feature] for name, values in profiles.items()})
    return {"feature_statistics": statistics, "feature_profiles": profile}


def flagged(lake: Lake, mask: str, flag: str) -> list[int]:
    query = f"SELECT feature FROM feature_summary WHERE mask = $mask AND {flag} ORDER BY feature"
    return [int(str(feature)) for (feature,) in lake.sql(query, mask=mask).rows()]


def test_flags__are_drawn_where_the_view_says(copied: Lake) -> None:
    rng = np.random.default_rng(0)
    low, high = 10 ** rng.normal(-5, 0.2, 15), 10 ** rng.normal(-2, 0.4, 60)
    one_bell = 10 ** rng.normal(-2.5, 0.5, 75)
    even = np.geomspace(1e-5, 1e-1, 75)
    few = [1e-5] * 5 + [1e-2] * 10
    tables = [
        planted("two", [*low, *high]),
        planted("bell", [*one_bell]),
        planted("even", [*even]),
        planted("few", few),
        planted(
            "lines",
            [0.5, 0.500001, 0.1, 0.100001],
            top_token_share=[0.9, 0.91, 1.0, 0.1],
            position_peak_share=[0.91, 0.91, 0.9, 1.0],
            position_lift=[2.0, 2.1, 9.0, 9.0],
        ),
    ]
    merged = {name: [row for one in tables for row in one[name]] for name in tables[0]}
    write(copied, merged, "planted")

    assert flagged(copied, "two", "is_ultra_low_density") == [*range(15)]
    for mask in ("bell", "even", "few"):
        assert flagged(copied, mask, "is_ultra_low_density") == [], mask
    assert flagged(copied, "lines", "is_always_on") == [1]
    assert flagged(copied, "lines", "is_dense") == [0, 1, 3]
    assert flagged(copied, "lines", "is_single_token") == [1, 2]
    assert flagged(copied, "lines", "is_positional") == [1, 3]
    assert flagged(copied, "all", "is_duplicate AND codes LIKE 'topk%'") == [THE, CAT]

    [found] = copied.sql("SELECT * FROM density_clusters WHERE mask = 'two'").arrow().to_pylist()
    x = np.sort(np.log10([round(one * 1e6) / 1e6 for one in (*low, *high)]))
    variance = [i * (75 - i) * (x[i:].mean() - x[:i].mean()) ** 2 for i in range(1, 75)]
    split = int(np.argmax(variance)) + 1
    assert found["n_low"] == split == 15
    assert found["split_log10_density"] == pytest.approx(x[14])
    spread = np.sqrt(x[:15].var() + x[15:].var())
    gap = x[15:].mean() - x[:15].mean()
    assert found["separation"] == pytest.approx(np.sqrt(2) * gap / spread)

    positional = ask(copied, "positional_features", codes=CODES, mask="lines", limit=9)
    assert positional == []  # no bits, no rank


def test_description__says_what_a_feature_does_and_what_that_rests_on(tiny: Lake) -> None:
    found = ask(tiny, "description_of_feature", feature=CAT, **GIVEN)
    facts = {one["fact"]: one["value"] for one in found}
    assert column(found, "place") == sorted(column(found, "place"))
    assert facts["made of"] == "topk:toy:resid (topk) of toy:resid@tiny"
    assert facts["is"] == "dense, single token, duplicate"
    low, high = proportion_confint(2, len(ROWS), method="wilson")
    assert facts["fires on"].startswith(
        f"2 of {len(ROWS)} rows under {GIVEN['mask']}, density 0.105"
    )
    assert f"{low:.3g} to {high:.3g}" in facts["fires on"]
    assert facts["in documents"] == "2 of 4, 1 rows each"
    assert facts["tokens"] == "␣cat ×2"
    assert facts["nearest feature"] == "0, cosine 0.95, p 0.001"
    [(run,)] = tiny.sql("SELECT max(run) FROM feature_statistics WHERE codes = $c", c=CODES).rows()
    assert str(run) in facts["computed by"]
    dead = {one["fact"] for one in ask(tiny, "description_of_feature", feature=DEAD, **GIVEN)}
    assert dead == {"made of", "is", "fires on", "nearest feature", "computed by"}


def test_token_features__are_those_of_one_token(tiny: Lake) -> None:
    found = ask(tiny, "token_features", limit=9, **GIVEN)
    assert column(found, "feature") == [SPECIAL, CAT, LONE]
    assert column(found, "token") == ["<s>", " cat", " end"]
    assert column(found, "top_token_share") == [1, 1, 1]
    assert column(found, "missed_share") == pytest.approx([0, 0, 0], abs=1e-12)
    assert column(found, "lift") == pytest.approx([len(ROWS) / n for n in (4, 2, 1)])


def test_duplicate_features__name_a_mutual_pair_once(tiny: Lake) -> None:
    found = ask(tiny, "duplicate_features", limit=9, **GIVEN)
    keys = ("feature", "twin", "rank", "is_mutual", "is_duplicate")
    assert [tuple(one[key] for key in keys) for one in found] == [
        (THE, CAT, 1, True, True),
        (LONE, DEAD, 1, True, False),
        (THE, DEAD, 2, False, True),
        (LONE, CAT, 2, False, False),
    ]
    assert found[0]["twin_fires"] == np.count_nonzero(DENSE[:, CAT])
    assert found[0]["p"] == 0.001


def test_health_of_codes__adds_up(tiny: Lake) -> None:
    found = {one["flag"]: one for one in ask(tiny, "health_of_codes", **GIVEN)}
    fires = np.count_nonzero(DENSE, axis=0)
    assert found["dead"]["n_features"] == 1
    assert found["dense"]["n_features"] == 4
    assert found["dense"]["firing_share"] == pytest.approx(
        fires[[THE, CAT, WORDS, SPECIAL]].sum() / fires.sum()
    )
    assert found["always on"]["n_features"] == 1
    assert found["single token"]["share"] == 3 / 6
    assert found["duplicate"]["n_features"] == 2
    assert "none" not in found
    assert "rare" not in found


def test_duplicate_features__of_a_lake_without_neighbours_are_the_nearest(copied: Lake) -> None:
    with copied.run("test", {"key": "older"}, {}) as run:
        emptied = "DELETE FROM feature_neighbours"
        run.append({}, "older", check=lambda transaction: transaction.execute(emptied))
    found = ask(copied, "duplicate_features", limit=9, **GIVEN)
    assert [(one["feature"], one["twin"]) for one in found] == [(THE, CAT), (LONE, DEAD)]


def test_interval__covers_the_true_density_in_95_of_100_corpora(copied: Lake) -> None:
    """analytics.D1: planted Bernoulli densities, the interval as description_of_feature has it."""
    rows, corpora = 60, 20_000
    rng = np.random.default_rng(5)
    density = rng.uniform(0.1, 0.3, corpora)
    fires = rng.binomial(rows, density)
    seen = np.unique(fires)
    known = {"codes": CODES, "mask": "coins", "run": "", "mean_all": 0.0, "std_all": 0.0}
    of_each = [
        known | {"feature": int(n), "n_rows": rows, "n_fires": int(n), "density": n / rows}
        for n in seen
    ]
    write(copied, {"feature_statistics": of_each}, "coins")
    low, high = np.zeros((2, rows + 1))
    for n in seen.tolist():
        found = ask(copied, "description_of_feature", codes=CODES, mask="coins", feature=n)
        [said] = [one["value"] for one in found if one["fact"] == "fires on"]
        low[n], high[n] = map(float, re.findall(r"([\d.e-]+) to ([\d.e-]+)", said)[0])
    covered = (low[fires] <= density) & (density <= high[fires])
    # A standard error of 0.0015; for one density alone coverage waves by 2 %, for all by less.
    assert covered.mean() == pytest.approx(0.95, abs=0.01)
    assert (density < low[fires]).mean() == pytest.approx(0.025, abs=0.008)


def test_unseen__is_the_share_that_the_next_firings_will_have(copied: Lake) -> None:
    """analytics.D1: features of a long tail, some seen once; the truth is the mass of the dead."""
    rng = np.random.default_rng(6)
    features, firings = 3_000, 4_000
    share = 1 / np.arange(1, features + 1)
    share /= share.sum()
    fires = rng.multinomial(firings, share)
    rows = 50_000_000  # so that all are rare
    key = {"codes": CODES, "mask": "tail", "run": "", "n_rows": rows}
    planted_rows = [
        key
        | {"feature": one, "n_fires": int(n), "density": n / rows, "mean_all": 0.0, "std_all": 0.0}
        for one, n in enumerate(fires)
    ]
    write(copied, {"feature_statistics": planted_rows}, "tail")
    found = {one["flag"]: one for one in ask(copied, "health_of_codes", codes=CODES, mask="tail")}
    assert found["rare"]["unseen"] == (fires == 1).sum() / firings
    # Good's estimate has the spread of the number seen once and twice: five of them.
    spread = np.sqrt((fires == 1).sum() + 2 * (fires == 2).sum()) / firings
    missing = share[fires == 0].sum()
    assert 0.05 < missing < 0.5
    assert abs(found["rare"]["unseen"] - missing) < 5 * spread
    assert {one["unseen"] for flag, one in found.items() if flag != "rare"} == {None}


def test_controls__fire_about_as_often(tiny: Lake) -> None:
    found = ask(tiny, "controls_of_feature", feature=CAT, limit=9, **GIVEN)
    fires = np.count_nonzero(DENSE, axis=0)
    near = [
        feature
        for feature in range(len(fires))
        if feature != CAT and fires[CAT] / 2 <= fires[feature] <= fires[CAT] * 2
    ]
    assert sorted(column(found, "feature")) == near
    ratios = column(found, "density_ratio")
    assert sorted(np.abs(np.log(ratios)).round(9)) == np.abs(np.log(ratios)).round(9).tolist()
    again = ask(tiny, "controls_of_feature", feature=CAT, limit=1, **GIVEN)
    assert set(column(again, "feature")) < set(near)
    assert ask(tiny, "controls_of_feature", feature=DEAD, limit=9, **GIVEN) == []


def test_logits_of_feature__name_tokens_and_where_it_fires_on_them(tiny: Lake) -> None:
    found = ask(tiny, "logits_of_feature", feature=THE, **GIVEN)
    words = vocabulary()
    assert [(one["kind"], one["rank"]) for one in found] == [
        ("top", 1),
        ("top", 2),
        ("bottom", 1),
        ("bottom", 2),
    ]
    assert column(found, "token") == [words[3], words[5], words[1], words[3]]
    assert column(found, "effect") == [4, 2, -4, -2]
    assert column(found, "spreads") == [2, 1, -2, -1]
    assert [one["fires_on"] for one in found][2] == 2  # "the", at the start of two documents


@pytest.mark.parametrize("kind", ["random", "silent"])
def test_contexts_of_feature__shows_other_kinds(kind: str, tiny: Lake) -> None:
    given = {**GIVEN, "feature": CAT, "limit": KEPT, "before": 1, "after": 1}
    found = ask(tiny, "contexts_of_feature", kind=kind, **given)
    values = [DENSE[one["row"], CAT] for one in found]
    assert column(found, "value") == values
    assert all((value > 0) == (kind == "random") for value in values)
    others = tiny.contexts(CODES, CAT, kind=kind, limit=KEPT, before=1, after=1)
    texts = [(one["row"], one["before"] + one["token"] + one["after"]) for one in found]
    assert texts == [(one.row, START * (ROWS[one.row][1] == START) + one.text) for one in others]


def test_contexts__refuse_a_kind_that_is_none(tiny: Lake) -> None:
    with pytest.raises(InputError, match="no examples of the kind 'weak'; choose one of top, "):
        tiny.contexts(CODES, CAT, kind="weak")
    assert tiny.contexts(CODES, CAT, kind="negative") == []


def test_token_sets__say_whether_random_directions_would_do_as_much(tiny: Lake) -> None:
    [found] = ask(tiny, "token_sets_of_feature", codes=CODES, feature=THE, q=0.05)
    assert (found["token_set"], found["effect"], found["beyond_random"]) == (
        "space",
        "lowers",
        True,
    )
    assert ask(tiny, "token_sets_of_feature", codes=CODES, feature=THE, q=0.01) == []
    given = {"codes": CODES, "q": 0.05, "limit": 9}
    [one] = ask(tiny, "features_of_token_set", token_set="space", **given)
    assert (one["feature"], one["effect"], one["n_set"]) == (THE, "lowers", 2)
    raised = [row["token"] for row in ask(tiny, "logits_of_feature", feature=THE, **GIVEN)]
    assert one["first_tokens"] == raised[2:]  # those that it lowers
    assert ask(tiny, "features_of_token_set", token_set="digit", **given) == []
