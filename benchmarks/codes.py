"""Sparse features: encoded into codes and postings, and summarized."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.analytics.statistic import merge_in_order, merge_wide
from actlake.flows.encode import encode
from actlake.flows.summarize import summarize
from actlake.flows.summary_states import blocks_of, statistics_of
from actlake.storage import Codes, Document, Lake
from benchmarks.feature_lake import Masks, lake_of, postings_of, write_dictionary_of
from benchmarks.latent_peers import open_delphi
from benchmarks.measure import Benchmark, Case, Fact, Side, timed
from benchmarks.peer import Peer, installed
from benchmarks.sizes import Sizes

BLOCK_ROWS = 2048
SAMPLE_ROWS = 1024
STATISTICS = """
    SELECT
        p.feature,
        count(*),
        avg(p.value),
        stddev_pop(p.value),
        min(p.value),
        max(p.value),
        approx_quantile(p.value, [0.5, 0.9, 0.99]),
        arg_max(p."row", p.value, 20)
    FROM postings AS p
    JOIN tokens AS t ON t.rowset = 'rows' AND t."row" = p."row"
    WHERE p.codes = $codes AND NOT t.is_special
    GROUP BY p.feature ORDER BY p.feature
"""
TOKENS = """
    SELECT p.feature, t.token_id, count(*), avg(p.value)
    FROM postings AS p
    JOIN tokens AS t ON t.rowset = 'rows' AND t."row" = p."row"
    WHERE p.codes = $codes AND NOT t.is_special
    GROUP BY p.feature, t.token_id
    QUALIFY row_number() OVER (PARTITION BY p.feature ORDER BY count(*) DESC, t.token_id) <= 20
    ORDER BY p.feature, count(*) DESC, t.token_id
"""


def encoding(sizes: Sizes, folder: Path) -> Benchmark:
    """Codes of random rows under a random dictionary, whose cost is that of any."""
    lake, stored, learned = encoding_lake(sizes, folder, rows=sizes.encode_rows)
    weights = {name: torch.from_numpy(array) for name, array in learned.arrays.items()}

    bare = "matmul + top-k"
    with ExitStack() as open_peers:
        peers = _encoders(open_peers, folder, stored, learned, sizes.encode_k)
        yield Case(
            "encode",
            f"{len(stored):,} rows × {sizes.encode_features:,} features, the {sizes.encode_k} "
            "largest",
            bare,
            {
                "actlake": lambda n: timed(
                    lambda: encode(lake, dictionary="dictionary", codes=f"codes-{n}")
                ),
                "numpy, nothing stored": lambda _: timed(lambda: learned.encode(stored)),
                bare: lambda _: timed(lambda: _matmul_and_top_k(stored, weights, sizes.encode_k)),
                **peers,
            },
            targets={"actlake": 1 / 0.85},
            behind=dict.fromkeys(peers, 1.0),
            amount=len(stored),
            unit="rows",
        )
    yield from _bytes(lake, "codes-0", "evenly used features")


def encoding_lake(
    sizes: Sizes, folder: Path, *, rows: int
) -> tuple[Lake, NDArray[np.float16], Dictionary]:
    """A lake of a tensor and a dictionary, and what is in them."""
    width = sizes.encode_width
    values = np.random.default_rng(0).standard_normal((rows, width), np.float32)
    stored = values.astype(np.float16)
    lake = Lake.create(folder / "lake")
    lake.create_corpus("corpus", [Document("0", "text")])
    columns = {"document": np.zeros(rows)}
    lake.create_rowset("rows", corpus="corpus", columns=columns, width_hint=width)
    with lake.create_tensor("tensor", rowset="rows", width=width) as writer:
        writer.append(stored)
    learned = random_dictionary(values[:SAMPLE_ROWS], sizes.encode_features, sizes.encode_k, seed=0)
    write_dictionary_of(lake, learned)
    return lake, stored, learned


def summarizing(sizes: Sizes, folder: Path) -> Benchmark:
    """Statistics of features whose use falls off as a power of their rank, as real ones do."""
    lake = lake_of(sizes, folder)
    codes = lake.codes("codes")
    masks = Masks(lake)

    def ours(_number: int) -> float:
        mask = masks.new()
        return timed(lambda: summarize(lake, codes="codes", mask=mask))

    def duckdb(_number: int) -> float:
        return timed(lambda: [lake.sql(one, codes="codes").arrow() for one in (STATISTICS, TOKENS)])

    some, whole = "moments, histogram and strongest rows", "actlake"
    with ExitStack() as opened:
        peers = _statistics(opened, folder, lake)
        yield Case(
            "summarize",
            f"{postings_of(lake):,} postings × {sizes.summary_features:,} features",
            "one sort by feature, and sums",
            {
                whole: ours,
                f"of which {some}": lambda _: timed(lambda: _three_states(lake)),
                "one sort by feature, and sums": lambda _: timed(lambda: _sort_and_sum(codes)),
                "the same answers in SQL, without histograms": duckdb,
                **peers,
            },
            allowed={whole: 10.0, f"of which {some}": 2.0},
        )
    yield from _bytes(lake, "codes", "features used as a power law")


def _three_states(lake: Lake) -> None:
    """Counts, moments, histograms and strongest rows of every feature, as columns."""
    codes, make = lake.codes("codes"), statistics_of(20, None)
    names = ("moments", "histogram", "top_rows")
    made: dict[str, list[Any]] = {name: [] for name in names}
    for block in blocks_of(lake, codes, lake.mask("no_special"), range(len(codes.grid))):
        for name in names:
            made[name].append(make[name](block))
    merge_in_order(made["moments"]).finish()
    for name in ("histogram", "top_rows"):
        merge_wide(made[name]).finish()


def _statistics(opened: ExitStack, folder: Path, lake: Lake) -> dict[str, Side]:
    """Delphi's five numbers of all latents together; none where it is not installed."""
    if not installed():
        return {}
    return {"Delphi: five numbers": open_delphi(opened, folder, lake).side("statistics")}


def _encoders(
    opened: ExitStack, folder: Path, rows: NDArray[np.float16], learned: Dictionary, k: int
) -> dict[str, Side]:
    """Those of SAELens and sparsify, nothing stored; none where they are not installed."""
    if not installed():
        return {}
    arrays = folder / "encoded"
    save_file({"rows": rows, **learned.arrays}, arrays)
    peer = opened.enter_context(Peer("encoders.py"))
    return {
        f"{name}, nothing stored": peer.side(name.lower(), arrays=str(arrays), k=k)
        for name in ("SAELens", "sparsify")
    }


def _matmul_and_top_k(
    rows: NDArray[np.float16], weights: Mapping[str, torch.Tensor], k: int
) -> None:
    """What the arithmetic alone costs, with the fastest kernels at hand."""
    bias = weights["b_enc"] - weights["b_dec"] @ weights["W_enc"]
    room = torch.empty((BLOCK_ROWS, len(bias)))  # new for each would cost a tenth to a fifth more
    for start in range(0, len(rows), BLOCK_ROWS):
        block = torch.from_numpy(rows[start : start + BLOCK_ROWS]).float()
        product = torch.addmm(bias, block, weights["W_enc"], out=room[: len(block)])
        product.relu_().topk(k, dim=1, sorted=False)


def _sort_and_sum(codes: Codes) -> None:
    """What any summary must at least do: read the codes, and group their values by feature."""
    block = codes[:]
    order = np.argsort(block.indices, kind="stable")
    feature, value = block.indices[order], block.values[order].astype(np.float64)
    starts = np.flatnonzero(np.diff(feature.astype(np.int64), prepend=-1))
    np.diff(starts, append=len(feature))
    np.add.reduceat(value, starts)
    np.add.reduceat(np.square(value), starts)
    np.maximum.reduceat(value, starts)


def _bytes(lake: Lake, codes: str, which: str) -> Benchmark:
    """Bytes on disk for each stored value, row-major and feature-major."""
    query = """
        SELECT sum(s.bytes) AS bytes FROM shards AS s JOIN codes AS c ON s.owner = c.id
        WHERE c.codes = $codes AND (s."array" = 'postings') = $postings
    """
    values = sum(lake.codes(codes).values_of_shard.values())
    for name, postings, at_most in (("value of codes", False, 4.2), ("posting", True, 4.0)):
        found = lake.sql(query, codes=codes, postings=postings).arrow()["bytes"][0].as_py()
        yield Fact(f"bytes a {name}, {which}", int(found) / values, "bytes", at_most)
