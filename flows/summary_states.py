"""What ``summarize`` computes of a shard: each state of its features, and its version."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.examples import STRATA
from actlake.analytics.features.gaps import FeatureGaps
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.moments import FeatureMoments
from actlake.analytics.features.positions import FeaturePositions
from actlake.analytics.features.postings import Postings
from actlake.analytics.features.sources import FeatureSources
from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.features.windows import REACH, windows
from actlake.analytics.statistic import Statistic
from actlake.flows.codes_blocks import documents_of
from actlake.flows.document_labels import document_label, numbers_of
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError
from actlake.storage.keys import fingerprint
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.rowsets import Rowset

__all__ = [
    "Block",
    "Sources",
    "block_of",
    "blocks_of",
    "contexts_of",
    "per_stratum",
    "sources_of",
    "statistics_of",
    "versions_of",
]

VERSIONS = {
    "moments": 2,
    "histogram": 1,
    "documents": 1,
    "positions": 1,
    "tokens": 1,
    "previous_tokens": 1,
    "next_tokens": 1,
    "gaps": 1,
}
"""Rises whenever a state's meaning or its bits change: partials of other states stay valid."""
VERSIONS_OF_ROWS = {
    "top_rows": 2,
    "random_rows": 2,
    "value_rows": 2,
    "silent_rows": 2,
    "token_rows": 2,
}
"""The same, of states that keep as many rows as are asked for."""
VERSION_OF_SOURCES = 2
"""The same, of the state of a label's values; there is none without a label."""
FIRING_SEED, SILENT_SEED = 1, 2
SILENT_SAMPLE, TOKEN_SAMPLE = 16, 2
"""Rows to choose silent ones from, of all rows and of each token, for each example to keep."""


@dataclass(frozen=True)  # without slots: what several states share is made once
class Block:
    """One shard of codes with what its statistics need; arrays have shape (rows,)."""

    codes: Csr
    mask: NDArray[np.bool_]
    row_start: int
    document: NDArray[np.int64]
    document_rows: NDArray[np.int64]
    """On the last row of a document how many it has, else 0."""
    position: NDArray[np.int32]
    token_id: NDArray[np.int32]
    """-1 where a row has none."""
    previous_token: NDArray[np.int32]
    """Of the row before, in the same document; -1 where there is none."""
    next_token: NDArray[np.int32]
    context: NDArray[np.int64]
    """What rows of the same window of tokens share."""
    source: NDArray[np.int64] | None
    """The source of each row's document, -1 for none; None where none are asked for."""

    @cached_property
    def postings(self) -> Postings:
        return Postings.of(self.codes, self.mask)


@dataclass(frozen=True, slots=True)
class Sources:
    """The values of a label of the documents of a corpus, as numbers."""

    label: str
    of_document: NDArray[np.int64]
    """Shape (documents,); -1 for one without a value."""
    values: list[str]
    """By number."""


def sources_of(lake: Lake, codes: Codes, label: str) -> Sources:
    """The values of ``label`` of each document of the codes' corpus."""
    values = document_label(lake, codes.rowset.corpus, label, documents_of(lake, codes))
    return Sources(label, *numbers_of(values))


def block_of(
    lake: Lake, codes: Codes, mask: Mask, shard: int, source: NDArray[np.int64] | None = None
) -> Block:
    """What the statistics of one shard are made of."""
    [block] = blocks_of(lake, codes, mask, [shard], source)
    return block


def blocks_of(
    lake: Lake,
    codes: Codes,
    mask: Mask,
    shards: Sequence[int],
    source: NDArray[np.int64] | None = None,
) -> Iterator[Block]:
    """The same of consecutive ``shards``, of whose rows the mask is asked once.

    ``source`` is a number for each document of the corpus, or -1.
    """
    start, (_, stop) = codes.grid.span(shards[0])[0], codes.grid.span(shards[-1])
    kept = lake.mask_rows(mask, codes.rowset, start, stop)
    for shard in shards:
        first, last = codes.grid.span(shard)
        yield _block(codes, shard, kept[first - start : last - start], source)


def _block(
    codes: Codes, shard: int, mask: NDArray[np.bool_], source: NDArray[np.int64] | None
) -> Block:
    start, stop = codes.grid.span(shard)
    rowset = codes.rowset
    # Some rows more on each side: a token's neighbours, and where a document ends.
    first, last = max(start - REACH, 0), min(stop + REACH, rowset.rows)
    document = rowset.column("document", first, last)
    token = rowset.column("token_id", first, last)
    position = rowset.column("position", first, last)
    own = slice(start - first, stop - first)
    same = np.diff(document) == 0
    beside = same & (np.diff(position) == 1)  # no row is left out between them
    before, after = np.full(len(token), -1, token.dtype), np.full(len(token), -1, token.dtype)
    before[1:] = np.where(beside, token[:-1], -1)
    after[:-1] = np.where(beside, token[1:], -1)
    is_last = np.append(~same, True)[own]
    return Block(
        codes=codes.shard(shard),
        mask=mask,
        row_start=start,
        document=document[own],
        document_rows=np.where(is_last, rowset.places(start, stop) + 1, 0),
        position=position[own],
        token_id=token[own],
        previous_token=before[own],
        next_token=after[own],
        context=_contexts(rowset, token, document, position, own, start),
        source=None if source is None else source[document[own]],
    )


def per_stratum(examples: int) -> int:
    """Rows to keep of each tenth of a feature's firing rows."""
    return -(-examples // STRATA)


def statistics_of(examples: int, source: str | None) -> dict[str, Callable[[Block], Statistic]]:
    """How each statistic is made of a block, by its name in ``partials``."""

    def sources(block: Block) -> Statistic:
        if block.source is None:
            raise InputError("a block without sources has no statistic of them; give it some")
        return FeatureSources.of(block.postings, source=block.source)

    def rows(block: Block) -> dict[str, Any]:
        return {"row_start": block.row_start, "seed": FIRING_SEED, "context": block.context}

    def silent_rows(block: Block) -> Statistic:
        return _sample(block, np.zeros(len(block.mask), np.int64), SILENT_SAMPLE * examples)

    def token_rows(block: Block) -> Statistic:
        return _sample(block, block.token_id.astype(np.int64), TOKEN_SAMPLE * examples)

    of_label: dict[str, Callable[[Block], Statistic]] = {}
    if source is not None:
        of_label["sources"] = sources
    return of_label | {
        "moments": lambda block: FeatureMoments.of_postings(block.postings),
        "histogram": lambda block: FeatureHistogram.of_postings(block.postings),
        "top_rows": lambda block: TopRows.of_postings(
            block.postings, row_start=block.row_start, k=examples, context=block.context
        ),
        "documents": lambda block: FeatureDocuments.of(
            block.postings, document=block.document, size=block.document_rows
        ),
        "positions": lambda block: FeaturePositions.of(block.postings, position=block.position),
        "tokens": lambda block: FeatureTokens.of_postings(block.postings, token_id=block.token_id),
        "previous_tokens": lambda block: FeatureTokens.of_postings(
            block.postings, token_id=block.previous_token
        ),
        "next_tokens": lambda block: FeatureTokens.of_postings(
            block.postings, token_id=block.next_token
        ),
        "gaps": lambda block: FeatureGaps.of(
            block.postings, row_start=block.row_start, rows=len(block.mask)
        ),
        "random_rows": lambda block: BottomRows.firing(block.postings, k=examples, **rows(block)),
        "value_rows": lambda block: BottomRows.by_value(
            block.postings, k=per_stratum(examples), **rows(block)
        ),
        "silent_rows": silent_rows,
        "token_rows": token_rows,
    }


def versions_of(examples: int, sources: Sources | None) -> dict[str, str]:
    """The ``code_version`` of each statistic's partials.

    That of sources knows all values: when one is gone, others have its number.
    """
    plain = {name: fingerprint(name, version) for name, version in VERSIONS.items()}
    kept = {
        name: fingerprint(name, version, examples) for name, version in VERSIONS_OF_ROWS.items()
    }
    if sources is None:
        return plain | kept
    of_values = fingerprint("sources", VERSION_OF_SOURCES, sources.label, sources.values)
    return plain | kept | {"sources": of_values}


def _sample(block: Block, group: NDArray[np.int64], k: int) -> BottomRows:
    """Of the rows under the mask, by group; those of a negative group are left out."""
    at = np.flatnonzero(block.mask & (group >= 0))
    row = block.row_start + at
    none, context = np.zeros(len(at)), block.context[at]
    return BottomRows.of(group[at], row, none, k=k, seed=SILENT_SEED, context=context)


def contexts_of(codes: Codes, shard: int) -> NDArray[np.int64]:
    """``Block.context`` of a shard by itself."""
    start, stop = codes.grid.span(shard)
    first, last = max(start - REACH, 0), min(stop + REACH, codes.rowset.rows)
    names = ("token_id", "document", "position")
    token, document, position = (codes.rowset.column(one, first, last) for one in names)
    own = slice(start - first, stop - first)
    return _contexts(codes.rowset, token, document, position, own, start)


def _contexts(
    rowset: Rowset,
    token: NDArray[np.int32],
    document: NDArray[np.int64],
    position: NDArray[np.int32],
    own: slice,
    start: int,
) -> NDArray[np.int64]:
    if rowset.kind == "patch":  # the same places of two images do not show the same
        return np.arange(start, start + own.stop - own.start)
    return windows(token, document, position, own, start)
