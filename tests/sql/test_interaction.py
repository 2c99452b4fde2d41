"""The score of two features together, on labels that are noise."""

import duckdb
import numpy as np
import pytest

from actlake import sql

N, LABELS = 200, 200


def test_influence__of_noise_is_on_average_what_chance_gives() -> None:
    """analytics.G32: 0.75 for four equal cells; the mean of 200 scores has a spread of 0.04."""
    rng = np.random.default_rng(0)
    con = duckdb.connect()
    con.execute("CREATE TABLE codes AS SELECT 'c' AS codes, 'r' AS rowset")
    con.execute("CREATE TABLE rowsets AS SELECT 'r' AS rowset, 'k' AS corpus")
    con.execute(
        "CREATE TABLE tokens AS SELECT 'r' AS rowset, range AS row, range AS document, "
        f"FALSE AS is_special FROM range({N})"
    )
    fires = rng.permutation(np.arange(N) % 4)  # equal cells: bit 0 and bit 1 are the features
    row = np.concatenate([np.flatnonzero(fires & bit) for bit in (1, 2)])
    feature = np.repeat([1, 2], [np.count_nonzero(fires & bit) for bit in (1, 2)])
    con.register("fired", {"row": row, "feature": feature})
    con.execute("CREATE TABLE postings AS SELECT 'c' AS codes, feature, row FROM fired")
    noise = {
        "label": np.repeat(np.arange(LABELS), N),
        "document": np.tile(np.arange(N), LABELS),
        "value": rng.integers(0, 2, LABELS * N),
    }
    con.register("noise", noise)
    con.execute(
        "CREATE TABLE labels AS SELECT 'k' AS corpus, label::VARCHAR AS label, document, "
        "NULL AS char_start, value::VARCHAR AS value_text FROM noise"
    )
    scores = []
    for label in range(LABELS):
        given = {"codes": "c", "label": str(label), "value": "1", "feature": 1, "other": 2}
        found = con.execute(sql.text("queries", "interaction_of_features"), given).fetchone()
        assert found is not None
        assert found[4] == pytest.approx(0.75)
        scores.append(found[3])
    assert np.mean(scores) == pytest.approx(0.75, abs=0.15)
