"""Plots of a lake: each function reads what it draws through SQL and returns a figure.

Every axis states its unit, and every panel its denominator: how many rows, under which mask.
"""

from collections.abc import Callable
from difflib import get_close_matches

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from actlake.flows.feature_plots import feature, histogram
from actlake.flows.figures import BLUE, GREEN, GREY, ORANGE, head, save, short, styled
from actlake.flows.finding_plots import front, hypotheses, layers, matches
from actlake.flows.record_plots import labels, pairs
from actlake.flows.summaries import Summary, scores, summaries
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["KINDS", "density", "feature", "fvu", "histogram", "l0", "plot", "save"]

MOST_PANELS = 16
MODELS = {
    "fvu": ("learned dictionary", "o", BLUE),
    "fvu_pca": ("PCA, first k axes", "^", ORANGE),
    "fvu_pca_topk": ("PCA, k largest coefficients", "v", GREEN),
    "fvu_random": ("random dictionary", "X", GREY),
}


@styled
def density(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """How often features fire: a panel for each codes, features that never do counted apart."""
    shown = summaries(lake, codes, mask)
    figure, panels = _panels(len(shown))
    query = """
        SELECT density FROM feature_statistics
        WHERE codes = $codes AND mask = $mask AND n_fires > 0
    """
    # From the density of a single firing up to that of a feature that always fires.
    lowest = -np.ceil(np.log10(max(summary.n_rows for summary in shown)))
    edges = np.linspace(lowest, 0, round(-5 * lowest) + 1)
    for summary, axes in zip(shown, panels, strict=False):
        found = lake.sql(query, codes=summary.codes, mask=summary.mask).arrow()["density"]
        log = np.log10(found.to_numpy())
        dead = summary.n_features - len(log)
        axes.hist(log, edges.tolist(), color=BLUE, rwidth=0.92)
        head(
            axes,
            summary.codes,
            f"{summary.n_features:,} features, {dead:,} of them never fire "
            f"({dead / summary.n_features:.1%}, not drawn) · {_rows(summary)}",
        )
        axes.set_ylabel("features")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_locator(MultipleLocator(1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * 10**x:g} %"))
        axes.grid(axis="y")
    panels[-1].set_xlabel("density: share of rows on which a feature fires (log scale)")
    _note_left_out(figure, len(shown))
    return figure


@styled
def l0(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """How many features fire on a row: a panel for each codes, counted over all masked rows."""
    shown = summaries(lake, codes, mask)
    figure, panels = _panels(len(shown))
    right = 0  # of all panels, which share the axis
    for summary, axes in zip(shown, panels, strict=False):
        counts = _rows_by_l0(lake, summary)
        rows, sizes = int(counts.sum()), np.arange(len(counts))
        mean = float(counts @ sizes) / rows
        low, high = int(sizes[counts > 0].min()), int(sizes[counts > 0].max())
        step = -(-(high - low + 1) // 60)
        starts = np.arange(low, high + 1, step)
        share = 100 * np.add.reduceat(counts[low : high + 1], starts - low) / rows
        axes.bar(starts, share, 0.92 * step, color=BLUE, align="edge" if step > 1 else "center")
        axes.axvline(mean, color=ORANGE, linewidth=1.5)
        head(axes, summary.codes, f"mean {mean:.4g}, from {low} to {high} · {_rows(summary)}")
        axes.set_ylabel("% of rows")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        right = max(right, high + step)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y")
    panels[-1].set_xlim(-0.6, right)
    panels[-1].set_xlabel("L0: features that fire on a row (line: mean)")
    _note_left_out(figure, len(shown))
    return figure


@styled
def fvu(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """Unexplained variance of each dictionary on held-out rows, beside its baselines."""
    found = scores(lake, None if codes is None else lake.codes(codes).dictionary, mask)
    if not found:
        raise InputError(f"no dictionary is evaluated in {lake.root}; run `actlake train` first")
    shown = found[:MOST_PANELS][::-1]  # the first on top
    figure = Figure(figsize=(7.5, 1.3 + 0.5 * len(shown)))
    axes = figure.subplots()
    for metric, (label, marker, colour) in MODELS.items():
        places = [(one.metrics[metric], y) for y, one in enumerate(shown) if metric in one.metrics]
        if places:
            x, y = zip(*places, strict=True)
            axes.scatter(x, y, 60, colour, marker=marker, label=label, zorder=2.5)
    labels = []
    for one in shown:
        extra = "".join(
            f"{label} {one.metrics[metric]:{form}}, "
            for metric, label, form in (("l0", "L0", ".4g"), ("dead_share", "dead", ".1%"))
            if metric in one.metrics
        )
        labels.append(f"{short(one.dictionary, 60)}\n{extra}{one.n:,} rows, mask {one.mask}")
    axes.set_yticks(range(len(shown)), labels)
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_xlim(0, max(1.0, axes.get_xlim()[1]))
    axes.grid()
    axes.set_xlabel("FVU on held-out rows: unexplained share of the variance (0 is perfect)")
    figure.legend(loc="outside upper left", ncols=4, frameon=False, handletextpad=0.2)
    _note_left_out(figure, len(found))
    return figure


KINDS: dict[str, Callable[..., Figure]] = {
    "density": density,
    "feature": feature,
    "front": front,
    "fvu": fvu,
    "histogram": histogram,
    "hypotheses": hypotheses,
    "l0": l0,
    "labels": labels,
    "layers": layers,
    "matches": matches,
    "pairs": pairs,
}
"""Kinds of plot by the name that ``actlake plot`` takes."""


def plot(
    lake: Lake,
    kind: str,
    *,
    codes: str | None = None,
    mask: str | None = None,
    feature: int | None = None,
) -> Figure:
    """The plot of that kind; InputError for an unknown kind, and for what it lacks or ignores."""
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, cutoff=0.4) or list(KINDS)
        raise InputError(f"no plot {kind!r}; did you mean {' or '.join(near)}")
    if kind not in ("feature", "histogram"):
        if feature is not None:
            raise InputError(f"the plot {kind} is of all features; leave the feature out")
        return KINDS[kind](lake, codes, mask)
    if codes is None or feature is None:
        raise InputError(f"the plot {kind} is of one feature; give its codes and its number")
    return KINDS[kind](lake, codes, feature, mask)


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    rows = min(count, MOST_PANELS)
    figure = Figure(figsize=(7.5, 0.6 + 1.7 * rows))
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)
    return figure, list(axes[:, 0])


def _rows(summary: Summary) -> str:
    return f"{summary.n_rows:,} rows, mask {summary.mask}"


def _rows_by_l0(lake: Lake, summary: Summary) -> NDArray[np.int64]:
    """Rows under the mask on which 0, 1, 2, … features fire."""
    codes, mask = lake.codes(summary.codes), lake.mask(summary.mask)
    counts = np.zeros(codes.n_features + 1, np.int64)
    for shard in range(len(codes.grid)):
        start, stop = codes.grid.span(shard)
        kept = lake.mask_rows(mask, codes.rowset, start, stop)
        counts += np.bincount(np.diff(codes.shard(shard).indptr)[kept], minlength=len(counts))
    return counts


def _note_left_out(figure: Figure, count: int) -> None:
    if count > MOST_PANELS:
        figure.supxlabel(f"{MOST_PANELS} of {count} shown; name codes to see others", fontsize=8)
