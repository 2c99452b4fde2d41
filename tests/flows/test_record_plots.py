"""Plots of pairs and of labels draw what numpy and scipy compute, and say when there is nothing."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from actlake.flows.figures import BLUE, GREY
from actlake.flows.plots import plot
from actlake.flows.record_plots import labels, pairs
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake
from tests.flows.record_lake import (
    CHILDREN,
    CODES,
    DEAD,
    DOCUMENTS,
    EVERYWHERE,
    MASK,
    NOW,
    PARENT,
    TWINS,
    WORDS,
    party,
    rows,
    shared_record_lake,  # noqa: F401 - a fixture
    side,
    units,
)
from tests.flows.small_lake import (
    TOPK,
    codes_name,
    shared_small_lake,  # noqa: F401 - a fixture
)

Points = set[tuple[float, float]]


def points(line: Line2D) -> Points:
    x, y = (np.asarray(one, float) for one in line.get_data())
    return {(round(a, 6), b) for a, b in zip(x.tolist(), y.tolist(), strict=True)}


def named(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines}


def test_pairs__draw_joint_firings_against_those_by_chance(record_lake: Lake) -> None:
    figure = pairs(record_lake)
    assert len(figure.axes) == 2
    for level, axes in zip(("token", "document"), figure.axes, strict=True):
        fires = (units(level) > 0).astype(int)
        joint, alone, n = fires.T @ fires, fires.sum(axis=0), len(fires)
        table = rows(record_lake, "feature_pairs", level=level, codes=CODES, mask=MASK)
        sure: Points = set()
        unsure: Points = set()
        kept = {}
        for a, b, q in table[["feature_a", "feature_b", "q"]].rows():
            kept[min(a, b), max(a, b)] = q
        for (a, b), q in kept.items():
            at = (round(float(alone[a] * alone[b] / n), 6), float(joint[a, b]))
            (sure if q <= 0.05 else unsure).add(at)
        drawn = named(axes)
        assert points(drawn["q ≤ 0.05"]) == sure
        assert points(drawn["q > 0.05"]) == unsure
        assert same_color(drawn["q ≤ 0.05"].get_color(), BLUE)
        assert same_color(drawn["q > 0.05"].get_color(), GREY)
        chance = np.asarray(drawn["as by chance"].get_data())
        assert (chance[0] == chance[1]).all()
        often = int((alone >= 10).sum())
        n_sure = sum(q <= 0.05 for q in kept.values())
        assert axes.get_title("left") == (
            f"{CODES}\n{len(kept)} pairs kept of {often * (often - 1) // 2} counted, {n_sure} at "
            f"q ≤ 0.05 · {n:,} {'rows' if level == 'token' else 'documents'} under the mask {MASK}"
        )
        said = [one for one in axes.texts if isinstance(one, Annotation)]
        for name in said:
            a, b = map(int, name.get_text().split("·"))
            assert kept[a, b] <= 0.05
            assert name.xy == pytest.approx((alone[a] * alone[b] / n, joint[a, b]))
        names = {one.get_text() for one in said}
        assert f"{TWINS[0]}·{TWINS[1]}" in names
        if level == "token":
            assert names & {f"{PARENT}·{child}" for child in CHILDREN}


def auroc(x: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    p, q = positive.sum(), (~positive).sum()
    return float(mannwhitneyu(x[positive], x[~positive]).statistic / (p * q))


def test_labels__draw_the_auroc_of_all_units_and_within_each_subset(record_lake: Lake) -> None:
    figure = labels(record_lake)
    whole = np.arange(DOCUMENTS[NOW])
    for (level, subset_by), axes in zip(
        (("token", ""), ("document", "party")), figure.axes, strict=True
    ):
        document = np.repeat(whole, WORDS) if level == "token" else whole
        x = units(level)
        positive = np.array([side(one) == "x" for one in document.tolist()])
        in_a = np.array([party(one) == "A" for one in document.tolist()])
        table = rows(record_lake, "feature_labels", label="side", value="x", level=level, subset="")
        scored = table["feature"].to_list()
        assert DEAD not in scored
        right = {one: auroc(x[:, one], positive) for one in scored}
        first = sorted(scored, key=lambda one: (-round(abs(right[one] - 0.5), 9), one))[:12]
        named_features = [int(label.get_text()) for label in axes.get_yticklabels()]
        assert named_features[::-1] == first
        ends = {float(np.ravel(one.get_ydata())[0]): one for one in axes.lines if is_dot(one, "o")}
        found = {
            feature: float(np.ravel(ends[y].get_xdata())[0])
            for y, feature in enumerate(named_features)
        }
        assert found == pytest.approx({one: right[one] for one in first})
        q = dict(table[["feature", "q"]].rows())
        for y, feature in enumerate(named_features):
            colour = BLUE if q[feature] is not None and q[feature] <= 0.05 else GREY
            assert same_color(ends[y].get_color(), colour)
        within = [one for one in axes.lines if is_dot(one, ".")]
        assert len(within) == (len(first) if subset_by else 0)
        for one in within:
            feature = named_features[int(np.ravel(one.get_ydata())[0])]
            parts = [auroc(x[part, feature], positive[part]) for part in (in_a, ~in_a)]
            assert np.ravel(one.get_xdata()).tolist() == pytest.approx(parts)
        units_said = "rows" if level == "token" else "documents, max"
        facts = f"{positive.sum():,} of {len(x):,} {units_said} under {MASK} · "
        title = axes.get_title("left")
        assert title.startswith(f"side = x, features of {CODES}\n{facts}")
        assert ("dots: within each party" in title) == bool(subset_by)
        tests = re.search(r"([\d,]+) tests", title)
        assert tests is not None
        assert int(tests[1].replace(",", "")) == table["n_tests"][0]
    assert f"{EVERYWHERE}" in [label.get_text() for label in figure.axes[1].get_yticklabels()][-1:]


def is_dot(line: Line2D, marker: str) -> bool:
    return line.get_marker() == marker


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pairs", "no pairs of features are counted .* run `actlake summarize-pairs` first"),
        ("labels", "no features are scored .* run `actlake summarize-labels` first"),
    ],
)
def test_plots_of_records__say_what_to_run_where_there_is_nothing(
    small_lake: Lake, record_lake: Lake, kind: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plot(small_lake, kind)
    with pytest.raises(InputError, match=message):
        plot(small_lake, kind, codes=codes_name(TOPK))
    with pytest.raises(InputError, match=message):
        plot(record_lake, kind, codes=CODES, mask="all")
    with pytest.raises(NotFoundError, match="nobody"):
        plot(record_lake, kind, codes="nobody")


def test_pairs__without_any_that_is_sure_are_drawn_all_the_same(
    record_lake: Lake, tmp_path: Path
) -> None:
    lake = Lake.open(shutil.copytree(record_lake.root, tmp_path / "lake"))
    with lake.run("test", {"unsure": True}, {}) as run:
        changed = "UPDATE feature_pairs SET q = 1 WHERE level = 'token'"
        run.append({}, "none is sure", check=lambda transaction: transaction.execute(changed))
    axes = pairs(lake, CODES).axes[0]
    assert len(points(named(axes)["q ≤ 0.05"])) == 0
    assert len(axes.texts) == 0
    assert ", 0 at q ≤ 0.05" in axes.get_title("left")
