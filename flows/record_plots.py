"""Plots of pairs of features against chance, and of features against labels."""

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from actlake.flows.figures import BLUE, GREY, ORANGE, head, short, styled
from actlake.flows.summaries import refuse_unknown
from actlake.flows.visible import visible
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["labels", "pairs"]

MOST_PANELS, MOST_NAMED, MOST_FEATURES = 8, 8, 12
MOST_LOOKED_AT = 200
"""Pairs of which some are named, those that come first."""
NAME_WIDTH, NAME_HEIGHT = 0.09, 0.04
"""Of a panel, that a name takes."""


@styled
def pairs(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """Joint firings of the pairs that were kept against those by chance, a panel a level."""
    _require(lake, codes)
    rows = lake.sql(
        """
        SELECT codes, mask, level, feature_a, feature_b, n, joint, expected, q, n_tests
        FROM pair_scores
        WHERE codes = coalesce($codes, codes) AND mask = coalesce($mask, mask)
            AND (
                feature_a < feature_b
                OR (codes, mask, level, feature_b, feature_a) NOT IN (
                    SELECT codes, mask, level, feature_a, feature_b FROM feature_pairs
                )
            )
        ORDER BY codes, mask, level DESC, joint * ln(joint / expected) DESC, feature_a, feature_b
        """,
        codes=codes,
        mask=mask,
    ).pl()
    if rows.height == 0:
        raise InputError(
            f"no pairs of features are counted in {lake.root}; run `actlake summarize-pairs` first"
        )
    groups = rows.partition_by("codes", "mask", "level", maintain_order=True)
    shown = groups[:MOST_PANELS]
    figure = Figure(figsize=(7.5, 0.4 + 3.4 * len(shown)))
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, group in zip(panels, shown, strict=True):
        first = group.row(0, named=True)
        sure = group["q"].to_numpy() <= 0.05
        x, y = group["expected"].to_numpy(), group["joint"].to_numpy()
        for chosen, colour, label in ((~sure, GREY, "q > 0.05"), (sure, BLUE, "q ≤ 0.05")):
            axes.plot(
                x[chosen],
                y[chosen],
                ".",
                color=colour,
                markersize=4,
                alpha=0.5 if len(x) > 2000 else 0.9,
                label=label,
                rasterized=len(x) > 2000,
            )
        low, high = min(float(x.min()), float(y.min())), float(y.max())
        axes.plot([low, high], [low, high], color=ORANGE, linewidth=1, label="as by chance")
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        best = group.filter(sure).head(MOST_LOOKED_AT)
        for a, b, at, up in best[_apart(best, x, y)][
            ["feature_a", "feature_b", "expected", "joint"]
        ].rows():
            axes.annotate(f"{a}·{b}", (at, up), (4, 3), textcoords="offset points", fontsize=7)
        units = "rows" if first["level"] == "token" else "documents"
        head(
            axes,
            first["codes"],
            f"{len(x):,} pairs kept of {first['n_tests']:,} counted, {int(sure.sum()):,} at "
            f"q ≤ 0.05 · {first['n']:,} {units} under the mask {first['mask']}",
        )
        axes.set_xlabel(f"{units} on which both would fire by chance (log scale)")
        axes.set_ylabel(f"{units} on which both fire")
        axes.grid()
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _require(lake: Lake, codes: str | None) -> None:
    """NotFoundError if there are no such codes: nothing of them is not nothing of any."""
    if codes is not None:
        refuse_unknown(lake, codes)


def _apart(best: pl.DataFrame, x: NDArray[Any], y: NDArray[Any]) -> list[int]:
    """The first rows of ``best`` whose names do not lie on one another."""
    wide, high = (max(float(np.ptp(np.log(one))), 1e-9) for one in (x, y))
    taken: list[tuple[int, float, float]] = []
    for row, (at, up) in enumerate(np.log(best[["expected", "joint"]].to_numpy()).tolist()):
        clear = all(
            abs(at - a) > NAME_WIDTH * wide or abs(up - b) > NAME_HEIGHT * high for _, a, b in taken
        )
        if clear and len(taken) < MOST_NAMED:
            taken.append((row, at, up))
    return [row for row, _, _ in taken]


@styled
def labels(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """AUROC of the features that tell a value of a label best, with those within subsets.

    Of a label of two values the first: the other is its mirror.
    """
    _require(lake, codes)
    rows = lake.sql(
        """
        WITH asked AS (
            SELECT * FROM feature_labels
            WHERE codes = coalesce($codes, codes) AND mask = coalesce($mask, mask)
        )
        SELECT codes, mask, label, value, subset_by, level, pooling, feature, auroc, q,
            n_positive, n_negative, n_tests, within,
            dense_rank() OVER (
                PARTITION BY codes, mask, label, subset_by, level, pooling ORDER BY value
            ) AS place
        FROM asked
        LEFT JOIN (
            SELECT codes, mask, label, value, subset_by, level, pooling, feature,
                list(auroc ORDER BY subset) AS within
            FROM asked WHERE subset <> '' GROUP BY ALL
        ) USING (codes, mask, label, value, subset_by, level, pooling, feature)
        WHERE subset = ''
        ORDER BY codes, mask, label, subset_by, level, pooling, value, abs(auroc - 0.5) DESC,
            feature
        """,
        codes=codes,
        mask=mask,
    ).pl()
    if rows.height == 0:
        raise InputError(
            f"no features are scored against labels in {lake.root}; run `actlake summarize-labels` "
            "first"
        )
    key = ("codes", "mask", "label", "subset_by", "level", "pooling", "value")
    several = pl.col("place").max().over(key[:-1]) > 2
    rows = rows.filter(several | (pl.col("place") == 1))
    shown = [group.head(MOST_FEATURES) for group in rows.partition_by(*key, maintain_order=True)][
        :MOST_PANELS
    ]
    heights = [1.1 + 0.19 * group.height for group in shown]
    figure = Figure(figsize=(7.5, sum(heights)))
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, group in zip(panels, shown, strict=True):
        first = group.row(0, named=True)
        for y, row in enumerate(group[::-1].iter_rows(named=True)):
            colour = BLUE if (1.0 if row["q"] is None else row["q"]) <= 0.05 else GREY
            axes.plot([0.5, row["auroc"]], [y, y], color=colour, linewidth=2)
            axes.plot(row["auroc"], y, "o", color=colour, markersize=5)
            _dots(axes, row["within"], y)
        axes.axvline(0.5, color="k", linewidth=0.8)
        axes.set_yticks(range(group.height), [str(one) for one in group["feature"][::-1]])
        axes.set_xlim(-0.02, 1.02)
        units = "rows" if first["level"] == "token" else f"documents, {first['pooling']}"
        dots = f" · dots: within each {short(visible(first['subset_by']), 20)}"
        head(
            axes,
            f"{short(visible(first['label']), 30)} = {short(visible(first['value']), 30)}, "
            f"features of {short(first['codes'], 50)}",
            f"{first['n_positive']:,} of {first['n_positive'] + first['n_negative']:,} {units} "
            f"under {first['mask']} · {first['n_tests']:,} tests, q ≤ 0.05 blue"
            f"{dots if first['subset_by'] else ''}",
        )
        axes.set_ylabel("feature")
        axes.grid(axis="x")
    panels[-1].set_xlabel("AUROC, silent units counted (1/2: tells nothing, less: fires elsewhere)")
    return figure


def _dots(axes: Axes, within: list[float] | None, y: int) -> None:
    if within:
        axes.plot(within, np.full(len(within), y), ".", color=ORANGE, markersize=5)
