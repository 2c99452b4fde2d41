"""Plots of one feature."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from actlake.analytics.features.histogram import bin_edges
from actlake.flows.figures import BLUE, head, short, styled, tail
from actlake.flows.summaries import Summary, summaries
from actlake.flows.visible import visible, visible_token
from actlake.storage.errors import NotFoundError
from actlake.storage.lake import Lake

__all__ = ["feature", "histogram", "value_bars"]

MOST_BARS, MOST_TOKENS = 40, 10


@styled
def histogram(lake: Lake, codes: str, feature: int, mask: str | None = None) -> Figure:
    """The values of one feature on the rows where it fires."""
    summary = _summary_with(lake, codes, feature, mask)
    figure = Figure(figsize=(7.5, 3))
    _draw_values(figure.subplots(), lake, summary, feature)
    return figure


@styled
def feature(lake: Lake, codes: str, feature: int, mask: str | None = None) -> Figure:
    """One feature on a card: its values, its tokens by count and by lift, where it fires most."""
    summary = _summary_with(lake, codes, feature, mask)
    contexts = lake.contexts(codes, feature, mask=summary.mask, limit=6, before=12, after=6)
    figure = Figure(figsize=(9, 3.2 + 0.22 * len(contexts)))
    [upper], [lower] = figure.subfigures(
        2, 1, squeeze=False, height_ratios=(2.9, 0.3 + 0.22 * len(contexts))
    )
    values, by_count, by_lift = upper.subplots(1, 3, width_ratios=(2, 1, 1))
    _draw_values(values, lake, summary, feature)
    _draw_tokens(by_count, lake, summary, feature, "count", "firing rows")
    _draw_tokens(by_lift, lake, summary, feature, "lift", "times its share of all rows")
    texts = [
        f"{tail(visible(context.text[: context.start]), 70)}"
        f"«{short(visible(context.text[context.start : context.stop]), 30)}»"
        f"{short(visible(context.text[context.stop :]), 45)}"
        for context in contexts
    ]
    lines = [("value", "strongest rows, token in «»")]
    lines += [(f"{context.value:.4g}", text) for context, text in zip(contexts, texts, strict=True)]
    for index, (value, text) in enumerate(lines):
        height = 1 - (index + 0.7) / (len(lines) + 0.3)
        lower.text(0.06, height, value, ha="right")
        lower.text(0.08, height, text)
    return figure


def value_bars(lake: Lake, summary: Summary, feature: int) -> list[tuple[float, float, int]]:
    """Lower edge, upper edge and rows of bars of equal relative width; none if it never fires.

    The stored bins are 2 % wide, too narrow to look at: as many are joined as leave at most 40.
    """
    query = """
        SELECT bin, "count" FROM feature_histograms
        WHERE codes = $codes AND mask = $mask AND feature = $feature ORDER BY bin
    """
    found = lake.sql(query, codes=summary.codes, mask=summary.mask, feature=feature)
    table = found.arrow()
    bins, counts = (table[name].to_numpy().astype(np.int64) for name in ("bin", "count"))
    if not len(bins):
        return []
    joined = -(-(int(bins[-1] - bins[0]) + 1) // MOST_BARS)
    places = (bins - bins[0]) // joined
    rows = np.bincount(places, weights=counts).astype(np.int64)
    first = bins[0] + joined * np.arange(len(rows))
    lower, upper = bin_edges(first)[0], bin_edges(first + joined - 1)[1]
    return list(zip(lower.tolist(), upper.tolist(), rows.tolist(), strict=True))


def _summary_with(lake: Lake, codes: str, feature: int, mask: str | None) -> Summary:
    [summary] = summaries(lake, codes, mask)
    if not 0 <= feature < summary.n_features:
        last = summary.n_features - 1
        raise NotFoundError(f"codes {codes} have no feature {feature}; choose 0 to {last}")
    return summary


def _draw_values(axes: Axes, lake: Lake, summary: Summary, feature: int) -> None:
    bars = value_bars(lake, summary, feature)
    fires = sum(rows for _, _, rows in bars)
    head(
        axes,
        f"{summary.codes}, feature {feature}",
        f"fires on {fires:,} of {summary.n_rows:,} rows ({fires / summary.n_rows:.3g}), "
        f"mask {summary.mask}",
    )
    axes.set_xlabel("value where it fires (log scale)")
    axes.set_ylabel("rows")
    if not bars:
        axes.text(0.5, 0.5, "it never fires", ha="center", transform=axes.transAxes)
        return
    lower, upper, rows = (np.array(column) for column in zip(*bars, strict=True))
    axes.bar(lower, rows, upper - lower, align="edge", color=BLUE, edgecolor="white", linewidth=0.4)
    axes.set_xscale("log")
    wide = upper[-1] / lower[0] > 30
    subs = (1.0,) if upper[-1] / lower[0] > 1e4 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs) if wide else MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")


def _draw_tokens(
    axes: Axes, lake: Lake, summary: Summary, feature: int, kind: str, label: str
) -> None:
    query = """
        SELECT v.text, CASE $kind WHEN 'lift' THEN t.lift ELSE t."count" END AS size
        FROM feature_tokens AS t
        JOIN codes_and_sets AS c USING (codes)
        JOIN vocabulary AS v ON v.tokenizer = c.tokenizer AND v.token_id = t.token_id
        WHERE t.codes = $codes AND t.mask = $mask AND t.feature = $feature AND t.kind = $kind
            AND t.rank <= $most
        ORDER BY t.rank
    """
    tokens = lake.sql(
        query,
        codes=summary.codes,
        mask=summary.mask,
        feature=feature,
        kind=kind,
        most=MOST_TOKENS,
    ).arrow()
    axes.barh(range(len(tokens)), tokens["size"].to_numpy(), color=BLUE)
    names = [short(visible_token(text), 16) for text in tokens["text"].to_pylist()]
    axes.set_yticks(range(len(tokens)), names)
    axes.set_ylim(MOST_TOKENS - 0.5, -0.5)  # the first on top, and few tokens as thin as many
    axes.set_title(f"tokens by {kind}")
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(3))
