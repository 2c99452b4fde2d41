"""What ``summarize`` writes: the states of all shards merged, and their columns as rows."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.positions import FeaturePositions
from actlake.analytics.features.sources import FeatureSources
from actlake.analytics.features.token_shapes import SHAPES, token_shapes
from actlake.flows.feature_table import feature_table
from actlake.flows.summary_examples import Columns, examples_of, examples_of_set, joined
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import per_stratum
from actlake.flows.token_ranges import tokens_by_range

__all__ = ["tables_of"]

QUANTILES_ACTIVE = {"q50_active": 0.5, "q90_active": 0.9, "q99_active": 0.99}
QUANTILES_ALL = {"q90_all": 0.9, "q99_all": 0.99, "q999_all": 0.999}


def tables_of(merging: Merging, run: str, examples: int, tokens: int) -> dict[str, pa.Table]:
    """Every table of a summary; ``examples`` and ``tokens`` as given to ``summarize``."""
    histogram = merging.merged_wide("histogram", FeatureHistogram.from_arrays)
    positions = merging.merged("positions", FeaturePositions.from_arrays)
    statistics = {
        **merging.merged("moments", FeatureMoments.from_arrays).finish(),
        **{name: histogram.quantile(share) for name, share in QUANTILES_ACTIVE.items()},
        **{name: histogram.quantile_all(share) for name, share in QUANTILES_ALL.items()},
        **merging.merged(
            "documents", FeatureDocuments.from_arrays, lambda _, state: state.closed()
        ).finish(),
        **_sources(merging),
    }
    profiles, rankings = _tokens(merging, tokens)
    profiles = {"feature": statistics["feature"], **profiles, **positions.finish()}
    before = np.cumsum([0, *(len(one) for one in merging.members)]).tolist()
    gaps = merging.merged("gaps", FeatureGaps.from_arrays, lambda at, one: one.after(before[at]))
    profiles |= gaps.finish()
    if merging.is_set:
        shown = examples_of_set(merging, histogram, per_stratum(examples))
    else:
        shown = examples_of(merging, histogram, rankings, examples)
    found: dict[str, Columns] = {
        "feature_statistics": statistics,
        "feature_profiles": profiles,
        "feature_histograms": histogram.finish(),
        "feature_positions": positions.table(),
        "feature_tokens": rankings,
        "feature_examples": shown,
    }
    key = {"codes": merging.name, "mask": merging.mask, "run": run}
    return {name: feature_table(name, columns, key) for name, columns in found.items()}


def _sources(merging: Merging) -> Columns:
    """Columns of feature_statistics; NaN where no sources were asked for."""
    if merging.sources:
        values = sorted({value for one in merging.sources for value in one.values})
        number = {value: at for at, value in enumerate(values)}
        numbers = [
            np.array([number[value] for value in one.values], np.int64) for one in merging.sources
        ]
        states: FeatureSources = merging.merged(
            "sources", FeatureSources.from_arrays, lambda at, one: one.renumbered(numbers[at])
        )
        return states.finish()
    none = np.full(merging.n_features, np.nan)
    return dict.fromkeys(("n_sources", "n_sources_fires", "gini_sources"), none)


def _tokens(merging: Merging, k: int) -> tuple[dict[str, NDArray[Any]], Columns]:
    """The columns of feature_profiles that are about tokens, and the rows of feature_tokens."""
    shapes = token_shapes(_vocabulary(merging))
    ranked, profiles, beside = list[Columns](), list[Columns](), list[Columns]()
    for first, tokens in tokens_by_range(merging, "tokens"):
        shares = zip(SHAPES, tokens.shares(shapes).T, strict=True)
        profiles.append(tokens.profile() | {f"{shape}_share": share for shape, share in shares})
        ranked.append(_from(first, tokens.finish(k)))
    for side in ("previous", "next"):
        parts = []
        for first, tokens in tokens_by_range(merging, f"{side}_tokens"):
            theirs = tokens.profile()
            parts.append(
                {
                    f"{side}_entropy": theirs["token_entropy"],
                    f"{side}_token_share": theirs["top_token_share"],
                }
            )
            top = tokens.top("count", k)
            ranked.append(_from(first, {"kind": np.full(len(top["rank"]), side), **top}))
        beside.append(joined(parts))
    return {**joined(profiles), **beside[0], **beside[1]}, joined(ranked)


def _from(first: int, rows: Columns) -> Columns:
    """``rows`` of features that are numbered from ``first`` on."""
    return {**rows, "feature": rows["feature"] + first}


def _vocabulary(merging: Merging) -> list[str]:
    """Text of each token of the rows' tokenizer, by its number; none where rows have no tokens."""
    query = "SELECT token_id, text FROM vocabulary WHERE tokenizer = $tokenizer"
    found = merging.lake.sql(query, tokenizer=merging.members[0].rowset.tokenizer or "").rows()
    texts = [""] * (1 + max((int(str(token)) for token, _ in found), default=-1))
    for token, text in found:
        texts[int(str(token))] = str(text)
    return texts
