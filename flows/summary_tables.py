"""What ``summarize`` writes: the states of all shards merged, and their columns as rows."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import takewhile
from threading import Event
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.analytics.features.bottom_rows import STRATUM_BINS
from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.positions import FeaturePositions
from actlake.analytics.features.sources import FeatureSources
from actlake.analytics.features.token_shapes import SHAPES, token_shapes
from actlake.analytics.features.tokens import FeatureTokens
from actlake.flows.feature_table import feature_table
from actlake.flows.state_ranges import states_by_range
from actlake.flows.summary_examples import Columns, examples_of, examples_of_set, joined
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import per_stratum
from actlake.storage.run import Run
from actlake.storage.threads import default_threads
from actlake.storage.transaction import StagedRows

__all__ = ["tables_of"]

F = TypeVar("F", FeatureHistogram, FeatureTokens)
SIDES = ("previous", "next")
Told = Future[tuple[Columns, Columns]]
"""Columns of feature_profiles and rows of feature_tokens, told by another thread."""
BINS_A_FILE = 2_000_000
"""Rows of feature_histograms, at least, where there are more."""
QUANTILES_ACTIVE = {"q50_active": 0.5, "q90_active": 0.9, "q99_active": 0.99}
QUANTILES_ALL = {"q90_all": 0.9, "q99_all": 0.99, "q999_all": 0.999}


def tables_of(
    merging: Merging, run: Run, examples: int, tokens: int
) -> tuple[dict[str, pa.Table], list[StagedRows]]:
    """Every table of a summary but feature_histograms, and the rows of that one;
    ``examples`` and ``tokens`` as given to ``summarize``."""
    key = {"codes": merging.name, "mask": merging.mask, "run": run.run}
    # Tokens are half of the work; what they need of the lake is asked for here, not there.
    shapes = token_shapes(_vocabulary(merging))
    stop, bins = Event(), list[StagedRows]()
    with ThreadPoolExecutor(default_threads(), "tables") as pool:
        try:
            own = pool.submit(_tokens, merging, shapes, tokens, stop)
            beside = [pool.submit(_tokens_beside, merging, side, tokens, stop) for side in SIDES]
            quantiles, histogram = _histograms(merging, run, key, bins)
            found = _columns(merging, examples, quantiles, histogram, own, beside)
            tables = pool.map(lambda name: feature_table(name, found[name], key), found)
            return dict(zip(found, tables, strict=True)), bins
        except BaseException:  # Ctrl-C, too: nobody wants the tokens any more
            stop.set()
            for one in bins:
                one.discard()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _histograms(
    merging: Merging, run: Run, key: Mapping[str, str], staged: list[StagedRows]
) -> tuple[Columns, FeatureHistogram]:
    """Columns of feature_statistics, and the histogram of all features, the bins of a stratum in
    one; ``staged`` gets the rows of feature_histograms, far more than any others, so that they do
    not wait."""
    columns, coarse, waiting = list[Columns](), list[FeatureHistogram](), list[pa.Table]()

    def stage() -> None:
        if any(map(len, waiting)):
            staged.append(run.catalog.stage("feature_histograms", pa.concat_tables(waiting)))
        waiting.clear()

    for first, histogram in _by_features(merging, "histogram", FeatureHistogram):
        quantiles = {name: histogram.quantile(share) for name, share in QUANTILES_ACTIVE.items()}
        quantiles |= {name: histogram.quantile_all(share) for name, share in QUANTILES_ALL.items()}
        columns.append(quantiles)
        placed = replace(histogram, feature=histogram.feature + first)
        coarse.append(placed.coarse(STRATUM_BINS))
        waiting.append(feature_table("feature_histograms", placed.finish(), key))
        if sum(map(len, waiting)) >= BINS_A_FILE:
            stage()
    stage()
    entries = joined([one.finish() for one in coarse])
    whole = FeatureHistogram(coarse[0].n_rows, merging.n_features, **entries)
    return joined(columns), whole


def _columns(
    merging: Merging,
    examples: int,
    quantiles: Columns,
    histogram: FeatureHistogram,
    own: Told,
    beside: Sequence[Told],
) -> dict[str, Columns]:
    """Columns of each other table, with those of ``_tokens`` and ``_tokens_beside``."""
    positions = merging.merged("positions", FeaturePositions.from_arrays)
    statistics = {
        **merging.merged("moments", FeatureMoments.from_arrays).finish(),
        **quantiles,
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
    ranges = _by_features(merging, "tokens", FeatureTokens)
    for first, tokens in takewhile(lambda _: not stop.is_set(), ranges):
        shares = zip(SHAPES, tokens.shares(shapes).T, strict=True)
        profiles.append(tokens.profile() | {f"{shape}_share": share for shape, share in shares})
        ranked.append(_from(first, tokens.finish(k)))
    return joined(profiles), joined(ranked)


def _tokens_beside(merging: Merging, side: str, k: int, stop: Event) -> tuple[Columns, Columns]:
    """The same of the tokens before or after those, as ``side`` says: fewer columns, one kind."""
    ranked, profiles = list[Columns](), list[Columns]()
    ranges = _by_features(merging, f"{side}_tokens", FeatureTokens)
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


def _by_features(merging: Merging, name: str, kind: type[F]) -> Iterator[tuple[int, F]]:
    """The state of some features after the other: the first, and a state in which it has the
    number 0."""
    for first, stop, state in states_by_range(merging, name, kind, merging.n_features):
        yield first, replace(state, n_features=stop - first, feature=state.feature - first)


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
