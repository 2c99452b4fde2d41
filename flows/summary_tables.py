"""What ``summarize`` writes: the states of all shards merged, and their columns as rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.examples import (
    hard_negatives,
    quantile_examples,
    random_examples,
    silent_examples,
)
from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.grouping import distinct
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.positions import FeaturePositions
from actlake.analytics.features.sources import FeatureSources
from actlake.analytics.features.token_shapes import SHAPES, token_shapes
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.statistic import Arrays, Statistic, Wide, merge_in_order, merge_wide
from actlake.flows.codes_blocks import masked_shards
from actlake.flows.feature_table import feature_table
from actlake.flows.summary_states import contexts_of, per_stratum
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.durable import Digest
from actlake.storage.lake import Lake
from actlake.storage.partials import read_partial

__all__ = ["Merging", "tables_of"]

QUANTILES_ACTIVE = {"q50_active": 0.5, "q90_active": 0.9, "q99_active": 0.99}
QUANTILES_ALL = {"q90_all": 0.9, "q99_all": 0.99, "q999_all": 0.999}
NEGATIVE_TOKENS = 3
"""Tokens of a feature that its hard negatives are looked for among."""
Columns = Mapping[str, NDArray[Any]]
S = TypeVar("S", bound=Statistic)
W = TypeVar("W", bound=Wide)


@dataclass(frozen=True, slots=True)
class Merging:
    """The partials of one summary, to be merged in the order of their shards."""

    lake: Lake
    codes: Codes
    mask: str
    partials: Mapping[tuple[str, int], tuple[str, Digest]]

    def merged(self, name: str, from_arrays: Callable[[Arrays], S]) -> S:
        return merge_in_order(self.states(name, from_arrays))

    def merged_wide(self, name: str, from_arrays: Callable[[Arrays], W]) -> W:
        return merge_wide(self.states(name, from_arrays))

    def states(self, name: str, from_arrays: Callable[[Arrays], S]) -> Iterator[S]:
        """The state of each shard, in order."""
        for shard in range(len(self.codes.grid)):
            yield from_arrays(read_partial(self.lake.store, *self.partials[name, shard]))


def tables_of(
    merging: Merging, run: str, examples: int, tokens: int, *, with_sources: bool
) -> dict[str, pa.Table]:
    """Every table of a summary; ``examples`` and ``tokens`` as given to ``summarize``."""
    histogram = merging.merged_wide("histogram", FeatureHistogram.from_arrays)
    positions = merging.merged("positions", FeaturePositions.from_arrays)
    statistics = {
        **merging.merged("moments", FeatureMoments.from_arrays).finish(),
        **{name: histogram.quantile(share) for name, share in QUANTILES_ACTIVE.items()},
        **{name: histogram.quantile_all(share) for name, share in QUANTILES_ALL.items()},
        **merging.merged("documents", FeatureDocuments.from_arrays).finish(),
        **_sources(merging, with_sources),
    }
    profiles, rankings = _tokens(merging, tokens)
    profiles = {"feature": statistics["feature"], **profiles, **positions.finish()}
    profiles |= merging.merged("gaps", FeatureGaps.from_arrays).finish()
    found: dict[str, Columns] = {
        "feature_statistics": statistics,
        "feature_profiles": profiles,
        "feature_histograms": histogram.finish(),
        "feature_positions": positions.table(),
        "feature_tokens": rankings,
        "feature_examples": _examples(merging, histogram, rankings, examples),
    }
    key = {"codes": merging.codes.name, "mask": merging.mask, "run": run}
    return {name: feature_table(name, columns, key) for name, columns in found.items()}


def _sources(merging: Merging, asked: bool) -> Columns:
    """Columns of feature_statistics; NaN where no sources were asked for."""
    if asked:
        return merging.merged("sources", FeatureSources.from_arrays).finish()
    none = np.full(merging.codes.n_features, np.nan)
    return dict.fromkeys(("n_sources", "n_sources_fires", "gini_sources"), none)


def _tokens(merging: Merging, k: int) -> tuple[dict[str, NDArray[Any]], Columns]:
    """The columns of feature_profiles that are about tokens, and the rows of feature_tokens."""
    tokens = merging.merged_wide("tokens", FeatureTokens.from_arrays)
    shares = tokens.shares(token_shapes(_vocabulary(merging)))
    profile = tokens.profile() | {
        f"{shape}_share": share for shape, share in zip(SHAPES, shares.T, strict=True)
    }
    ranked: list[Columns] = [tokens.finish(k)]
    for side in ("previous", "next"):
        beside = merging.merged_wide(f"{side}_tokens", FeatureTokens.from_arrays)
        theirs = beside.profile()
        profile |= {
            f"{side}_entropy": theirs["token_entropy"],
            f"{side}_token_share": theirs["top_token_share"],
        }
        top = beside.top("count", k)
        ranked.append({"kind": np.full(len(top["rank"]), side), **top})
    return profile, _joined(ranked)


def _examples(merging: Merging, histogram: FeatureHistogram, tokens: Columns, k: int) -> Columns:
    by_value = merging.merged_wide("value_rows", BottomRows.from_arrays)
    silent = merging.merged_wide("silent_rows", BottomRows.from_arrays)
    by_token = merging.merged_wide("token_rows", BottomRows.from_arrays)
    best = (tokens["kind"] == "count") & (tokens["rank"] <= NEGATIVE_TOKENS)
    top = {name: tokens[name][best] for name in ("feature", "token_id")}
    wanted = by_token.row[np.isin(by_token.group, top["token_id"])]
    rows = distinct(np.concatenate((silent.row, wanted)))
    codes = _codes_of(merging.codes, rows)
    in_sample = _take(codes, np.searchsorted(rows, silent.row))
    found = {
        "top": merging.merged_wide("top_rows", TopRows.from_arrays).finish(),
        "quantile": quantile_examples(by_value, histogram, per_stratum(k)),
        "random": random_examples(merging.merged_wide("random_rows", BottomRows.from_arrays)),
        "silent": silent_examples(silent, in_sample, k),
        "negative": hard_negatives(top, by_token, codes, rows, k),
    }
    joined = _joined(
        [{"kind": np.full(len(one["rank"]), kind), **one} for kind, one in found.items()]
    )
    return {**joined, "n_alike": _alike(merging, joined["context"])}


def _alike(merging: Merging, context: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows under the mask whose context is each of ``context``; reads the tokens once."""
    wanted, place = np.unique(context, return_inverse=True)
    counted = np.zeros(len(wanted), np.int64)
    shards = masked_shards(merging.lake, merging.codes, merging.lake.mask(merging.mask))
    for shard, kept, _ in shards if len(wanted) else ():
        mine = contexts_of(merging.codes, shard)[kept]
        at = np.minimum(np.searchsorted(wanted, mine), len(wanted) - 1)
        counted += np.bincount(at[wanted[at] == mine], minlength=len(wanted))
    return counted[place]


def _codes_of(codes: Codes, rows: NDArray[np.int64]) -> Csr:
    """The codes of ``rows``, ascending; reads each shard that holds one once."""
    parts = []
    for shard in range(len(codes.grid)):
        start, stop = codes.grid.span(shard)
        low, high = np.searchsorted(rows, (start, stop))
        if low < high:
            here = np.zeros(stop - start, np.bool_)
            here[rows[low:high] - start] = True
            parts.append(codes.shard(shard).keep(here))
    lengths = [np.diff(part.indptr) for part in parts]
    return Csr(
        np.concatenate((np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths)))),
        np.concatenate([part.indices for part in parts]),
        np.concatenate([part.values for part in parts]),
        codes.n_features,
    )


def _take(codes: Csr, places: NDArray[np.int64]) -> Csr:
    """The rows at ``places``, in that order."""
    lengths = np.diff(codes.indptr)[places]
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    at = np.arange(starts[-1]) + np.repeat(codes.indptr[places] - starts[:-1], lengths)
    return Csr(starts, codes.indices[at], codes.values[at], codes.n_features)


def _vocabulary(merging: Merging) -> list[str]:
    """Text of each token of the rows' tokenizer, by its number; none where rows have no tokens."""
    query = "SELECT token_id, text FROM vocabulary WHERE tokenizer = $tokenizer"
    found = merging.lake.sql(query, tokenizer=merging.codes.rowset.tokenizer or "").rows()
    texts = [""] * (1 + max((int(str(token)) for token, _ in found), default=-1))
    for token, text in found:
        texts[int(str(token))] = str(text)
    return texts


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
