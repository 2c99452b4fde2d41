"""Plots show the numbers of the lake, with their denominators."""

import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

from actlake.flows.feature_plots import value_bars
from actlake.flows.figures import save
from actlake.flows.plots import KINDS, density, feature, fvu, histogram, l0, plot
from actlake.flows.summaries import scores, summaries
from actlake.flows.visible import visible, visible_token
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from tests.flows.found_lake import shared_found_lake  # noqa: F401 - a fixture
from tests.flows.small_lake import (
    DEAD,
    FEATURES,
    FVU,
    IDENTITY,
    MASK,
    PLANTED,
    TOPK,
    codes_name,
    shared_small_lake,  # noqa: F401 - a fixture
)

CODES = codes_name(TOPK)


def dense(lake: Lake, codes: str) -> NDArray[np.float32]:
    """Values under the mask, shape (rows, features)."""
    reader = lake.codes(codes)
    values: NDArray[np.float32] = reader[:].dense()[~reader.rowset.column("is_special")]
    return values


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def words(figure: Figure) -> str:
    """Everything that the figure says."""
    texts = figure.findobj(Text)
    return "\n".join(text.get_text() for text in texts)


def test_density__counts_each_feature_once_and_states_the_dead(small_lake: Lake) -> None:
    figure = density(small_lake)
    for codes, axes in zip((codes_name(IDENTITY), CODES), figure.axes, strict=True):
        fires = (dense(small_lake, codes) > 0).mean(axis=0)
        alive = np.log10(fires[fires > 0])
        for bar in bars(axes):
            left, width = bar.get_x(), bar.get_width()
            # Bars leave a gap of 8 % of the bin, half of it on each side.
            gap = 0.04 * width / 0.92
            assert bar.get_height() == np.sum((alive >= left - gap) & (alive < left + width + gap))
        assert sum(bar.get_height() for bar in bars(axes)) == len(alive)
        title = axes.get_title("left")
        assert f"{FEATURES} features, {FEATURES - len(alive)} of them never fire" in title
        assert f"957 rows, mask {MASK}" in title


def test_density__calls_the_planted_dead_features_dead(small_lake: Lake) -> None:
    fires = dense(small_lake, CODES).any(axis=0)
    assert set(np.flatnonzero(~fires)) == {*DEAD, 3}  # 3 fires on the masked start token alone


def test_l0__is_over_masked_rows(small_lake: Lake) -> None:
    [axes] = l0(small_lake, CODES).axes
    fires = (dense(small_lake, CODES) > 0).sum(axis=1)
    shares = [bar.get_height() for bar in bars(axes)]
    np.testing.assert_allclose(shares, 100 * np.bincount(fires) / len(fires))
    assert np.asarray(axes.lines[0].get_xdata())[0] == pytest.approx(fires.mean())
    assert f"mean {fires.mean():.4g}" in axes.get_title("left")


def test_l0__shows_every_panel_on_the_shared_axis(small_lake: Lake) -> None:
    figure = l0(small_lake)
    for axes in figure.axes:
        left, right = axes.get_xlim()
        for bar in bars(axes):
            assert left <= bar.get_x() < bar.get_x() + bar.get_width() <= right


def test_fvu__places_each_model_at_its_held_out_value(small_lake: Lake) -> None:
    [axes] = fvu(small_lake).axes
    places = {
        str(points.get_label()).split()[0]: np.asarray(points.get_offsets())[:, 0].tolist()
        for points in axes.collections
    }
    assert places == {
        "learned": [FVU["fvu"]],
        "PCA,": [FVU["fvu_pca"]],
        "random": [FVU["fvu_random"]],
    }
    assert f"96 rows, mask {MASK}" in axes.get_yticklabels()[0].get_text()


def test_value_bars__hold_every_value_between_their_edges(small_lake: Lake) -> None:
    [summary] = summaries(small_lake, CODES)
    for number in range(FEATURES):
        values = dense(small_lake, CODES)[:, number]
        joined = value_bars(small_lake, summary, number)
        assert len(joined) <= 40
        for lower, upper, rows in joined:
            assert rows == np.sum((values > lower) & (values <= upper))
        assert sum(rows for _, _, rows in joined) == np.sum(values > 0)


def test_histogram__says_so_when_a_feature_never_fires(small_lake: Lake) -> None:
    assert "it never fires" in words(histogram(small_lake, CODES, DEAD[0]))
    assert "fires on 0 of 957 rows" in words(histogram(small_lake, CODES, DEAD[0]))


def test_feature__shows_the_planted_word_first(small_lake: Lake) -> None:
    shown = words(feature(small_lake, CODES, 1))
    assert f"«{PLANTED[1]}»" in shown
    _, by_count, by_lift = feature(small_lake, CODES, 1).axes
    for axes in (by_count, by_lift):
        assert [label.get_text() for label in axes.get_yticklabels()] == [PLANTED[1]]


@pytest.mark.parametrize("kind", KINDS)
def test_save__writes_the_same_readable_files_each_time(
    found_lake: Lake, tmp_path: Path, kind: str
) -> None:
    of_one = kind in ("feature", "histogram")
    files = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        codes, number = (CODES, 1) if of_one else (None, None)
        figure = plot(found_lake, kind, codes=codes, feature=number)
        files.append(save(figure, folder / "plot.v1"))
    assert [file.name for file in files[0]] == ["plot.v1.png", "plot.v1.svg"]
    for first, second in zip(*files, strict=True):
        assert first.read_bytes() == second.read_bytes()
    root = ElementTree.parse(files[0][1]).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    if kind == "feature":  # hostile tokens are text, and $ starts no formula
        said = "".join(root.itertext())
        assert "<script>alert(1)</script>" in said
        assert "$x_1$" in said


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("densty", {}, "did you mean density"),
        ("density", {"feature": 1}, "leave the feature out"),
        ("histogram", {"codes": CODES}, "give its codes and its number"),
        ("histogram", {"codes": CODES, "feature": FEATURES}, "no feature 16; choose 0 to 15"),
        ("feature", {"codes": CODES, "feature": -1}, "no feature -1; choose 0 to 15"),
        ("l0", {"codes": "nothing"}, "no codes 'nothing'"),
        ("l0", {"codes": CODES, "mask": "all"}, "not summarized under the mask all"),
        ("density", {"mask": "all"}, "no codes are summarized under the mask all"),
        ("fvu", {"mask": "all"}, "no dictionary is evaluated"),
        ("front", {"mask": "all"}, "no dictionary is evaluated"),
        ("matches", {}, "run `actlake compare` first"),
        ("layers", {}, "run `actlake compare` first"),
        ("layers", {"codes": CODES}, "leave the codes out"),
        ("hypotheses", {}, "run `actlake hypothesize` first"),
        ("fvu", {"codes": codes_name(IDENTITY)}, "no dictionary is evaluated"),
    ],
)
def test_plot__refuses_what_it_cannot_draw(
    small_lake: Lake, kind: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plot(small_lake, kind, **arguments)


def test_plot__of_unknown_codes_is_not_found(small_lake: Lake) -> None:
    with pytest.raises(NotFoundError):
        plot(small_lake, "density", codes="nothing")


def test_summaries__are_the_newest_of_each_codes(small_lake: Lake, tmp_path: Path) -> None:
    lake = Lake.open(shutil.copytree(small_lake.root, tmp_path / "lake"))
    assert {summary.mask for summary in summaries(lake)} == {MASK}
    with lake.run("test", {"again": True}, {}) as run:
        row: dict[str, object] = dict.fromkeys(arrow_schema("feature_statistics").names, 0)
        row |= {"codes": CODES, "mask": "all", "n_rows": 997, "run": run.run}
        table = pa.Table.from_pylist([row], arrow_schema("feature_statistics"))
        run.append({"feature_statistics": table}, "a newer summary")
    masks = {summary.codes: (summary.mask, summary.n_rows) for summary in summaries(lake)}
    assert masks == {CODES: ("all", 997), codes_name(IDENTITY): (MASK, 957)}
    assert {summary.mask for summary in summaries(lake, mask=MASK)} == {MASK}
    lake.close()


def test_scores__are_of_held_out_rows(small_lake: Lake) -> None:
    [score] = scores(small_lake)
    assert (score.dictionary, score.n, score.metrics) == (TOPK, 96, FVU)


def test_visible__leaves_letters_and_disarms_the_rest() -> None:
    assert visible("naïve שלום 日本 👩‍🚀") == "naïve שלום 日本 👩‍🚀"
    assert visible("a\x07b\x1b[31m\r\n\t\x7f\x85") == "a␇b␛[31m↵↵⇥␡‹U+0085›"
    assert visible("\u202eevil\u2066\u00a0x") == "‹U+202E›evil‹U+2066› x"
    assert visible_token(" war") == "␣war"
    assert visible_token("") == "‹empty›"
