"""What ``show`` prints of a feature: statistics, flags, tokens and contexts."""

from typing import Any

from rich.text import Text

from actlake.flows.summaries import FLAGS, flags, summaries
from actlake.flows.terminal import console, shown
from actlake.flows.visible import visible, visible_token
from actlake.storage.contexts import Context
from actlake.storage.errors import NotFoundError
from actlake.storage.lake import Lake

__all__ = ["print_feature"]

SHADES = ("", "on grey30", "on dark_orange3", "bold black on orange1")
FACTS = ("n_rows", "n_fires", "density", "mean_active", "max_active", "q50_active", "q99_active")
MORE_FACTS = (
    "n_documents_fires",
    "consistent_activation",
    "gini_documents",
    "token_entropy",
    "top_token_share",
    "position_bits",
    "nearest_decoder_cosine",
)
TOKENS = {
    "count": "tokens by count",
    "lift": "tokens by lift",
    "mean": "tokens by mean value",
    "previous": "tokens before",
    "next": "tokens after",
}


def print_feature(
    lake: Lake, codes: str, feature: int, mask: str | None, limit: int, kind: str
) -> None:
    """Statistics, flags, tokens and contexts of one feature."""
    screen = console()
    statistics = _statistics(lake, codes, feature, mask)
    chosen = str(statistics["mask"])
    screen.print(Text(f"{codes}  feature {feature}  mask {chosen}", style="bold"))
    for names in (FACTS, MORE_FACTS):
        facts = [f"{one} {shown(statistics[one])}" for one in names if statistics[one] is not None]
        if facts:
            screen.print(Text("  ".join(facts)))
    if found := flags(statistics):
        screen.print(Text(f"this feature is {', '.join(found)}"))
    for ranking, title in TOKENS.items():
        tokens = lake.sql(
            """
            SELECT v.text, t.count, t.mean
            FROM feature_tokens AS t
            JOIN codes_and_sets AS c USING (codes)
            JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = t.token_id
            WHERE t.codes = $codes AND t.mask = $mask AND t.feature = $feature AND t.kind = $kind
            ORDER BY t.rank LIMIT 10
            """,
            codes=codes,
            mask=chosen,
            feature=feature,
            kind=ranking,
        ).rows()
        if tokens:
            sizes = [f"{mean:.3g}" if ranking == "mean" else f"×{n}" for _, n, mean in tokens]
            texts = [visible_token(str(text)) for text, _, _ in tokens]
            line = "  ".join(map(" ".join, zip(texts, sizes, strict=True)))
            screen.print(Text(f"{title}: {line}"))
    for context in lake.contexts(codes, feature, mask=chosen, limit=limit, kind=kind):
        screen.print(_context(context))


def _statistics(lake: Lake, codes: str, feature: int, mask: str | None) -> dict[str, Any]:
    [summary] = summaries(lake, codes, mask)
    columns = ", ".join(("mask", *FACTS, *MORE_FACTS, *FLAGS))
    rows = lake.sql(
        f"""
        SELECT {columns} FROM feature_summary
        WHERE codes = $codes AND feature = $feature AND mask = $mask
        """,  # noqa: S608 ours
        codes=codes,
        feature=feature,
        mask=summary.mask,
    ).pl()
    if rows.is_empty():
        raise NotFoundError(
            f"codes {codes} have no feature {feature}; choose 0 to {summary.n_features - 1}"
        )
    return rows.row(0, named=True)


def _context(context: Context) -> Text:
    """One line; the row's own token stands in «», since colours go where there is no screen."""
    of = "" if context.member is None else f"{context.member}  "
    line = Text(f"{context.value:9.3f}  {of}{visible(context.source_id)}  ")
    strongest = max((span.value for span in context.spans), default=context.value)
    shades = {
        (span.start, span.stop): SHADES[min(3, 1 + int(2 * span.value / strongest))]
        for span in context.spans
    }
    own = context.start, context.stop
    at = 0
    for start, stop in sorted({*shades, own}):
        mark, end = ("«", "»") if (start, stop) == own else ("", "")
        line.append(visible(context.text[at:start]) + mark)
        line.append(visible(context.text[start:stop]), style=shades.get((start, stop), ""))
        line.append(end)
        at = max(at, stop)
    line.append(visible(context.text[at:]))
    if (context.n_alike or 1) > 1:
        line.append(f"  (one of {context.n_alike:,} alike)")
    return line
