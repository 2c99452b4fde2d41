"""The same numbers by our states, numpy, polars, DuckDB and Dask, on four chunkings of one toy."""

from functools import reduce
from itertools import pairwise
from typing import Any

import dask
import dask.dataframe
import duckdb
import numpy as np
import polars as pl
import pytest
import scipy.sparse
from scipy import stats

from actlake.analytics.features.cofirings import CoFirings, Sides
from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.label_scores import RankedFeatures
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.postings import Postings
from actlake.analytics.features.tokens import FeatureTokens
from actlake.storage.csr import csr_from_dense
from tests.analytics.features.parity_toy import (
    DENSE,
    DOCUMENT,
    DOCUMENT_ROWS,
    GAMMA,
    LABEL,
    TOKEN,
    F,
    Found,
    N,
    of_bins,
    of_powers,
    posted,
)

CHUNKS = ([0, N], [0, 1000, 2000, 3000, N], [0, 1, 17, 3999, N], [0, 0, 2500, 2500, N])
POWERS = ("n_fires", "s1", "s2", "s3", "s4")

SQL = {
    "powers": """
        SELECT feature, sum(n)::BIGINT, sum(s1), sum(s2), sum(s3), sum(s4) FROM (
            SELECT
                chunk, feature, count(*) AS n, sum(value) AS s1, sum(value ** 2) AS s2,
                sum(value ** 3) AS s3, sum(value ** 4) AS s4
            FROM postings GROUP BY chunk, feature
        ) GROUP BY feature ORDER BY feature
    """,
    "histogram": """
        SELECT feature, bin, sum(n)::BIGINT FROM (
            SELECT
                chunk, feature, ceil(ln(value) / ln(1.01 / 0.99))::INTEGER AS bin, count(*) AS n
            FROM postings GROUP BY ALL
        ) GROUP BY ALL ORDER BY ALL
    """,
    "documents": """
        SELECT feature, count(DISTINCT document) FROM (
            SELECT DISTINCT chunk, feature, document FROM postings
        ) GROUP BY feature ORDER BY feature
    """,
    "entropy": """
        SELECT
            feature,
            entropy(token) + (count(DISTINCT token) - 1) / (2 * count(*) * ln(2))
        FROM postings GROUP BY feature ORDER BY feature
    """,
    "joint": """
        SELECT first, second, sum(n)::BIGINT, sum(product) FROM (
            SELECT
                a.chunk, a.feature AS first, b.feature AS second, count(*) AS n,
                sum(a.value * b.value) AS product
            FROM postings AS a JOIN postings AS b ON b.row = a.row AND b.feature > a.feature
            GROUP BY ALL
        ) GROUP BY ALL ORDER BY ALL
    """,
    "auroc": """
        WITH stored AS (
            SELECT
                feature, value, count(*) FILTER (label) AS p, count(*) FILTER (NOT label) AS q
            FROM postings GROUP BY feature, value
        ),
        levels AS (
            FROM stored UNION ALL
            SELECT feature, 0, $positive - sum(p), $negative - sum(q) FROM stored GROUP BY feature
        )
        SELECT feature, sum(p * (below + q / 2)) / ($positive * $negative) FROM (
            SELECT *, sum(q) OVER (PARTITION BY feature ORDER BY value) - q AS below FROM levels
        ) GROUP BY feature ORDER BY feature
    """,
}


def by_numpy() -> Found:
    x, columns = DENSE.astype(float), [column[column > 0].astype(float) for column in DENSE.T]
    bins = [np.unique(np.ceil(np.log(c) / np.log(GAMMA)), return_counts=True) for c in columns]
    tokens = [np.bincount(TOKEN[column > 0]) for column in DENSE.T]
    joint = [((x[:, a] > 0) & (x[:, b] > 0)).sum() for a in range(F) for b in range(a + 1, F)]
    product = [x[:, a] @ x[:, b] for a in range(F) for b in range(a + 1, F)]
    found: Found = {
        "n_fires": np.array([len(one) for one in columns]),
        "n_documents_fires": np.array([len(np.unique(DOCUMENT[column > 0])) for column in x.T]),
        "joint": np.array(joint),
        "product": np.array(product),
        "token_entropy": np.array(
            [
                stats.entropy(one, base=2) + ((one > 0).sum() - 1) / (2 * one.sum() * np.log(2))
                for one in tokens
            ]
        ),
        "auroc": np.array(
            [
                stats.mannwhitneyu(column[LABEL], column[~LABEL]).statistic
                / (LABEL.sum() * (~LABEL).sum())
                for column in x.T
            ]
        ),
    }
    for name, of in (("active", columns), ("all", list(x.T))):
        found[f"mean_{name}"] = np.array([one.mean() for one in of])
        found[f"std_{name}"] = np.array([one.std() for one in of])
        found[f"skew_{name}"] = np.array([stats.skew(one) for one in of])
        found[f"kurtosis_{name}"] = np.array([stats.kurtosis(one) for one in of])
    feature = np.repeat(np.arange(F), [len(one) for one, _ in bins])
    values, counts = (np.concatenate(one) for one in zip(*bins, strict=True))
    return found | of_bins(feature, values, counts)


def by_polars(chunks: list[int]) -> Found:
    """Each chunk a frame of its own, put together by polars."""
    whole = posted(chunks)
    parts = [pl.from_pandas(whole[whole["chunk"] == one]) for one in range(1, len(chunks))]
    acts = pl.concat(parts).lazy()
    value, token = pl.col("value"), pl.col("token")
    share = token.value_counts().struct.field("count") / pl.len()
    one = (
        acts.group_by("feature")
        .agg(
            n_fires=pl.len(),
            **{f"s{power}": value.pow(power).sum() for power in (1, 2, 3, 4)},
            n_documents_fires=pl.col("document").n_unique(),
            token_entropy=share.entropy(2, normalize=False)
            + (token.n_unique() - 1) / (2 * pl.len() * np.log(2)),
        )
        .sort("feature")
        .collect()
    )
    bins = (
        acts.group_by("feature", bin=(value.log() / np.log(GAMMA)).ceil()).agg(n=pl.len()).collect()
    )
    pairs = (
        acts.join(acts, on="row", suffix="_b")
        .filter(pl.col("feature") < pl.col("feature_b"))
        .group_by("feature", "feature_b")
        .agg(joint=pl.len(), product=(value * pl.col("value_b")).sum())
        .sort("feature", "feature_b")
        .collect()
    )
    everywhere = pl.LazyFrame({"row": np.tile(np.arange(N), F), "feature": np.arange(F).repeat(N)})
    labelled = pl.LazyFrame({"row": np.arange(N), "told": LABEL})
    rank = value.fill_null(0).rank("average").over("feature")
    ranked = (
        everywhere.join(acts.select("row", "feature", "value"), on=["row", "feature"], how="left")
        .join(labelled, on="row")
        .with_columns(rank=rank)
        .group_by("feature")
        .agg(pl.col("rank").filter(pl.col("told")).sum())
        .sort("feature")
        .collect()
    )
    p, q = int(LABEL.sum()), int((~LABEL).sum())
    return {
        **of_powers(*(one[name].to_numpy() for name in POWERS)),
        **of_bins(*(bins[name].to_numpy() for name in ("feature", "bin", "n"))),
        **{name: one[name].to_numpy() for name in ("n_documents_fires", "token_entropy")},
        **{name: pairs[name].to_numpy() for name in ("joint", "product")},
        "auroc": (ranked["rank"].to_numpy() - p * (p + 1) / 2) / (p * q),
    }


def by_duckdb(chunks: list[int]) -> Found:
    """SQL over postings; what merges is aggregated by chunk first."""
    classes = {"positive": int(LABEL.sum()), "negative": int((~LABEL).sum())}
    with duckdb.connect() as connection:
        connection.register("postings", posted(chunks))
        told = {
            name: list(
                connection.execute(text, classes if name == "auroc" else None).fetchnumpy().values()
            )
            for name, text in SQL.items()
        }
    return {
        **of_powers(*told["powers"][1:]),
        **of_bins(*told["histogram"]),
        "n_documents_fires": told["documents"][1],
        "token_entropy": told["entropy"][1],
        "joint": told["joint"][2],
        "product": told["joint"][3],
        "auroc": told["auroc"][1],
    }


def by_dask(chunks: list[int]) -> Found:
    """Each chunk a partition, groups summed over partitions by Dask."""
    whole = posted(chunks)
    parts = [whole[whole["chunk"] == one] for one in range(1, len(chunks))]
    lazily = [dask.delayed(part) for part in parts]  # type: ignore[attr-defined] # not exported
    acts = dask.dataframe.from_delayed(lazily, meta=whole.iloc[:0])
    acts = acts.assign(
        bin=np.ceil(np.log(acts["value"]) / np.log(GAMMA)),
        **{f"s{power}": acts["value"] ** power for power in (1, 2, 3, 4)},
    )
    pairs = acts.merge(acts[["row", "feature", "value"]], on="row", suffixes=("", "_b"))
    pairs = pairs[pairs["feature"] < pairs["feature_b"]]
    pairs = pairs.assign(product=pairs["value"] * pairs["value_b"])
    by_feature = acts.groupby("feature")
    sums, fires, bins, documents, tokens, both, levels = dask.compute(  # type: ignore[attr-defined, no-untyped-call]
        by_feature[["s1", "s2", "s3", "s4"]].sum(),
        by_feature.size(),
        acts.groupby(["feature", "bin"]).size(),
        acts[["feature", "document"]].drop_duplicates().groupby("feature").size(),
        acts.groupby(["feature", "token"]).size(),
        pairs.groupby(["feature", "feature_b"])["product"].agg(["count", "sum"]),
        acts.groupby(["feature", "value"])["label"].agg(["count", "sum"]),
        scheduler="threads",
    )
    both, levels = both.sort_index(), levels.sort_index().astype(float)
    p, q = LABEL.sum(), (~LABEL).sum()
    auroc, bits = [], []
    for one in range(F):
        count, positive = (levels.loc[one][name].to_numpy() for name in ("count", "sum"))
        negative = count - positive
        above = q - negative.sum() + np.cumsum(negative) - negative / 2
        silent = (p - positive.sum()) * (q - negative.sum()) / 2
        auroc.append((positive @ above + silent) / (p * q))
        seen = tokens.loc[one].to_numpy()
        plain = stats.entropy(seen, base=2)
        bits.append(plain + (len(seen) - 1) / (2 * seen.sum() * np.log(2)))
    index = bins.reset_index()
    return {
        **of_powers(fires.sort_index(), *(sums.sort_index()[f"s{one}"] for one in (1, 2, 3, 4))),
        **of_bins(*(index[name].to_numpy() for name in index)),
        "n_documents_fires": documents.sort_index().to_numpy(),
        "token_entropy": np.array(bits),
        "joint": both["count"].to_numpy(),
        "product": both["sum"].to_numpy(),
        "auroc": np.array(auroc),
    }


def by_states(chunks: list[int]) -> Found:
    """Ours: a state of each chunk, by Dask's threads, merged."""
    size = np.full(N, DOCUMENT_ROWS)

    def states(part: slice) -> tuple[Any, ...]:
        codes = csr_from_dense(DENSE[part])
        postings = Postings.of(codes, np.ones(codes.rows, np.bool_))
        return (
            FeatureMoments.of_postings(postings),
            FeatureHistogram.of_postings(postings),
            FeatureTokens.of_postings(postings, token_id=TOKEN[part]),
            FeatureDocuments.of(postings, document=DOCUMENT[part], size=size[part]),
            CoFirings.of(Sides(codes), start=0, stop=F),
        )

    lazily = dask.delayed(states)  # type: ignore[attr-defined] # theirs is not exported
    parts = [lazily(slice(*span)) for span in pairwise(chunks)]
    computed = dask.compute(*parts, scheduler="threads")  # type: ignore[attr-defined,no-untyped-call]
    moments, histogram, tokens, documents, joint = (
        reduce(lambda a, b: a.merge(b), column) for column in zip(*computed, strict=True)
    )
    ranked = RankedFeatures(scipy.sparse.csr_array(DENSE.astype(float)))
    bins = histogram.finish()
    _, _, both, product = joint.pairs()
    return {
        **moments.finish(),
        "histogram": np.stack((bins["feature"], bins["bin"], bins["count"]), axis=1),
        "q90_active": histogram.quantile(0.9),
        "q99_all": histogram.quantile_all(0.99),
        "n_documents_fires": documents.finish()["n_documents_fires"],
        "token_entropy": tokens.profile()["token_entropy"],
        "joint": both,
        "product": product,
        "auroc": ranked.scores((~LABEL).astype(int), 2)["auroc"][:, 0],
    }


@pytest.fixture(scope="module")
def right() -> Found:
    return by_numpy()


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("engine", [by_states, by_polars, by_duckdb, by_dask])
def test_statistics__agree_with_numpy(engine: Any, chunks: list[int], right: Found) -> None:
    found = engine(chunks)
    for name, values in right.items():
        if values.dtype.kind in "iu":
            np.testing.assert_array_equal(found[name], values, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)


def test_quantiles__are_within_one_percent_of_the_exact_ones(right: Found) -> None:
    active = [np.quantile(one[one > 0], 0.9, method="lower") for one in DENSE.T]
    assert right["q90_active"] == pytest.approx(np.array(active), rel=0.0101)
    exact = np.quantile(DENSE.astype(float), 0.99, axis=0, method="lower")
    assert right["q99_all"] == pytest.approx(exact, rel=0.0101)
