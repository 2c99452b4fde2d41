"""The same numbers by our states, numpy, polars, DuckDB and Dask, on four chunkings of one toy."""

from functools import reduce
from itertools import pairwise
from typing import Any

import dask
import duckdb
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.postings import Postings
from actlake.analytics.features.tokens import FeatureTokens
from actlake.storage.csr import csr_from_dense

N, F = 4000, 6
CHUNKS = ([0, N], [0, 1000, 2000, 3000, N], [0, 1, 17, 3999, N], [0, 0, 2500, 2500, N])
ZERO_BLOCK = """
    WITH firing AS (SELECT feature, count(*) AS k, avg(value) AS m FROM acts GROUP BY feature),
    central AS (
        SELECT feature, sum((value - m) ** 2) AS m2, sum((value - m) ** 3) AS m3
        FROM acts JOIN firing USING (feature) GROUP BY feature
    )
    SELECT
        k, m, k * m / n AS mean_all, sqrt(m2 / k) AS std_active,
        (m2 + m * m * k * (n - k) / n) / n AS variance_all,
        m3 + m ** 3 * k * (n - k) * (n - 2 * k) / (n * n) + 3 * m * (n - k) * m2 / n AS m3_all
    FROM firing JOIN central USING (feature), (SELECT 4000 AS n) ORDER BY feature
"""


@pytest.fixture(scope="module")
def toy() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 1, (N, F)) * (rng.random((N, F)) < np.geomspace(0.01, 0.6, F))
    return values.astype(np.float32), rng.integers(0, 30, N)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_states__equal_four_other_ways(chunks: list[int], toy: Any) -> None:
    dense, token = toy
    mask = np.ones(N, np.bool_)

    def states(part: slice) -> tuple[Any, ...]:
        postings = Postings.of(csr_from_dense(dense[part]), mask[part])
        return (
            FeatureMoments.of_postings(postings),
            FeatureHistogram.of_postings(postings),
            FeatureTokens.of_postings(postings, token_id=token[part]),
        )

    parts = [slice(*span) for span in pairwise(chunks)]
    lazily = dask.delayed(states)  # type: ignore[attr-defined] # theirs is not exported
    computed = dask.compute(*(lazily(part) for part in parts), scheduler="threads")  # type: ignore[attr-defined,no-untyped-call]
    moments, histogram, tokens = (
        reduce(lambda a, b: a.merge(b), column) for column in zip(*computed, strict=True)
    )
    found = moments.finish()

    row, feature = np.nonzero(dense)
    acts = pl.DataFrame(
        {"feature": feature, "value": dense[row, feature].astype(float), "token": token[row]}
    )
    by_polars = (
        acts.group_by("feature")
        .agg(
            pl.len(),
            pl.col("value").mean().alias("mean"),
            pl.col("value").skew().alias("skew"),
            pl.col("value").kurtosis().alias("kurtosis"),
            pl.col("value").quantile(0.9, "lower").alias("q90"),
            pl.col("token").unique_counts().max().alias("top"),
        )
        .sort("feature")
    )
    assert found["n_fires"].tolist() == by_polars["len"].to_list()
    assert found["mean_active"] == pytest.approx(by_polars["mean"].to_numpy(), rel=1e-10)
    assert found["skew_active"] == pytest.approx(by_polars["skew"].to_numpy(), rel=1e-10)
    assert found["kurtosis_active"] == pytest.approx(by_polars["kurtosis"].to_numpy(), rel=1e-9)
    assert histogram.quantile(0.9) == pytest.approx(by_polars["q90"].to_numpy(), rel=0.0101)
    top = tokens.profile()["top_token_share"] * found["n_fires"]
    assert top == pytest.approx(by_polars["top"].to_numpy())

    with duckdb.connect() as connection:
        connection.register("acts", acts.to_arrow())
        columns = connection.execute(ZERO_BLOCK).fetchnumpy()
    assert found["std_active"] == pytest.approx(columns["std_active"], rel=1e-10)
    assert found["mean_all"] == pytest.approx(columns["mean_all"], rel=1e-10)
    assert found["std_all"] ** 2 == pytest.approx(columns["variance_all"], rel=1e-10)
    skew = columns["m3_all"] / N / columns["variance_all"] ** 1.5
    assert found["skew_all"] == pytest.approx(skew, rel=1e-9)

    assert found["std_all"] == pytest.approx(dense.astype(float).std(axis=0), rel=1e-10)
    right = np.quantile(dense.astype(float), 0.99, axis=0, method="lower")
    assert histogram.quantile_all(0.99) == pytest.approx(right, rel=0.0101)
