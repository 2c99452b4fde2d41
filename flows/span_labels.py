"""Labels of characters as classes of rows: a row is of each class whose spans reach it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from actlake.analytics.features.clustered_rates import rate_difference_within
from actlake.analytics.features.spans import overlapping
from actlake.flows.codes_blocks import documents_before, masked_shards
from actlake.flows.document_labels import few_enough, numbers_of
from actlake.storage.codes import Codes
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask

__all__ = ["SpanLabel", "clustered", "layers_of_rows", "span_label"]


@dataclass(frozen=True, slots=True)
class SpanLabel:
    """A label of characters in a corpus, or in several, whose documents are numbered one corpus
    after the other."""

    document: NDArray[np.int64]
    """Of each span."""
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    number: NDArray[np.int64]
    """Of each span's value among ``classes``."""
    classes: list[str]
    looked_at: NDArray[np.bool_]
    """Of each document: whether it has a span, or is said to have none."""


def span_label(lake: Lake, members: Sequence[Codes], label: str) -> SpanLabel:
    """The spans of a label, which must be of spans, in the corpora of some codes.

    InputError for a label of more than ``MOST_CLASSES`` values, or without a span in any document;
    NotFoundError where a corpus lacks it.
    """
    *before, documents = documents_before(lake, members).tolist()
    found = [
        _spans(lake, one.rowset.corpus, label, first)
        for first, one in zip(before, members, strict=True)
    ]
    document, start, stop, values = map(np.concatenate, zip(*found, strict=True))
    some = start < stop
    if not some.any():
        corpora = " or ".join(one.rowset.corpus for one in members)
        raise InputError(
            f"no document of {corpora} has a span of {label}, only documents without any, so "
            "nothing can be told from it; give another label"
        )
    number, classes = numbers_of(values[some])
    looked_at = np.zeros(documents, np.bool_)
    looked_at[document] = True
    spans = document[some], start[some], stop[some], number
    return SpanLabel(*spans, few_enough(classes, label), looked_at)


def _spans(lake: Lake, corpus: str, label: str, before: int) -> tuple[NDArray[Any], ...]:
    """The document of each span, ``before`` added, its first character, the one after its last,
    and its value; of a document that is said to have none those of an empty one."""
    query = """
        SELECT document, char_start, char_stop, value_text, value_real FROM labels
        WHERE corpus = $corpus AND label = $label AND char_start IS NOT NULL
        ORDER BY document, char_start, char_stop, value_text
    """
    found = lake.sql(query, corpus=corpus, label=label).arrow()
    document, start, stop = (
        found[name].to_numpy().astype(np.int64) for name in ("document", "char_start", "char_stop")
    )
    if not len(document):
        raise NotFoundError(
            f"no label {label!r} on spans of {corpus}; give a label that each corpus of the set has"
        )
    pairs = zip(found["value_text"].to_pylist(), found["value_real"].to_pylist(), strict=True)
    values = np.array([text if real is None else real for text, real in pairs], object)
    return before + document, start, stop, values


def layers_of_rows(
    lake: Lake, members: Sequence[Codes], mask: Mask, label: SpanLabel
) -> list[NDArray[np.int16]]:
    """The class of each row under the mask, shape (rows,), -1 for none, in one layer or more.

    A row that spans of several classes reach has each of them in a layer of its own; a class is in
    one layer whole. Special rows, and others without characters, have none.
    """
    before = documents_before(lake, members)[:-1].tolist()
    of_each = (
        _places(lake, codes, mask, first) for first, codes in zip(before, members, strict=True)
    )
    document, start, stop = map(np.concatenate, zip(*of_each, strict=True))
    layers: list[NDArray[np.int16]] = []
    for number in range(len(label.classes)):
        of_class = label.number == number
        reached = overlapping(
            document,
            start,
            stop,
            span_document=label.document[of_class],
            span_start=label.start[of_class],
            span_stop=label.stop[of_class],
        )
        free = [layer for layer in layers if (layer[reached] < 0).all()]
        if not free:
            free = [np.full(len(document), -1, np.int16)]
            layers += free
        free[0][reached] = number
    return layers


def _places(
    lake: Lake, codes: Codes, mask: Mask, before: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Of each row under the mask the document, ``before`` added, and its first character and the
    one after its last, which is 0 of a special row."""
    parts = [
        codes.grid.span(shard)[0] + np.flatnonzero(kept)
        for shard, kept, _ in masked_shards(lake, codes, mask)
    ]
    row, rowset = np.concatenate(parts), codes.rowset
    document, start, stop = (
        rowset.at(name, row).astype(np.int64) for name in ("document", "char_start", "char_stop")
    )
    stop[rowset.at("is_special", row)] = 0
    return before + document, start, stop


def clustered(
    values: scipy.sparse.csr_array,
    document: NDArray[np.int64],
    positives: Sequence[NDArray[np.bool_]],
) -> NDArray[np.float64]:
    """p of the difference of firing shares in and outside of spans; (features, classes).

    ``values``, shape (rows, features), of the rows of each ``document``; ``positives``, shape
    (rows,) each, says which rows have a class.
    """
    fires = scipy.sparse.csr_array(values, copy=True)
    fires.data = np.ones(values.nnz)
    documents = int(document.max(initial=-1)) + 1

    def counted(chosen: NDArray[np.bool_]) -> tuple[Any, NDArray[np.int64]]:
        row = np.flatnonzero(chosen)
        parts = (np.ones(len(row)), (document[row], row))
        gather = scipy.sparse.csr_array(parts, shape=(documents, len(document)))
        found = gather @ fires
        found.sort_indices()  # once: sums and differences would sort a copy, each time
        return found, np.bincount(document[row], minlength=documents)

    whole, rows = counted(np.ones(len(document), np.bool_))
    p = np.empty((values.shape[1], len(positives)))
    for column, positive in enumerate(positives):
        inside, rows_inside = counted(positive)
        others = whole - inside, rows - rows_inside
        p[:, column] = rate_difference_within(*others, inside, rows_inside)[2]
    return p
