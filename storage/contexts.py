"""Contexts: what a feature fired on, as text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actlake.storage.codes import Codes
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.handle import first_row
from actlake.storage.reading import Reading

__all__ = ["KINDS", "Context", "Span", "contexts_of_rows", "example_rows"]

KINDS = ("top", "quantile", "random", "silent", "negative")
"""Of examples: the strongest rows; some of each tenth by value; some on which the feature fires;
some on which it is silent; and some on which it is silent although the token is one of its own."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a context's text and how strongly the feature fires on it."""

    start: int
    """First code point, in ``Context.text``."""
    stop: int
    value: float
    """Largest value of the tokens that it covers; > 0."""


@dataclass(frozen=True, slots=True)
class Context:
    """One row on which a feature fires, or is shown to be silent, with the text around it."""

    row: int
    value: float
    """0 where the feature is silent."""
    document: int
    source_id: str
    text: str
    """Slice of the document, so characters that are split over tokens show whole; of an image the
    names of its patches that are shown, with spaces between."""
    start: int
    """First code point of the row's own token in ``text``."""
    stop: int
    spans: tuple[Span, ...]
    """Where the feature fires in ``text``, in order."""
    n_alike: int | None = None
    """Rows with the same tokens on and around them, itself counted; None where none were."""


def example_rows(
    reading: Reading, codes: Codes, feature: int, mask: str, limit: int, kind: str
) -> list[tuple[int, float, int | None]]:
    """Row, value and ``n_alike`` of the examples of a kind, as summarized under ``mask``.

    Without a summary the strongest come from postings where the mask is all; InputError otherwise.
    """
    if kind not in KINDS:
        raise InputError(f"no examples of the kind {kind!r}; choose one of {', '.join(KINDS)}")
    if limit < 1:
        raise InputError(f"{limit} contexts cannot be shown; ask for 1 or more")
    if not 0 <= feature < codes.n_features:
        raise NotFoundError(
            f"codes {codes.name} have no feature {feature}; choose 0 to {codes.n_features - 1}"
        )
    connection = reading.connection()
    named = {"codes": codes.name, "feature": feature}
    parameters = named | {"mask": mask, "limit": limit, "kind": kind}
    summarized = """
        SELECT "row", value, n_alike FROM feature_examples
        WHERE codes = $codes AND mask = $mask AND feature = $feature AND kind = $kind
        ORDER BY rank LIMIT $limit
    """
    reading.table("feature_examples", codes=(codes.name,) * 2, feature=(feature,) * 2)
    if rows := connection.execute(summarized, parameters).fetchall():
        return rows
    if mask != "all" or kind != "top":
        reading.table("feature_statistics", codes=(codes.name,) * 2)
        other = "SELECT count(*) FROM feature_statistics WHERE codes = $codes AND mask = $mask"
        if first_row(connection.execute(other, {"codes": codes.name, "mask": mask})) == (0,):
            raise InputError(
                f"codes {codes.name} are not summarized under the mask {mask}; "
                "run `actlake summarize` first, or use the mask all"
            )
        return []
    every = """
        SELECT "row", value, NULL FROM postings WHERE codes = $codes AND feature = $feature
        ORDER BY value DESC, "row" LIMIT $limit
    """
    reading.table("postings", codes=(codes.name,) * 2, feature=(feature,) * 2)
    return connection.execute(every, named | {"limit": limit}).fetchall()


def contexts_of_rows(
    reading: Reading,
    codes: Codes,
    feature: int,
    rows: Sequence[tuple[int, float, int | None]],
    *,
    before: int,
    after: int,
) -> list[Context]:
    """The contexts of (row, value, n_alike), in order.

    Each reaches over ``before`` and ``after`` rows of the same document.

    A row of a document rowset is its whole text, and of an image those patches are shown on which
    the feature fires.
    """
    if before < 0 or after < 0:
        raise InputError(
            "contexts cannot reach fewer than no rows; give 0 or more before and after"
        )
    if not rows:
        return []
    documents = codes.rowset.at("document", np.array([row for row, *_ in rows]))
    texts = _texts(reading, codes.rowset.corpus, sorted(set(documents.tolist())))
    names = _vocabulary(reading, codes.rowset.tokenizer) if codes.rowset.kind == "patch" else None
    found = (
        _context(
            codes, feature, row, value, int(document), *texts[int(document)], before, after, names
        )
        for (row, value, _), document in zip(rows, documents, strict=True)
    )
    return [replace(one, n_alike=alike) for one, (*_, alike) in zip(found, rows, strict=True)]


def _context(
    codes: Codes,
    feature: int,
    row: int,
    value: float,
    document: int,
    source_id: str,
    text: str,
    before: int,
    after: int,
    names: dict[int, str] | None,
) -> Context:
    first, last = max(0, row - before), min(len(codes), row + after + 1)
    here = codes.rowset.column("document", first, last) == document
    rows = np.arange(first, last)[here]
    low, high = int(rows[0]), int(rows[-1]) + 1
    block = codes[low:high]
    fires = block.indices == feature
    firing = block.row_of_value()[fires]
    own = row - low
    if names is None:
        starts = codes.rowset.column("char_start", low, high)
        stops = codes.rowset.column("char_stop", low, high)
    else:
        tokens = codes.rowset.column("token_id", low, high)
        text, starts, stops = _named(names, tokens, np.union1d(firing, [own]))
    # Specials have empty spans at places that say nothing about the text around the row.
    shown = stops > starts
    left = int(starts[shown].min()) if shown.any() else 0
    right = int(stops[shown].max()) if shown.any() else 0
    spans = [
        Span(int(starts[at]) - left, int(stops[at]) - left, float(strength))
        for at, strength in zip(firing, block.values[fires], strict=True)
        if shown[at]
    ]
    start, stop = (int(starts[own]), int(stops[own])) if shown[own] else (left, left)
    return Context(
        row=row,
        value=float(value),
        document=document,
        source_id=source_id,
        text=text[left:right],
        start=start - left,
        stop=stop - left,
        spans=tuple(_merged(spans)),
    )


def _named(
    names: dict[int, str], tokens: NDArray[np.int32], shown: NDArray[np.int64]
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """The names of the rows ``shown`` with spaces between, and the span of each row in them."""
    starts, stops = np.zeros((2, len(tokens)), np.int64)
    text = ""
    for at in shown:
        starts[at] = len(text) + bool(text)
        text += f"{' ' if text else ''}{names.get(int(tokens[at]), '')}"
        stops[at] = len(text)
    return text, starts, stops


def _vocabulary(reading: Reading, tokenizer: str | None) -> dict[int, str]:
    query = "SELECT token_id, text FROM vocabulary WHERE tokenizer = $tokenizer"
    name = tokenizer or ""
    reading.table("vocabulary", tokenizer=(name, name))
    return dict(reading.connection().execute(query, {"tokenizer": name}).fetchall())


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Spans that overlap, as the pieces of one character do, become one of the larger value."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, one.stop)):
        if merged and span.start < merged[-1].stop:
            last = merged.pop()
            span = Span(last.start, max(last.stop, span.stop), max(last.value, span.value))
        merged.append(span)
    return merged


def _texts(reading: Reading, corpus: str, documents: Sequence[int]) -> dict[int, tuple[str, str]]:
    query = """
        SELECT document, source_id, text FROM documents
        WHERE corpus = $corpus AND document IN (SELECT unnest($documents))
    """
    reading.table("documents", corpus=(corpus,) * 2, document=(documents[0], documents[-1]))
    parameters = {"corpus": corpus, "documents": list(documents)}
    rows = reading.connection().execute(query, parameters).fetchall()
    return {document: (source_id, text) for document, source_id, text in rows}
