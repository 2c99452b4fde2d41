"""Pairs and families of a lake: planted truths, numpy and scipy beside the SQL."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from actlake.storage.lake import Lake
from tests.flows.record_lake import (
    CHILDREN,
    CODES,
    MASK,
    PARENT,
    TWINS,
    ask,
    rows,
    shared_record_lake,  # noqa: F401  # a fixture
    units,
)


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
    assert others["decoder_cosine"].is_between(-1e-6, 1e-6).all()
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
