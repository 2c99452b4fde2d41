"""The rows that a summary shows of each feature, of some codes or of a set of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from actlake.analytics.features.bottom_rows import BottomRows, strata_of
from actlake.analytics.features.examples import (
    hard_negatives,
    quantile_examples,
    random_examples,
    silent_examples,
)
from actlake.analytics.features.grouping import distinct
from actlake.analytics.features.histogram import BINS, FeatureHistogram
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.features.windows import apart
from actlake.analytics.statistic import merge_wide
from actlake.flows.codes_blocks import masked_shards
from actlake.flows.state_ranges import merged_by_range, states_by_range
from actlake.flows.summary_merging import Merging
from actlake.flows.summary_states import contexts_of, per_stratum
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr

__all__ = ["Columns", "examples_of", "examples_of_set", "joined"]

NEGATIVE_TOKENS = 3
"""Tokens of a feature that its hard negatives are looked for among."""
ENTRY = ("feature", "row", "value", "context")
Columns = Mapping[str, NDArray[Any]]
R = TypeVar("R", TopRows, BottomRows)


def examples_of(
    merging: Merging, histogram: FeatureHistogram, rankings: Callable[[], Columns], k: int
) -> Columns:
    """The rows of feature_examples of codes that are no set; reads the codes of some rows.

    ``histogram`` may have the bins of a stratum in one. ``rankings`` gives the rows of
    feature_tokens; it is asked once all else is merged.
    """
    columns = joined([*_kinds(merging, histogram, rankings, k)])
    none = np.full(len(columns["row"]), None)
    return {**columns, "n_alike": _alike(merging, columns["context"]), "member": none}


def _kinds(
    merging: Merging, histogram: FeatureHistogram, rankings: Callable[[], Columns], k: int
) -> Iterator[Columns]:
    """The same of one kind after the other; as few states as can be are held at a time."""
    [codes] = merging.members
    yield _of_kind("top", merged_by_range(merging, "top_rows", TopRows).finish())
    by_value = states_by_range(
        merging, "value_rows", BottomRows, merging.n_features * BINS, each=BINS
    )
    of_ranges = (
        quantile_examples(state, histogram.among(start // BINS, stop // BINS), per_stratum(k))
        for start, stop, state in by_value
    )
    yield _of_kind("quantile", joined([*of_ranges]))
    by_chance = merged_by_range(merging, "random_rows", BottomRows)
    yield _of_kind("random", random_examples(by_chance))
    silent = merged_by_range(merging, "silent_rows", BottomRows)
    by_token = merged_by_range(merging, "token_rows", BottomRows)
    tokens = rankings()
    best = (tokens["kind"] == "count") & (tokens["rank"] <= NEGATIVE_TOKENS)
    top = {name: tokens[name][best] for name in ("feature", "token_id")}
    wanted = by_token.row[np.isin(by_token.group, top["token_id"])]
    rows = distinct(np.concatenate((silent.row, wanted)))
    fired = _codes_of(codes, rows)
    in_sample = _take(fired, np.searchsorted(rows, silent.row))
    yield _of_kind("silent", silent_examples(silent, in_sample, k))
    yield _of_kind("negative", hard_negatives(top, by_token, fired, rows, k))


def examples_of_set(merging: Merging, histogram: FeatureHistogram, per_stratum: int) -> Columns:
    """The same of a set, with the codes that each row is of; of what fires, reading no codes.

    Which features are silent on a row is in no state, so there are no silent ones and no negatives.
    """
    kinds: dict[str, list[Any]] = {
        "top": _beside(merging.each("top_rows", TopRows.from_arrays)),
        "quantile": _beside(merging.each("value_rows", BottomRows.from_arrays)),
        "random": _beside(merging.each("random_rows", BottomRows.from_arrays)),
    }
    whole = {kind: merge_wide(states) for kind, states in kinds.items()}
    found = {
        "top": whole["top"].finish(),
        "quantile": quantile_examples(whole["quantile"], histogram, per_stratum),
        "random": random_examples(whole["random"]),
    }
    names = [one.name for one in merging.members]
    features: dict[str, Callable[[Any], NDArray[np.int64]]] = {
        "top": lambda one: one.feature,
        "quantile": lambda one: strata_of(one.group)[0],
        "random": lambda one: one.group,
    }
    of_kind = [
        _members(found[kind], states, [*map(features[kind], states)], names)
        for kind, states in kinds.items()
    ]
    columns = joined([_of_kind(kind, one) for kind, one in found.items()])
    alike = _alike(merging, columns["context"])
    return {**columns, "n_alike": alike, "member": np.concatenate(of_kind)}


def _beside(states: Sequence[R]) -> list[R]:
    """States of rowsets whose rows have the same numbers, so that they can be merged."""
    return [replace(one, context=apart(one.context, one.row, at)) for at, one in enumerate(states)]


def _members(
    found: Columns,
    states: Sequence[R],
    features: Sequence[NDArray[np.int64]],
    names: Sequence[str],
) -> NDArray[Any]:
    """Of which of ``names``, to which ``states`` of ``features`` belong, each row ``found`` is."""
    held = [
        pl.DataFrame(
            {
                "feature": feature,
                "row": one.row,
                "value": one.value,
                "context": one.context,
            }
        ).with_columns(member=pl.lit(name))
        for one, feature, name in zip(states, features, names, strict=True)
    ]
    entries = pl.concat(held).unique(ENTRY, keep="first", maintain_order=True)
    wanted = pl.DataFrame({name: found[name] for name in ENTRY})
    member = wanted.join(entries, on=ENTRY, how="left", maintain_order="left")["member"]
    found_in: NDArray[Any] = member.to_numpy()
    return found_in


def _of_kind(kind: str, found: Columns) -> Columns:
    return {"kind": np.full(len(found["rank"]), kind, object), **found}


def _alike(merging: Merging, context: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows under the mask whose context is each of ``context``; reads the tokens once."""
    wanted, place = np.unique(context, return_inverse=True)
    counted = np.zeros(len(wanted), np.int64)
    mask = merging.lake.mask(merging.mask)
    for number, codes in enumerate(merging.members if len(wanted) else ()):
        for shard, kept, _ in masked_shards(merging.lake, codes, mask):
            row = np.arange(*codes.grid.span(shard))
            mine = apart(contexts_of(codes, shard), row, number)[kept]
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


def joined(parts: Sequence[Columns]) -> dict[str, NDArray[Any]]:
    """The rows of all ``parts``, which have the same columns."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
