"""characteristic_features: planted profiles, against divergences computed with numpy."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage.lake import Lake
from tests.sql.conftest import ask, column, write
from tests.sql.tiny import CODES, DOCUMENT_CODES, vocabulary

N_ROWS = 10_000
UNIGRAM = np.array([0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.0078125])
"""Share of the rows of each of the first eight tokens."""
RARE, SET, COMMON, CHANCE, DENSE, FEW, DEAD, SHARP, TAIL, SLIGHT = range(10)
EVEN, FOUR, TWO = np.full(8, 0.125), np.array([0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0]), np.eye(8)[1]
PLANTED: dict[int, tuple[int, float, NDArray[np.float64]]] = {
    RARE: (64, 0.0, np.eye(8)[7]),
    SET: (256, 0.0, FOUR),
    COMMON: (32, 0.0, TWO),
    CHANCE: (256, 0.0, UNIGRAM),
    DENSE: (600, 0.0, FOUR),
    FEW: (16, 0.0, FOUR),
    SHARP: (256, 2.0, FOUR),
    TAIL: (256, 0.0, EVEN),
    SLIGHT: (256, 0.0, np.array([1, 1, 1, 1, 0, 0, 0, 0]) / 4),
}
"""Feature to its firings, their standard deviation (their mean is 1), and its token profile."""
KEPT = 4


def statistics(feature: int, codes: str, n_rows: int, n_fires: int, std: float) -> dict[str, Any]:
    return {
        "codes": codes,
        "mask": "planted",
        "feature": feature,
        "n_rows": n_rows,
        "n_fires": n_fires,
        "density": n_fires / n_rows,
        "mean_active": 1.0 if n_fires else None,
        "std_active": std if n_fires else None,
        "max_active": 9.0 if n_fires else None,
        "mean_all": 0.0,
        "std_all": 0.0,
        "run": "",
    }


def profile(feature: int, n_fires: int, shares: NDArray[np.float64]) -> list[dict[str, Any]]:
    order = [int(token) for token in np.argsort(-shares, kind="stable") if shares[token] > 0]
    return [
        {
            "codes": CODES,
            "mask": "planted",
            "feature": feature,
            "kind": kind,
            "rank": rank if kind == "count" else KEPT + 1 - rank,
            "token_id": token,
            "count": round(shares[token] * n_fires),
            "mean": 1.0,
            "lift": shares[token] / UNIGRAM[token],
        }
        for kind in ("count", "lift")
        for rank, token in enumerate(order[:KEPT], start=1)
    ]


@pytest.fixture(scope="module")
def planted(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    path = tmp_path_factory.mktemp("planted") / "lake"
    shutil.copytree(tiny_path, path)
    lake = Lake.open(path)
    facts = [
        statistics(feature, CODES, N_ROWS, n_fires, std)
        for feature, (n_fires, std, _) in PLANTED.items()
    ]
    documents = [
        statistics(feature, DOCUMENT_CODES, 400, n_fires, std)
        for feature, (n_fires, std) in enumerate([(20, 0.0), (20, 3.0), (4, 0.0), (101, 0.0)])
    ]
    tokens = [
        row
        for feature, (n_fires, _, shares) in PLANTED.items()
        for row in profile(feature, n_fires, shares)
    ]
    silent = statistics(DEAD, CODES, N_ROWS, 0, 0.0)
    write(lake, {"feature_statistics": [*facts, silent, *documents], "feature_tokens": tokens})
    yield lake
    lake.close()


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """In bits; 0 log 0 is 0."""
    here = p > 0
    return float(np.sum(p[here] * np.log2(p[here] / q[here])))


def expected_bits(feature: int) -> float:
    n_fires, _, shares = PLANTED[feature]
    kept = np.argsort(-shares, kind="stable")[: min(KEPT, np.count_nonzero(shares))]
    p, q = (np.append(one[kept], 1 - one[kept].sum()) for one in (shares, UNIGRAM))
    return divergence(p, q) - (len(kept) - 1) / (2 * n_fires * math.log(2))


def test_scores__are_support_times_bits(planted: Lake) -> None:
    found = ask(planted, "characteristic_features", codes=CODES, mask="planted", limit=99)
    for one in found:
        n_fires, std, shares = PLANTED[one["feature"]]
        # (Σv)²/Σv² of n values with mean 1.
        effective = n_fires / (1 + std**2)
        assert one["selectivity_bits"] == pytest.approx(np.log2(N_ROWS / effective))
        assert one["token_bits"] == pytest.approx(expected_bits(one["feature"]))
        bits = one["selectivity_bits"] + one["token_bits"]
        assert one["score"] == pytest.approx(np.log2(n_fires) * bits)
        assert one["top_share"] == shares.max()
        # Kept tokens know no more than all of them.
        assert one["token_bits"] <= divergence(shares, UNIGRAM)


def test_order__deals_one_token_and_several_in_turn(planted: Lake) -> None:
    found = ask(planted, "characteristic_features", codes=CODES, mask="planted", limit=99)
    assert [(one["feature"], one["profile"]) for one in found] == [
        (SHARP, "several tokens"),
        (RARE, "one token"),
        (SET, "several tokens"),
        (COMMON, "one token"),
        (TAIL, "several tokens"),
    ]
    # By score alone the last two would change places.
    assert found[3]["score"] < found[4]["score"]
    assert found[0]["tokens"] == vocabulary()[3:7]
    assert found[1]["tokens"] == [vocabulary()[7]]
    first = ask(planted, "characteristic_features", codes=CODES, mask="planted", limit=2)
    assert first == found[:2]


def test_shown__are_neither_dense_nor_few_nor_dead_nor_about_any_token(planted: Lake) -> None:
    found = ask(planted, "characteristic_features", codes=CODES, mask="planted", limit=99)
    assert not {DENSE, FEW, DEAD, CHANCE, SLIGHT} & set(column(found, "feature"))


def test_documents__are_ranked_without_tokens(planted: Lake) -> None:
    found = ask(planted, "characteristic_features", codes=DOCUMENT_CODES, mask="planted", limit=99)
    # Feature 2 fires too rarely and 3 too often; 1 puts its weight on fewer documents than 0.
    assert column(found, "feature") == [1, 0]
    assert set(column(found, "profile")) == {"no tokens"}
    assert {one["token_bits"] for one in found} == {None}
    assert column(found, "selectivity_bits") == pytest.approx([np.log2(200), np.log2(20)])
