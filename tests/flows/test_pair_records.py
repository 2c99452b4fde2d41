"""Pairs and families of a lake: planted truths, numpy and scipy beside the SQL."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from actlake.flows.summarize_pairs import summarize_pairs
from actlake.storage.codes_writer import CodesPlan
from actlake.storage.lake import Lake
from tests.flows.record_lake import (
    CHILDREN,
    CODES,
    DICTIONARY,
    FEATURES,
    MASK,
    PARENT,
    TWINS,
    WORDS,
    ask,
    rows,
    shared_record_lake,  # noqa: F401  # a fixture
    units,
)
from tests.sql.conftest import encode


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


def test_redundancy__of_more_features_than_a_block_is_told_by_blocks(
    record_lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))
    monkeypatch.setattr("actlake.flows.summarize_pairs.MOST_FEATURES", 5)
    summarize_pairs(lake, codes=CODES, min_fires=10, top=15, min_joint=1, with_redundancy=True)
    assert "redundancy of 15 features by " in capsys.readouterr().err
    found = rows(lake, "feature_pairs", level="token")
    twins = found.filter(feature_a=TWINS[0], feature_b=TWINS[1]).row(0, named=True)
    assert twins["redundancy_a"] > 0.95
    assert found["redundancy_a"].null_count() == 0
    whole = rows(record_lake, "feature_pairs", level="token").unique("feature_a")
    both = found.unique("feature_a").join(whole, on="feature_a", suffix="_whole")
    assert (both["redundancy_a"] <= both["redundancy_a_whole"] + 1e-12).all()
    # Where a pair has a weight, both are of one block, and its regression has no other features.
    x = units("token")
    penalty = 1e-3 * (x**2).sum(axis=0)[(x > 0).sum(axis=0) >= 10].mean()
    near: dict[int, set[int]] = {}
    told = found.filter(pl.col("weight").is_not_null())
    for a, b in told[["feature_a", "feature_b"]].rows():
        near.setdefault(a, {a}).add(b)
        near.setdefault(b, {b}).add(a)
    assert found["weight"].null_count() > 0
    block = near[TWINS[0]]
    for _ in range(3):  # what is near to those that are near
        block = {member for one in block for member in near[one]}
    assert {*TWINS} <= block
    assert len(block) <= 5
    others = sorted(block - {TWINS[0]})
    inner = x[:, others].T @ x[:, others] + penalty * np.eye(len(others))
    right = np.linalg.solve(inner, x[:, others].T @ x[:, TWINS[0]])
    for one, weight in zip(others, right, strict=True):
        mine = told.filter(feature_a=TWINS[0], feature_b=one)
        if len(mine):
            assert mine["weight"].item() == pytest.approx(weight, abs=1e-6)


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


def test_cohesion__is_above_1_where_children_meet_less_than_their_parent(
    record_lake: Lake, tmp_path: Path
) -> None:
    """analytics.B10: R of a planted parent and children that fire inside it, by numpy."""
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))
    rng = np.random.default_rng(4)
    rows = lake.rowset("now@words").rows
    children, other = (3, 4, 5, 6), 9
    fires = np.zeros((rows, FEATURES), np.bool_)
    fires[:, PARENT] = rng.random(rows) < 0.15
    for child in children:
        fires[:, child] = fires[:, PARENT] & (rng.random(rows) < 0.5)
    fires[:, other] = rng.random(rows) < 0.1
    plan = CodesPlan(
        name="family@now",
        dictionary=DICTIONARY,
        dictionary_fingerprint="known",
        n_features=FEATURES,
        tensor="toy:resid@now",
        tensor_fingerprint="known",
        rowset=lake.rowset("now@words"),
        dtype="float16",
    )
    with lake.run("test", {"codes": plan.name}, {}) as run:
        encode(run, lake, plan, fires.astype(np.float32))
    summarize_pairs(lake, codes=plan.name, min_fires=10)
    [family] = ask(
        lake, "families_of_codes", codes=plan.name, mask=MASK, level="token", limit=9
    ).to_dicts()
    assert (family["root"], sorted(family["features"])) == (PARENT, [PARENT, *children])
    kept = fires.reshape(-1, WORDS + 1, FEATURES)[:, 1:].reshape(-1, FEATURES).astype(int)
    joint, alone = kept.T @ kept, kept.sum(axis=0)
    overlap = joint / np.maximum(np.minimum(alone[:, None], alone), 1)
    down = np.mean([overlap[PARENT, child] for child in children])
    across = np.mean([overlap[pair] for pair in combinations(children, 2)])
    assert family["cohesion"] == pytest.approx(down / across)
    assert 1.6 < family["cohesion"] < 2.2  # planted: 1 over a half
