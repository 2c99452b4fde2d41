"""Counts cannot drift: what is stored, posted and summarized is what a dense computation counts."""

import shutil
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy import stats

from actlake.analytics.dictionaries.torch_encoder import TorchEncoder
from actlake.flows.encode import encode
from actlake.flows.extract import extract
from actlake.flows.ingest import ingest_documents
from actlake.flows.summarize import summarize
from actlake.flows.train import train
from actlake.storage.errors import InputError, NotFoundError, PrecisionError
from actlake.storage.lake import Lake
from tests.flows.counted import CODES, MASKS, Dense, stored, table, under
from tests.flows.counted import counted_lake as counted_lake
from tests.flows.tiny import state


@pytest.fixture
def copied(lake: Lake, tmp_path: Path) -> Lake:
    return Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))


def dense(lake: Lake) -> Dense:
    """The codes as a matrix, by the arithmetic of a TopK encoder written out here."""
    file, tensor = lake.dictionary("d"), lake.tensor("tiny-llama:resid_post.1@c")
    x = tensor[:].astype(np.float32)
    arrays = file.arrays
    codes = np.maximum(0, (x - arrays["b_dec"]) @ arrays["W_enc"] + arrays["b_enc"])
    kept = np.zeros_like(codes)
    best = np.argsort(-codes, axis=1)[:, : file.config["k"]]
    np.put_along_axis(kept, best, np.take_along_axis(codes, best, axis=1), axis=1)
    return kept.astype(np.float16).astype(np.float64)


def test_codes__are_the_k_largest_of_each_row(lake: Lake) -> None:
    found, right = stored(lake), dense(lake)
    # Matrix products over other blocks differ in the last bits, so a tie may fall either way.
    assert (np.abs(found - right) <= 1e-2 * np.abs(right).max()).all()
    assert ((found > 0) == (right > 0)).mean() > 0.999
    assert (np.diff(lake.codes(CODES)[:].indptr) <= 4).all()
    assert (lake.codes(CODES)[:].values > 0).all()


def test_rows__agree_from_rowset_to_postings(lake: Lake) -> None:
    codes, tensor = lake.codes(CODES), lake.tensor("tiny-llama:resid_post.1@c")
    rows = lake.rowset("c@tiny-llama").rows
    assert len(codes) == len(tensor) == rows
    for owner, array in ((tensor.id, "rows"), (codes.id, "indptr"), (codes.id, "postings")):
        spans = lake.sql(
            'SELECT row_start, row_stop FROM shards WHERE owner = $owner AND "array" = $array '
            "ORDER BY shard",
            owner=owner,
            array=array,
        ).rows()
        assert spans[0][0] == 0
        assert spans[-1][1] == rows
        assert all(stop == start for (_, stop), (start, _) in pairwise(spans))
    [(nnz,)] = lake.sql("SELECT nnz FROM codes WHERE codes = $codes", codes=CODES).rows()
    block = codes[:]
    assert nnz == block.nnz == np.count_nonzero(stored(lake))
    postings = lake.table("postings").filter(pl.col("codes") == CODES).collect()
    assert len(postings) == nnz
    matrix = np.zeros((rows, codes.n_features))
    matrix[postings["row"].to_numpy(), postings["feature"].to_numpy()] = postings["value"]
    assert np.array_equal(matrix, stored(lake))


@pytest.mark.parametrize("mask", MASKS)
def test_feature_statistics__equal_a_dense_computation(lake: Lake, mask: str) -> None:
    kept = stored(lake)[under(lake, mask)]
    fires = kept > 0  # a zero is silence (HypotheSAEs counted zeros as positive)
    found = table(lake, "feature_statistics", mask).sort("feature")
    active = [column[column > 0] for column in kept.T]
    assert found["n_rows"].to_list() == [len(kept)] * kept.shape[1]
    assert found["n_fires"].to_list() == fires.sum(axis=0).tolist()

    def each(function: Callable[[Dense], Any], columns: list[Dense]) -> list[float | None]:
        return [float(function(column)) if len(column) else None for column in columns]

    exact: dict[str, list[float | None]] = {
        "density": fires.mean(axis=0).tolist(),
        "mean_active": each(np.mean, active),
        "std_active": each(np.std, active),
        "min_active": each(np.min, active),
        "max_active": each(np.max, active),
        "mean_all": kept.mean(axis=0).tolist(),
        "std_all": kept.std(axis=0).tolist(),
    }
    constant = (kept == kept[0]).all(axis=0)
    with np.errstate(all="ignore"):
        for name, function in (("skew_all", stats.skew), ("kurtosis_all", stats.kurtosis)):
            values = [
                None if flat else function(c) for c, flat in zip(kept.T, constant, strict=True)
            ]
            exact[name] = values
    for name, right in exact.items():
        close(found[name].to_list(), right, 1e-6, name)
    for name, q in (("q50_active", 0.5), ("q90_active", 0.9), ("q99_active", 0.99)):
        right = each(partial(np.quantile, q=q, method="lower"), active)
        close(found[name].to_list(), right, 0.0101, name)


def close(found: list[Any], right: list[Any], tolerance: float, what: str) -> None:
    assert [value is None for value in found] == [value is None for value in right], what
    for value, expected in zip(found, right, strict=True):
        if expected is not None:
            assert value == pytest.approx(expected, rel=tolerance, abs=1e-12), what


@pytest.mark.parametrize("mask", MASKS)
def test_feature_examples__are_the_strongest_rows(lake: Lake, mask: str) -> None:
    """Delphi sorted ascending, and so looked at the weakest."""
    kept = stored(lake) * under(lake, mask)[:, None]
    found = table(lake, "feature_examples", mask).sort("feature", "rank")
    for feature in range(kept.shape[1]):
        mine = found.filter((pl.col("feature") == feature) & (pl.col("kind") == "top"))
        strongest = np.sort(kept[:, feature][kept[:, feature] > 0])[::-1][:5]
        assert mine["value"].to_list() == strongest.tolist()
        assert mine["rank"].to_list() == [*range(1, len(strongest) + 1)]
        assert kept[mine["row"].to_numpy(), feature].tolist() == strongest.tolist()
        assert mine["row"].n_unique() == len(mine)


@pytest.mark.parametrize("mask", MASKS)
def test_feature_tokens__equal_a_dense_count(lake: Lake, mask: str) -> None:
    rows = under(lake, mask)
    fires = stored(lake)[rows] > 0
    token_id = lake.codes(CODES).rowset.column("token_id")[rows]
    seen = np.bincount(token_id)
    found = table(lake, "feature_tokens", mask)
    for feature, fired in enumerate(fires.T):
        count = np.bincount(token_id[fired], minlength=len(seen))
        mine = found.filter((pl.col("feature") == feature) & (pl.col("kind") == "count"))
        mine = mine.sort("rank")
        assert mine["count"].to_list() == sorted(count[count > 0].tolist(), reverse=True)[:4]
        for row in mine.iter_rows(named=True):
            token = row["token_id"]
            assert row["count"] == count[token]
            lift = (count[token] / count.sum()) / (seen[token] / seen.sum())
            assert row["lift"] == pytest.approx(lift)
        lifted = found.filter((pl.col("feature") == feature) & (pl.col("kind") == "lift"))
        assert lifted.sort("rank")["lift"].is_sorted(descending=True)
        values = stored(lake)[rows][fired, feature].astype(float)
        enough = np.flatnonzero(count >= 5)
        sums = np.bincount(token_id[fired], weights=values, minlength=len(seen))
        means = sums[enough] / count[enough]
        strong = found.filter((pl.col("feature") == feature) & (pl.col("kind") == "mean"))
        strong = strong.sort("rank")
        assert strong["mean"].to_list() == pytest.approx(np.sort(means)[::-1][:4].tolist())
        assert set(strong["token_id"]) <= set(enough.tolist())


def test_summary__replaces_the_one_before_and_can_be_had_back(copied: Lake) -> None:
    first = state(copied)
    options: dict[str, Any] = {"codes": CODES, "mask": "late"}
    summarize(copied, **options, examples=2, tokens=1)
    smaller = table(copied, "feature_examples", "late")
    assert (
        smaller.group_by("feature", "kind").len().filter(pl.col("kind") == "top")["len"].max() == 2
    )
    assert len(table(copied, "feature_statistics", "late")) == 32
    assert len(table(copied, "feature_histograms", "late")) == len(
        table(copied, "feature_histograms", "late").unique(["feature", "bin"])
    )
    assert [str(fault) for fault in copied.verify()] == []
    summarize(copied, **options, examples=5, tokens=4)  # as the fixture did, two runs ago
    again = state(copied)
    for name in ("feature_histograms", "feature_examples", "feature_tokens"):
        assert again[name] == first[name]
    newest = copied.newest_snapshot()
    summarize(copied, **options, examples=5, tokens=4)
    assert copied.newest_snapshot() == newest


def test_summary__under_a_mask_without_rows_is_refused(copied: Lake) -> None:
    copied.create_mask("never", "position < 0")
    before = state(copied)
    with pytest.raises(InputError, match=r"no row of c@tiny-llama is under the mask never"):
        summarize(copied, codes=CODES, mask="never")
    with pytest.raises(NotFoundError, match="nobody"):
        summarize(copied, codes=CODES, mask="nobody")
    with pytest.raises(NotFoundError, match="x@c"):
        summarize(copied, codes="x@c")
    with pytest.raises(InputError, match="give 1 or more of each"):
        summarize(copied, codes=CODES, examples=0)
    assert state(copied) == before


def test_documents__are_summarized_without_tokens(lake: Lake, tmp_path: Path, tiny: Any) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    ingest_documents(copied, corpus="c")
    source = str(tiny("llama"))
    [tensor] = extract(copied, source=source, sites=["pooled.mean"], corpus="c", torch_threads=1)
    name = train(copied, tensor=tensor, method="identity", k=4, mask="all")
    codes = encode(copied, dictionary=name)
    summarize(copied, codes=codes)
    rows = copied.table("feature_statistics").filter(pl.col("codes") == codes).collect()
    values = np.maximum(copied.tensor(tensor)[:].astype(np.float64), 0)
    threshold = -np.sort(-values, axis=1)[:, 3, None]
    values = np.where(values >= threshold, values, 0)  # the 4 largest of each row
    assert rows["n_rows"].to_list() == [48] * 16
    assert rows.sort("feature")["n_fires"].to_list() == (values > 0).sum(axis=0).tolist()
    tokens = copied.table("feature_tokens").filter(pl.col("codes") == codes).collect()
    assert len(tokens) == 0
    assert [str(fault) for fault in copied.verify()] == []


def test_codes__that_overflow_leave_no_trace(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    before = state(copied)
    encoded, calls = TorchEncoder.encode, []

    def overflows(self: TorchEncoder, rows: NDArray[Any], dtype: str = "float32") -> Any:
        calls.append(len(rows))
        if len(calls) == 3:  # two shards are committed by then
            rows = rows * np.float32(1e6)
        return encoded(self, rows, dtype)

    monkeypatch.setattr(TorchEncoder, "encode", overflows)
    with pytest.raises(PrecisionError, match=r"codes big@c, rows .* float32"):
        encode(copied, dictionary="d", codes="big@c")
    monkeypatch.undo()
    assert state(copied) == before
    assert [str(fault) for fault in copied.verify()] == []
    assert encode(copied, dictionary="d", codes="big@c", dtype="float32") == "big@c"


def test_evaluations__compare_with_the_baselines_on_held_out_rows(lake: Lake) -> None:
    found = lake.table("evaluations").filter(pl.col("dictionary") == "d").collect()
    metrics = {(row["split"], row["metric"]): row for row in found.iter_rows(named=True)}
    for split in ("train", "holdout"):
        assert {metric for s, metric in metrics if s == split} >= {
            *("fvu", "l0", "dead_share", "fvu_pca", "fvu_pca_topk", "fvu_random")
        }
        assert metrics[split, "fvu"]["value"] < metrics[split, "fvu_random"]["value"]
        assert metrics[split, "l0"]["value"] <= 4
    rows = {split: metrics[split, "fvu"]["n"] for split in ("train", "holdout")}
    content = int(under(lake, "no_special").sum())
    assert 0 < rows["holdout"] < rows["train"] < content


def test_bad_dictionaries__leave_no_trace(lake: Lake, tmp_path: Path) -> None:
    copied = Lake.open(shutil.copytree(lake.root, tmp_path / "lake"))
    before = state(copied)
    good: dict[str, Any] = {"tensor": "tiny-llama:resid_post.1@c"}
    bad: list[tuple[dict[str, Any], str]] = [
        ({"k": 65}, r"k is 65 .* 64 features; choose k from 1 to 64"),
        ({"k": 0}, "k is 0"),
        ({"k": 4, "n_features": 0}, "0 features"),
        ({"k": 4, "method": "magic"}, "no method 'magic'"),
        ({"k": 4, "method": "pca", "n_features": 12}, "32 features, not 12"),
        ({"k": 4, "tensor": "nothing"}, "no tensor 'nothing'"),
        ({"k": 4, "mask": "nobody"}, "no mask 'nobody'"),
        ({"k": 4, "dictionary": "../d"}, "is no name for a dictionary"),
        ({"k": 4, "dictionary": "d", "n_features": 32, "steps": 31}, "'d' is taken"),
    ]
    for options, message in bad:
        with pytest.raises(InputError, match=message):
            train(copied, **{**good, **options})
    assert state(copied) == before
