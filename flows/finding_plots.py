"""Plots of findings: fronts of dictionaries, matches against chance, layers, hypotheses."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from actlake.flows.figures import BLUE, GREEN, GREY, ORANGE, head, short, styled
from actlake.flows.summaries import scores
from actlake.flows.visible import visible
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["front", "hypotheses", "layers", "matches"]

MOST_COMPARISONS, MOST_HYPOTHESES = 8, 25
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00", GREY)


@styled
def front(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """FVU against L0 of each dictionary on held-out rows, those of a tensor in one colour."""
    found = scores(lake, None if codes is None else lake.codes(codes).dictionary, mask)
    found = [one for one in found if one.metrics.get("l0")]
    if not found:
        raise InputError(f"no dictionary is evaluated in {lake.root}; run `actlake train` first")
    tensors = list(dict.fromkeys(one.tensor for one in found))
    figure = Figure(figsize=(7.5, 3.6))
    axes = figure.subplots()
    for index, tensor in enumerate(tensors):
        colour = COLOURS[index % len(COLOURS)]
        ours = sorted(
            (one for one in found if one.tensor == tensor), key=lambda one: one.metrics["l0"]
        )
        sparse = [one.metrics["l0"] for one in ours]
        lost = [one.metrics["fvu"] for one in ours]
        axes.plot(sparse, lost, "-o", color=colour, label=short(tensor, 44))
        for one, x, y in zip(ours, sparse, lost, strict=True):
            method = one.dictionary.split(":")[0]
            axes.annotate(
                method,
                (x, y),
                (4, 4 if index % 2 else -11),  # two fronts may run close to each other
                textcoords="offset points",
                color=colour,
            )
        pca = [
            (one.metrics["l0"], one.metrics["fvu_pca"]) for one in ours if "fvu_pca" in one.metrics
        ]
        if pca:
            axes.plot(*zip(*pca, strict=True), "^", color=colour, alpha=0.5)
    axes.set_xscale("log")
    for axis in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        axis(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
    axes.set_xlabel("L0: features a row, on held-out rows (log scale)")
    axes.set_ylabel("FVU (0 is perfect)")
    axes.grid()
    title = "▲ PCA with as many numbers a row"
    figure.legend(frameon=False, fontsize=8, title=title, loc="outside lower center", ncols=2)
    return figure


@styled
def matches(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """The score of each feature's best partner against those by chance, a panel a comparison."""
    rows = lake.sql(
        """
        SELECT codes_a, codes_b, mask, method, score, null_mean, null_high, is_mutual, q
        FROM feature_matches
        WHERE best_of = 'a' AND score IS NOT NULL
            AND ($codes IS NULL OR $codes IN (codes_a, codes_b))
            AND mask = coalesce($mask, mask)
        ORDER BY codes_a, codes_b, mask, method
        """,
        codes=codes,
        mask=mask,
    ).pl()
    if rows.height == 0:
        raise InputError(f"no features are matched in {lake.root}; run `actlake compare` first")
    groups = rows.partition_by("codes_a", "codes_b", "mask", "method", maintain_order=True)
    shown = groups[:MOST_COMPARISONS]
    figure = Figure(figsize=(7.5, 0.7 + 2.1 * len(shown)))
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, group in zip(panels, shown, strict=True):
        first = group.row(0, named=True)
        score = group["score"].to_numpy()
        mutual = group["is_mutual"].to_numpy()
        edges = np.linspace(min(0.0, float(score.min())), 1, 61)
        axes.hist(
            [score[mutual], score[~mutual]],
            edges.tolist(),
            stacked=True,
            color=[BLUE, "#9ecae1"],
            label=["mutual best", "one-sided best"],
        )
        chance = group["null_mean"].drop_nulls().to_numpy()
        high = group["null_high"].drop_nulls().to_numpy()
        if len(chance):
            axes.axvline(float(np.median(chance)), color=ORANGE, label="best by chance: mean")
            axes.axvline(float(np.median(high)), color=ORANGE, linestyle="--", label="and its 95 %")
        sure = int((group["q"].fill_null(1.0) <= 0.05).sum())
        what = "correlation" if first["method"] == "activation" else "cosine of directions"
        head(
            axes,
            f"{short(first['codes_a'], 46)}  →  {short(first['codes_b'], 46)}",
            f"{group.height:,} features, {int(mutual.sum()):,} mutual, {sure:,} at q ≤ 0.05 · "
            f"mask {first['mask']}",
        )
        axes.set_xlabel(f"{what} with the best partner")
        axes.set_ylabel("features")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0].legend(frameon=False, fontsize=8)
    return figure


@styled
def layers(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """Heat maps of the similarity of tensors, one for each method, with the null's mean below."""
    if codes is not None:
        raise InputError("the plot layers is of tensors; leave the codes out")
    rows = lake.sql(
        """
        SELECT tensor_a, tensor_b, mask, method, value, null_mean, p FROM similarities
        WHERE mask = coalesce($mask, mask) ORDER BY run
        """,
        mask=mask,
    ).pl()
    if rows.height == 0:
        raise InputError(f"no tensors are compared in {lake.root}; run `actlake compare` first")
    kinds = rows.select("method", "mask").unique().sort("method", "mask").rows()
    names = sorted({*rows["tensor_a"].to_list(), *rows["tensor_b"].to_list()})
    place = {name: index for index, name in enumerate(names)}
    size = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(2.6 + size * len(kinds), size + 0.9))
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    for axes, (method, under) in zip(panels, kinds, strict=True):
        grid: NDArray[np.float64] = np.full((len(names), len(names)), np.nan)
        for row in rows.iter_rows(named=True):
            if (row["method"], row["mask"]) != (method, under):
                continue
            x, y = place[row["tensor_a"]], place[row["tensor_b"]]
            grid[x, y] = grid[y, x] = row["value"]
            text = f"{row['value']:.2f}\n({row['null_mean']:.2f})"
            for i, j in ((x, y), (y, x)):
                dark = row["value"] > 0.55
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=7, color="w" if dark else "k"
                )
        image = axes.imshow(grid, vmin=0, vmax=1, cmap="Blues")
        axes.set_xticks(
            range(len(names)), [short(name, 30) for name in names], rotation=35, ha="right"
        )
        axes.set_yticks(range(len(names)), [short(name, 30) for name in names])
        title = {"cka": "debiased linear CKA", "svcca": "SVCCA"}.get(method, method)
        axes.set_title(f"{title}, mask {under}")
    figure.colorbar(
        image, ax=panels.tolist(), shrink=0.7, label="similarity (in brackets: by chance)"
    )
    return figure


@styled
def hypotheses(lake: Lake, codes: str | None = None, mask: str | None = None) -> Figure:
    """Effects of hypotheses on held-out groups with 95 % intervals, a panel a target."""
    rows = lake.sql(
        """
        SELECT target, level, codes, feature, effect, ci_low, ci_high, q, n, n_groups, n_tests
        FROM (
            SELECT * FROM hypotheses
            WHERE codes = coalesce($codes, codes) AND mask = coalesce($mask, mask)
            QUALIFY run = max(run) OVER (PARTITION BY target, level, codes)
        )
        WHERE split = 'holdout' AND effect IS NOT NULL
        ORDER BY target, level, codes, effect
        """,
        codes=codes,
        mask=mask,
    ).pl()
    if rows.height == 0:
        raise InputError(f"no hypothesis is tested in {lake.root}; run `actlake hypothesize` first")
    groups = rows.partition_by("target", "level", "codes", maintain_order=True)
    heights = [min(group.height, MOST_HYPOTHESES) for group in groups]
    figure = Figure(figsize=(7.5, sum(0.9 + 0.19 * height for height in heights)))
    panels = figure.subplots(
        len(groups), 1, squeeze=False, height_ratios=[0.9 + 0.19 * one for one in heights]
    )[:, 0]
    for axes, group in zip(panels, groups, strict=True):
        first = group.row(0, named=True)
        q = group["q"].fill_null(1.0).to_numpy()
        order = np.sort(np.argsort(q, kind="stable")[:MOST_HYPOTHESES])
        for y, index in enumerate(order.tolist()):
            row = group.row(index, named=True)
            colour = BLUE if (row["q"] or 1.0) <= 0.05 else GREY
            if row["ci_low"] is not None:
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour)
            axes.plot(row["effect"], y, "o", color=colour, markersize=4)
        axes.axvline(0, color="k", linewidth=0.8)
        labels = [f"{group['feature'][index]}" for index in order.tolist()]
        axes.set_yticks(range(len(order)), labels, fontsize=7)
        name = first["target"] + (f" = {visible(first['level'])}" if first["level"] else "")
        held = int((q <= 0.05).sum())
        head(
            axes,
            f"{name}, features of {short(first['codes'], 60)}",
            f"{first['n_tests']} tested, {held} hold at q ≤ 0.05 (blue) · held out: "
            f"{first['n']:,} documents of {first['n_groups']} groups",
        )
        unit = "share of documents" if first["level"] else first["target"]
        axes.set_xlabel(
            f"change of {unit} for one standard deviation of the feature, 95 % interval"
        )
        axes.grid(axis="x")
    return figure
