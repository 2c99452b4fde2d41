"""Cards of features for pages: numbers, values, tokens and shaded contexts, as text to render."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from actlake.flows.feature_plots import value_bars
from actlake.flows.figures import short
from actlake.flows.summaries import FLAGS, Summary, flags, summaries
from actlake.flows.visible import visible, visible_token
from actlake.storage.contexts import Context
from actlake.storage.lake import Lake

__all__ = ["cards_of", "sections"]

CONTEXTS, TOKENS, LABELS = 8, 10, 8
DOCUMENT_CHARACTERS, LABEL_CHARACTERS = 420, 60
CHART_WIDTH, CHART_HEIGHT = 240, 56
FAINTEST = 0.15
"""Shade of a value just above 0: a token on which the feature fires at all must show."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a context that is shown in one shade."""

    text: str
    value: float | None = None
    strength: float | None = None
    """In [FAINTEST, 1]; None where the feature does not fire."""
    is_top: bool = False
    """Whether it holds the row that the context is of."""


def sections(lake: Lake, features: int, mask: str | None) -> list[dict[str, Any]]:
    """A section for each summarized codes, with the cards that fall to it.

    At most ``features`` cards in all, dealt over the codes in turn. InputError if no codes are
    summarized.
    """
    shown = summaries(lake, mask=mask)
    kinds = {one.codes: lake.codes(one.codes).rowset.kind for one in shown}
    # Tokens first: their contexts say more at a glance than whole documents do.
    shown.sort(key=lambda one: kinds[one.codes] == "document")
    chosen = _dealt(lake, shown, features)
    return [
        {
            "index": index,
            "summary": summary,
            "cards": cards_of(lake, summary, chosen[summary.codes], kinds[summary.codes]),
        }
        for index, summary in enumerate(shown)
    ]


def _dealt(lake: Lake, shown: Sequence[Summary], features: int) -> dict[str, list[int]]:
    """The features to show of each codes: the first of each, then the second of each, and so on."""
    ranked = []
    for one in shown:
        result = lake.query(
            "characteristic_features", codes=one.codes, mask=one.mask, limit=features
        )
        ranked.append([(one.codes, feature) for feature in result.arrow()["feature"].to_pylist()])
    turns = chain.from_iterable(zip_longest(*ranked))
    chosen: dict[str, list[int]] = {one.codes: [] for one in shown}
    for codes, feature in [dealt for dealt in turns if dealt is not None][:features]:
        chosen[codes].append(feature)
    return chosen


def cards_of(
    lake: Lake, summary: Summary, features: Sequence[int], kind: str
) -> list[dict[str, Any]]:
    """What a card of each of ``features`` shows; ``kind`` is that of the codes' rowset."""
    key: dict[str, Any] = {
        "codes": summary.codes,
        "mask": summary.mask,
        "features": list(features),
    }
    statistics = f"""
        SELECT
            feature, n_rows, n_fires, density, n_documents, n_documents_fires,
            max_active, q50_active, q90_active, q99_active, {", ".join(FLAGS)}
        FROM feature_summary
        WHERE codes = $codes AND mask = $mask AND list_contains($features, feature)
    """  # noqa: S608 ours
    tokens = """
        SELECT t.feature, t.kind, t."count", t.lift, v.text FROM feature_tokens AS t
        JOIN codes AS c USING (codes) JOIN rowsets AS r USING (rowset)
        JOIN vocabulary AS v ON v.tokenizer = r.tokenizer AND v.token_id = t.token_id
        WHERE t.codes = $codes AND t.mask = $mask AND list_contains($features, t.feature)
            AND t.rank <= $most
        ORDER BY t.feature, t.kind, t.rank
    """
    known = {row["feature"]: row for row in lake.sql(statistics, **key).arrow().to_pylist()}
    by_token = lake.sql(tokens, **key, most=TOKENS).arrow().to_pylist()
    found = lake.contexts_of(summary.codes, features, mask=summary.mask, limit=CONTEXTS)
    contexts = list(chain.from_iterable(found.values()))
    labels, marks = _labels(lake, summary, contexts), _marks(lake, summary, contexts)
    specials = _specials(lake, summary, contexts)
    return [
        known[feature]
        | {
            "flags": flags(known[feature]),
            "bars": _bars(value_bars(lake, summary, feature)),
            "tokens": _tokens([row for row in by_token if row["feature"] == feature]),
            "contexts": [
                {
                    "value": one.value,
                    "source": visible(one.source_id),
                    "labels": labels.get(one.document, []),
                    "marks": marks.get(one.row, []),
                    "special": specials.get(one.row),
                    "alike": one.n_alike or 1,
                    "pieces": _whole(one)
                    if kind == "document"
                    else _pieces(one, known[feature]["max_active"]),
                }
                for one in found[feature]
            ],
        }
        for feature in features
    ]


def _bars(bars: Sequence[tuple[float, float, int]]) -> list[dict[str, Any]]:
    """Bars of equal width, because all are of equal relative width and the axis is logarithmic."""
    most, width = max(rows for _, _, rows in bars), CHART_WIDTH / len(bars)
    drawn = []
    for index, (lower, upper, rows) in enumerate(bars):
        height = round(CHART_HEIGHT * rows / most, 2)
        place = {"x": round(index * width, 2), "y": round(CHART_HEIGHT - height, 2)}
        size = {"width": round(max(width - 0.6, 0.4), 2), "height": height}
        drawn.append({**place, **size, "lower": lower, "upper": upper, "rows": f"{rows:,}"})
    return drawn


def _tokens(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, str]]]:
    sizes = {"count": "{count:,}", "lift": "×{lift:.3g}"}
    return {
        kind: [
            {"text": short(visible_token(row["text"]), 40), "size": size.format(**row)}
            for row in rows
            if row["kind"] == kind
        ]
        for kind, size in sizes.items()
        if rows
    }


def _labels(
    lake: Lake, summary: Summary, contexts: Sequence[Context]
) -> dict[int, list[dict[str, str]]]:
    """Labels of each document, numbers first: a year says when before anything says who."""
    query = """
        SELECT l.document, l.label, l.value_text FROM labels AS l
        JOIN rowsets AS r USING (corpus) JOIN codes AS c USING (rowset)
        WHERE c.codes = $codes AND list_contains($documents, l.document)
            AND l.char_start IS NULL AND length(l.value_text) BETWEEN 1 AND $longest
        ORDER BY l.document, l.value_real IS NULL, l.label
    """
    found: dict[int, list[dict[str, str]]] = {}
    rows = lake.sql(
        query,
        codes=summary.codes,
        documents=sorted({one.document for one in contexts}),
        longest=LABEL_CHARACTERS,
    )
    for row in rows.arrow().to_pylist():
        labels = found.setdefault(row["document"], [])
        if len(labels) < LABELS:
            labels.append({"name": row["label"], "value": visible(row["value_text"])})
    return found


def _marks(
    lake: Lake, summary: Summary, contexts: Sequence[Context]
) -> dict[int, list[dict[str, str]]]:
    """Labels of the spans that reach the token of each row."""
    query = """
        SELECT DISTINCT t."row", l.label, l.value_text FROM tokens AS t
        JOIN codes AS c USING (rowset) JOIN rowsets AS r USING (rowset)
        JOIN labels AS l ON l.corpus = r.corpus AND l.document = t.document
        WHERE c.codes = $codes AND t."row" IN (SELECT unnest($rows)) AND NOT t.is_special
            AND l.char_start < t.char_stop AND l.char_stop > t.char_start
            AND length(l.value_text) BETWEEN 1 AND $longest
        ORDER BY t."row", l.label, l.value_text
    """
    rows = sorted({one.row for one in contexts if one.start < one.stop})
    found: dict[int, list[dict[str, str]]] = {}
    if not rows:
        return found
    reached = lake.sql(query, codes=summary.codes, rows=rows, longest=LABEL_CHARACTERS)
    for row in reached.arrow().to_pylist():
        marks = found.setdefault(row["row"], [])
        if len(marks) < LABELS:
            marks.append({"name": row["label"], "value": visible(row["value_text"])})
    return found


def _specials(lake: Lake, summary: Summary, contexts: Sequence[Context]) -> dict[int, str]:
    """The token of each context whose own row has no text to outline."""
    rows = sorted({one.row for one in contexts if one.start == one.stop})
    if not rows:
        return {}
    query = """
        SELECT t."row", t.token FROM tokens_text AS t
        JOIN codes AS c USING (rowset)
        WHERE c.codes = $codes AND list_contains($rows, t."row")
    """
    found = lake.sql(query, codes=summary.codes, rows=rows).arrow().to_pylist()
    return {row["row"]: visible_token(row["token"] or "") for row in found}


def _whole(context: Context) -> list[Piece]:
    """A document, cut where it is long: there is nothing inside it to point at."""
    return [Piece(visible(short(context.text, DOCUMENT_CHARACTERS)))]


def _pieces(context: Context, largest: float) -> list[Piece]:
    """All of the text of ``context``, in order, cut at every edge of a span."""
    pieces, written = [], 0
    for span in context.spans:
        pieces.append(Piece(visible(context.text[written : span.start])))
        strength = FAINTEST + (1 - FAINTEST) * min(span.value / largest, 1)
        pieces.append(
            Piece(
                visible(context.text[span.start : span.stop]),
                span.value,
                round(strength, 3),
                span.start <= context.start < span.stop,
            )
        )
        written = span.stop
    pieces.append(Piece(visible(context.text[written:])))
    return [piece for piece in pieces if piece.text]
