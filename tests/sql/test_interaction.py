"""The score of two features together, on labels that are noise and on their exclusive or."""

from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score

from actlake import sql

N, LABELS = 4000, 200
Bits = NDArray[np.int64]


def told(fires: Bits, values: Bits) -> list[dict[str, Any]]:
    """The answer for each label, a row of ``values``; bits of ``fires`` are the two features."""
    labels, n = values.shape
    con = duckdb.connect()
    con.execute("CREATE TABLE codes AS SELECT 'c' AS codes, 'r' AS rowset")
    con.execute("CREATE TABLE rowsets AS SELECT 'r' AS rowset, 'k' AS corpus")
    con.execute(
        "CREATE TABLE tokens AS SELECT 'r' AS rowset, range AS row, range AS document, "
        f"FALSE AS is_special FROM range({n})"
    )
    held = [np.flatnonzero(fires & bit) for bit in (1, 2)]
    feature = np.repeat([1, 2], [len(one) for one in held])
    con.register("fired", {"row": np.concatenate(held), "feature": feature})
    con.execute("CREATE TABLE postings AS SELECT 'c' AS codes, feature, row FROM fired")
    rows = {
        "label": np.repeat(np.arange(labels), n),
        "document": np.tile(np.arange(n), labels),
        "value": values.ravel(),
    }
    con.register("given", rows)
    con.execute(
        "CREATE TABLE labels AS SELECT 'k' AS corpus, label::VARCHAR AS label, document, "
        "NULL AS char_start, value::VARCHAR AS value_text FROM given"
    )
    answers = []
    for label in range(labels):
        given = {"codes": "c", "label": str(label), "value": "1", "feature": 1, "other": 2}
        found = con.execute(sql.text("queries", "interaction_of_features"), given)
        names = [column[0] for column in found.description or ()]
        [row] = found.fetchall()
        answers.append(dict(zip(names, row, strict=True)))
    return answers


def test_influence__of_noise_is_on_average_what_chance_gives() -> None:
    """analytics.G32: 0.75 for four equal cells; the mean of 200 scores has a spread of 0.043."""
    rng = np.random.default_rng(0)
    fires = rng.permutation(np.arange(N) % 4)  # equal cells
    found = told(fires, rng.integers(0, 2, (LABELS, N)))
    assert [one["influence_by_chance"] for one in found] == pytest.approx([0.75] * LABELS)
    assert np.mean([one["influence"] for one in found]) == pytest.approx(0.75, abs=0.1)


def test_influence_and_information__of_an_exclusive_or_are_those_of_both_alone() -> None:
    """analytics.G32 and G33, of coins: nothing alone, n / 4 and ln 2 together."""
    fires = np.random.default_rng(1).integers(0, 4, N)
    one, other = fires & 1, fires >> 1
    [found] = told(fires, (one ^ other)[None])
    assert found["influence"] == pytest.approx(N / 4, rel=0.01)
    assert found["information_feature"] == pytest.approx(0, abs=0.005)
    assert found["information_other"] == pytest.approx(0, abs=0.005)
    assert found["information_given_other"] == pytest.approx(0.693, abs=0.005)
    plain = mutual_info_score(one ^ other, fires) - mutual_info_score(one ^ other, other)
    assert found["information_given_other"] == pytest.approx(plain - 2 / (2 * N), abs=1e-9)
