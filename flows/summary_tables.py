"""What ``summarize`` writes: the states of all shards merged, and their columns as rows."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import takewhile
from threading import Event

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
from actlake.storage.threads import default_threads

__all__ = ["tables_of"]

SIDES = ("previous", "next")
Told = Future[tuple[Columns, Columns]]
"""Columns of feature_profiles and rows of feature_tokens, told by another thread."""
QUANTILES_ACTIVE = {"q50_active": 0.5, "q90_active": 0.9, "q99_active": 0.99}
QUANTILES_ALL = {"q90_all": 0.9, "q99_all": 0.99, "q999_all": 0.999}


def tables_of(merging: Merging, run: str, examples: int, tokens: int) -> dict[str, pa.Table]:
    """Every table of a summary; ``examples`` and ``tokens`` as given to ``summarize``."""
    key = {"codes": merging.name, "mask": merging.mask, "run": run}
    # Tokens are half of the work; what they need of the lake is asked for here, not there.
    shapes = token_shapes(_vocabulary(merging))
    stop = Event()
    with ThreadPoolExecutor(default_threads(), "tables") as pool:
        try:
            own = pool.submit(_tokens, merging, shapes, tokens, stop)
            beside = [pool.submit(_tokens_beside, merging, side, tokens, stop) for side in SIDES]
            found = _columns(merging, examples, own, beside)
            tables = pool.map(lambda name: feature_table(name, found[name], key), found)
            return dict(zip(found, tables, strict=True))
        except BaseException:  # Ctrl-C, too: nobody wants the tokens any more
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _columns(
    merging: Merging, examples: int, own: Told, beside: Sequence[Told]
) -> dict[str, Columns]:
    """Columns of each table, with those of ``_tokens`` and ``_tokens_beside``."""
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
    before = np.cumsum([0, *(len(one) for one in merging.members)]).tolist()
    gaps = merging.merged("gaps", FeatureGaps.from_arrays, lambda at, one: one.after(before[at]))
    if merging.is_set:
        shown = examples_of_set(merging, histogram, per_stratum(examples))
    else:
        shown = examples_of(merging, histogram, lambda: own.result()[1], examples)
    profiles = {"feature": statistics["feature"], **positions.finish()}
    for one in (own, *beside):
        profiles |= one.result()[0]
    return {
        "feature_statistics": statistics,
        "feature_profiles": profiles | gaps.finish(),
        "feature_histograms": histogram.finish(),
        "feature_positions": positions.table(),
        "feature_tokens": joined([one.result()[1] for one in (own, *beside)]),
        "feature_examples": shown,
    }


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


def _tokens(
    merging: Merging, shapes: NDArray[np.bool_], k: int, stop: Event
) -> tuple[Columns, Columns]:
    """Columns of feature_profiles, and rows of feature_tokens, of the tokens a feature fires on.

    ``shapes``, shape (vocabulary, shapes), says which of ``SHAPES`` a token has.
    """
    ranked, profiles = list[Columns](), list[Columns]()
    for first, tokens in takewhile(lambda _: not stop.is_set(), tokens_by_range(merging, "tokens")):
        shares = zip(SHAPES, tokens.shares(shapes).T, strict=True)
        profiles.append(tokens.profile() | {f"{shape}_share": share for shape, share in shares})
        ranked.append(_from(first, tokens.finish(k)))
    return joined(profiles), joined(ranked)


def _tokens_beside(merging: Merging, side: str, k: int, stop: Event) -> tuple[Columns, Columns]:
    """The same of the tokens before or after those, as ``side`` says: fewer columns, one kind."""
    ranked, profiles = list[Columns](), list[Columns]()
    ranges = tokens_by_range(merging, f"{side}_tokens")
    for first, tokens in takewhile(lambda _: not stop.is_set(), ranges):
        theirs = tokens.profile()
        profiles.append(
            {
                f"{side}_entropy": theirs["token_entropy"],
                f"{side}_token_share": theirs["top_token_share"],
            }
        )
        top = tokens.top("count", k)
        ranked.append(_from(first, {"kind": np.full(len(top["rank"]), side, object), **top}))
    return joined(profiles), joined(ranked)


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
