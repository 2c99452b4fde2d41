"""Rows of two rowsets over one corpus, brought to the units of text that both have."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.similarity.alignment import Coverage, Spans, Units, align
from actlake.analytics.similarity.pooling import pool_max, pool_mean, stack
from actlake.flows.progress import progress
from actlake.storage.codes import Codes
from actlake.storage.csr import Csr
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask
from actlake.storage.rowsets import Rowset
from actlake.storage.tensors import Tensor

__all__ = ["AlignedCodes", "AlignedRows", "aligned_codes", "aligned_rows", "require_one_corpus"]

BLOCK_ROWS = 1 << 18
"""Rows of either side that are aligned together, some 50 MB; a longer document is taken whole."""
FEWEST_DOCUMENTS = 32
"""Rows are drawn from at least so many documents, which a null needs, if there are so many."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Which documents take part, and how far into their text; shapes (documents,)."""

    chosen: NDArray[np.bool_]
    chars: NDArray[np.int64]
    """Only what begins before this code point."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some neighbouring documents, aligned."""

    units: Units
    """Its documents are numbered as in the corpus."""
    rows_a: slice
    rows_b: slice


@dataclass(frozen=True, slots=True)
class AlignedCodes:
    """Two codes, pooled by maximum over the units that they share."""

    a: Csr
    """Shape (units, features); held in memory, 6 to 8 bytes a value."""
    b: Csr
    document: NDArray[np.int64]
    """Of each unit, ascending."""
    coverage: Coverage


@dataclass(frozen=True, slots=True)
class AlignedRows:
    """Rows of two tensors, averaged over the units that they share."""

    a: NDArray[np.float32]
    """Shape (units, width)."""
    b: NDArray[np.float32]
    document: NDArray[np.int64]
    coverage: Coverage


def require_one_corpus(a: Rowset, b: Rowset) -> None:
    """InputError unless both rowsets are of the same corpus."""
    if a.corpus != b.corpus:
        raise InputError(
            f"rowset {a.name} is of the corpus {a.corpus} and {b.name} of {b.corpus}; rows are "
            "compared over one corpus, so encode both over the same"
        )


def aligned_codes(
    lake: Lake, a: Codes, b: Codes, mask: Mask, *, most_rows: int, seed: int
) -> AlignedCodes:
    """Both codes over the units of text that they share under ``mask``.

    If the first has more than ``most_rows`` rows, of documents drawn by ``seed``, as
    ``aligned_rows`` draws them. InputError if there is no such unit.
    """
    coverage, pooled_a, pooled_b, documents = Coverage.empty(), [], [], []
    drawn = _drawn(lake, a.rowset, most_rows, seed)
    with progress(f"align {a.name} with {b.name}", a.rowset.rows) as advance:
        for block, part in _blocks(lake, a.rowset, b.rowset, mask, drawn):
            units = block.units
            pooled_a.append(pool_max(a[block.rows_a], units.unit_a, units.count))
            pooled_b.append(pool_max(b[block.rows_b], units.unit_b, units.count))
            documents.append(units.document)
            coverage = coverage.merge(part)
            advance(block.rows_a.stop - block.rows_a.start)
    document = np.concatenate([np.zeros(0, np.int64), *documents])
    _require_units(document, a.rowset, b.rowset, mask)
    return AlignedCodes(stack(pooled_a), stack(pooled_b), document, coverage)


def aligned_rows(
    lake: Lake, a: Tensor, b: Tensor, mask: Mask, *, most_rows: int, seed: int
) -> AlignedRows:
    """Both tensors over the units that they share under ``mask``, of documents drawn at random.

    Documents are drawn by ``seed`` until they hold ``most_rows`` rows of the first tensor; of one
    that is longer than the 32nd part of that, its beginning. InputError if there is no unit.
    """
    coverage, rows_a, rows_b, documents = Coverage.empty(), [], [], []
    drawn = _drawn(lake, a.rowset, most_rows, seed)
    for block, part in _blocks(lake, a.rowset, b.rowset, mask, drawn):
        units = block.units
        rows_a.append(_pooled(a, block.rows_a, units.unit_a, units.count))
        rows_b.append(_pooled(b, block.rows_b, units.unit_b, units.count))
        documents.append(units.document)
        coverage = coverage.merge(part)
    document = np.concatenate([np.zeros(0, np.int64), *documents])
    _require_units(document, a.rowset, b.rowset, mask)
    return AlignedRows(np.concatenate(rows_a), np.concatenate(rows_b), document, coverage)


def _pooled(
    tensor: Tensor, rows: slice, unit: NDArray[np.int64], count: int
) -> NDArray[np.float32]:
    """Means over units; only rows that are in one are read."""
    used = np.flatnonzero(unit >= 0)
    return pool_mean(tensor.rows(rows.start + used), unit[used], count)


def _drawn(lake: Lake, rowset: Rowset, most_rows: int, seed: int) -> Drawn:
    first = _first_rows(rowset, _documents(lake, rowset.corpus))
    rows_of, documents = np.diff(first), len(first) - 1
    whole = np.full(documents, np.iinfo(np.int64).max)
    if rowset.rows <= most_rows:
        return Drawn(np.ones(documents, bool), whole)
    most_of_one = max(most_rows // min(FEWEST_DOCUMENTS, documents), 1)
    order = np.random.default_rng(seed).permutation(documents)
    taken = np.minimum(rows_of, most_of_one)[order]
    chosen = np.zeros(documents, bool)
    chosen[order[np.cumsum(taken) - taken < most_rows]] = True
    for document in np.flatnonzero(chosen & (rows_of > most_of_one)):
        last = int(first[document]) + most_of_one
        whole[document] = _chars(rowset, last, last + 1)[0][0]
    return Drawn(chosen, whole)


def _blocks(
    lake: Lake, a: Rowset, b: Rowset, mask: Mask, drawn: Drawn
) -> Iterator[tuple[Block, Coverage]]:
    """The documents that were drawn, aligned a block of neighbours at a time."""
    lengths = _lengths(lake, a)
    first_a, first_b = _first_rows(a, len(lengths)), _first_rows(b, len(lengths))
    edges = _edges(np.maximum(np.diff(first_a), np.diff(first_b)))
    for low, high in pairwise(edges):
        here = drawn.chosen[low:high]
        if not here.any():
            continue
        rows_a = slice(int(first_a[low]), int(first_a[high]))
        rows_b = slice(int(first_b[low]), int(first_b[high]))
        side_a, side_b = (
            _spans(lake, rowset, rows, mask, drawn) for rowset, rows in ((a, rows_a), (b, rows_b))
        )
        units = align(side_a, side_b)
        text_chars = int(np.minimum(lengths, drawn.chars)[low:high][here].sum())
        coverage = Coverage.of(side_a, side_b, units, text_chars=text_chars)
        yield Block(units, rows_a, rows_b), coverage


def _spans(lake: Lake, rowset: Rowset, rows: slice, mask: Mask, drawn: Drawn) -> Spans:
    document = rowset.column("document", rows.start, rows.stop)
    start, stop = _chars(rowset, rows.start, rows.stop)
    keep = drawn.chosen[document] & (start < drawn.chars[document])
    return Spans(
        document,
        start,
        stop,
        lake.mask_rows(mask, rowset, rows.start, rows.stop) & keep,
    )


def _chars(rowset: Rowset, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where each row begins and ends in its document; of an image a patch is as a character."""
    if rowset.kind != "patch":
        return rowset.column("char_start", start, stop), rowset.column("char_stop", start, stop)
    token = rowset.column("token_id", start, stop)
    content = (token >= 0) & ~rowset.column("is_special", start, stop)
    first = np.where(content, token, 0)
    return first, first + content


def _edges(rows: NDArray[np.int64]) -> list[int]:
    """Where documents are cut into blocks of at most BLOCK_ROWS, longer documents alone."""
    edges, held = [0], 0
    for document, count in enumerate(rows.tolist()):
        if held and held + count > BLOCK_ROWS:
            edges.append(document)
            held = 0
        held += count
    return [*edges, len(rows)]


def _first_rows(rowset: Rowset, documents: int) -> NDArray[np.int64]:
    """The first row of each document, and the number of rows; shape (documents + 1,)."""
    counts = np.zeros(documents, np.int64)
    for shard in range(len(rowset.grid)):
        document = rowset.column("document", *rowset.grid.span(shard))
        counts += np.bincount(document, minlength=documents)
    return np.concatenate(([0], np.cumsum(counts)))


def _lengths(lake: Lake, rowset: Rowset) -> NDArray[np.int64]:
    """Code points of each document, or patches of each image."""
    corpus = rowset.corpus
    if rowset.kind == "patch":
        patches = ~(rowset.parent or rowset).column("is_special", 0, rowset.window)
        return np.full(_documents(lake, corpus), patches.sum())
    query = "SELECT length(text) AS chars FROM documents WHERE corpus = $corpus ORDER BY document"
    lengths: NDArray[np.int64] = lake.sql(query, corpus=corpus).arrow()["chars"].to_numpy()
    return lengths


def _documents(lake: Lake, corpus: str) -> int:
    query = "SELECT documents FROM corpora WHERE corpus = $corpus"
    return int(lake.sql(query, corpus=corpus).arrow()["documents"][0].as_py())


def _require_units(document: NDArray[np.int64], a: Rowset, b: Rowset, mask: Mask) -> None:
    if len(document) == 0:
        raise InputError(
            f"nothing is aligned: under the mask {mask.name} no row of {a.name} covers text that "
            f"one of {b.name} covers; choose another mask"
        )
