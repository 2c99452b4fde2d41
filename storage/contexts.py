"""Contexts: what features fired on, as text, of many features at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from actlake.storage.codes import Codes, codes_named
from actlake.storage.csr import ranges
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.example_rows import Example, example_rows, members_of_set, rows_of_set
from actlake.storage.reading import Bounds, Reading

__all__ = ["Context", "Shown", "Span", "contexts_of"]

AT_ONCE = 4096
"""Contexts whose rows and texts are read together: some 5 million values of codes."""


class Shown(TypedDict, total=False):
    """What is shown of a feature."""

    mask: str
    """``all`` by default."""
    limit: int
    """Contexts of a feature, 10 by default: at most as many as ``summarize`` kept under the mask;
    without a summary, and mask ``all``, any number."""
    before: int
    """Rows of the same document before each, 24 by default."""
    after: int
    """12 by default."""
    kind: str
    """``top``, or another one of ``example_rows.KINDS``."""


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
    member: str | None = None
    """Codes that the row is of, where a set of codes was asked for."""


def contexts_of(
    reading: Reading,
    name: str,
    features: Sequence[int],
    *,
    mask: str = "all",
    limit: int = 10,
    before: int = 24,
    after: int = 12,
    kind: str = "top",
) -> dict[int, list[Context]]:
    """The contexts of each feature of the codes, or of the set of codes, of that name, as ``Shown``
    says, in the order of the examples.

    A row of a document rowset is its whole text, and of an image those patches are shown on which
    the feature fires. InputError for a kind that is none, and for a mask that was not summarized.
    """
    if before < 0 or after < 0:
        raise InputError(
            "contexts cannot reach fewer than no rows; give 0 or more before and after"
        )
    reach = {"before": before, "after": after}
    try:
        codes = codes_named(reading, name)
    except NotFoundError:
        if not (members := members_of_set(reading, name, mask)):
            raise
    else:
        rows = example_rows(reading, codes, features, mask, limit, kind)
        return _of_codes(reading, codes, rows, **reach)
    found = [codes_named(reading, member) for member in members]
    of_set = rows_of_set(reading, name, found[0], features, mask, limit, kind)
    ranked: dict[int, dict[int, Context]] = {feature: {} for feature in features}
    for codes in found:
        mine: dict[int, dict[int, Example]] = {}
        for member, feature, rank, example in of_set:
            if member == codes.name:
                mine.setdefault(feature, {})[rank] = example
        rows = {feature: [*of.values()] for feature, of in mine.items()}
        for feature, contexts in _of_codes(reading, codes, rows, **reach).items():
            for rank, context in zip(mine[feature], contexts, strict=True):
                ranked[feature][rank] = replace(context, member=codes.name)
    return {feature: [of[rank] for rank in sorted(of)] for feature, of in ranked.items()}


def _of_codes(
    reading: Reading,
    codes: Codes,
    examples: Mapping[int, Sequence[Example]],
    *,
    before: int,
    after: int,
) -> dict[int, list[Context]]:
    wanted = [(feature, *one) for feature, found in examples.items() for one in found]
    made: dict[int, Context] = {}
    names: dict[int, str] | None = None
    if wanted and codes.rowset.kind == "patch":
        names = _vocabulary(reading, codes.rowset.tokenizer)
    # Rows that lie together are read together, whatever features they are shown of: most shards
    # and texts are then met once, not once for each ``AT_ONCE``.
    in_order = sorted(range(len(wanted)), key=lambda at: wanted[at][1])
    for first in range(0, len(wanted), AT_ONCE):
        places = in_order[first : first + AT_ONCE]
        some = [wanted[at] for at in places]
        around = _surroundings(codes, some, before, after)
        documents = sorted({one.document for one in around})
        texts = _texts(reading, codes.rowset.corpus, documents)
        for at, (_, row, value, alike), one in zip(places, some, around, strict=True):
            source_id, text = texts[one.document]
            if names is not None:
                one, text = _named(one, names)
            about = (row, float(value), one.document, source_id)
            made[at] = _context(one, about, text, alike)
    numbers = count()
    return {feature: [made[next(numbers)] for _ in found] for feature, found in examples.items()}


@dataclass(frozen=True, slots=True)
class _Surrounding:
    """The rows that are shown around one, in order, and where the feature fires on them."""

    own: int
    """The row itself among them."""
    document: int
    """Of all of them."""
    starts: NDArray[np.int64]
    """First code point of each in its document; no character where it is ``stops``."""
    stops: NDArray[np.int64]
    tokens: NDArray[np.int32]
    """Of patches, whose names are shown; none of others."""
    firing: NDArray[np.int64]
    """Places of rows on which the feature fires."""
    values: NDArray[np.floating]
    """Of these."""


def _named(around: _Surrounding, names: Mapping[int, str]) -> tuple[_Surrounding, str]:
    """The names of the tokens that are shown, with spaces between, as text, and the rows in it."""
    starts, stops = np.zeros((2, len(around.tokens)), np.int64)
    text = ""
    for at in np.union1d(around.firing, [around.own]):
        starts[at] = len(text) + bool(text)
        text += f"{' ' if text else ''}{names.get(int(around.tokens[at]), '')}"
        stops[at] = len(text)
    return replace(around, starts=starts, stops=stops), text


def _surroundings(
    codes: Codes,
    wanted: Sequence[tuple[int, int, float, int | None]],
    before: int,
    after: int,
) -> list[_Surrounding]:
    rowset = codes.rowset
    feature, row = (np.array(column) for column in ([w[0] for w in wanted], [w[1] for w in wanted]))
    first, last = np.maximum(row - before, 0), np.minimum(row + after + 1, len(codes))
    rows, of = ranges(first, last), np.repeat(np.arange(len(row)), last - first)
    documents = rowset.at("document", rows)
    document = documents[np.cumsum(last - first) - (last - row)]
    here = documents == document[of]
    rows, of = rows[here], of[here]
    edges = np.searchsorted(of, np.arange(len(row) + 1))
    starts, stops = (rowset.at(name, rows).astype(np.int64) for name in ("char_start", "char_stop"))
    shown = rows if rowset.kind == "patch" else rows[:0]
    tokens = rowset.at("token_id", shown)
    block = codes.rows(rows)
    of_value = block.row_of_value()
    fires = np.flatnonzero(block.indices == feature[of[of_value]])
    place, value = of_value[fires], block.values[fires]
    firing = np.searchsorted(place, edges)
    around = []
    for number in range(len(row)):
        low, high = edges[number], edges[number + 1]
        some = slice(firing[number], firing[number + 1])
        one = _Surrounding(
            own=int(row[number] - rows[low]),
            document=int(document[number]),
            starts=starts[low:high],
            stops=stops[low:high],
            tokens=tokens[low:high],
            firing=place[some] - low,
            values=value[some],
        )
        around.append(one)
    return around


def _context(
    around: _Surrounding, about: tuple[int, float, int, str], text: str, alike: int | None
) -> Context:
    """``about``: the row, its value, its document and what that is from."""
    starts, stops, own = around.starts, around.stops, around.own
    # Specials have empty spans at places that say nothing about the text around the row.
    shown = stops > starts
    left = int(starts[shown].min()) if shown.any() else 0
    right = int(stops[shown].max()) if shown.any() else 0
    spans = [
        Span(int(starts[at]) - left, int(stops[at]) - left, float(strength))
        for at, strength in zip(around.firing, around.values, strict=True)
        if shown[at]
    ]
    start, stop = (int(starts[own]), int(stops[own])) if shown[own] else (left, left)
    return Context(
        *about, text[left:right], start - left, stop - left, tuple(_merged(spans)), alike
    )


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
    within: dict[str, Bounds] = {
        "corpus": (corpus, corpus),
        "document": (documents[0], documents[-1]),
    }
    source = reading.source("documents", "source_id", "text", **within)
    query = f"""
        SELECT document, source_id, text FROM {source}
        WHERE corpus = $corpus AND document IN ({", ".join(map(str, documents))})
    """  # noqa: S608 - ours, and numbers: by them DuckDB leaves out groups of rows, unread
    rows = reading.connection().execute(query, {"corpus": corpus}).fetchall()
    return {document: (source_id, text) for document, source_id, text in rows}
