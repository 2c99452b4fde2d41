"""The report shows the lake whole, in a browser too, and nothing that the lake holds acts in it."""

import re
from html import unescape
from pathlib import Path

import pytest

from actlake.flows.report import report
from actlake.flows.summaries import FLAGS
from actlake.storage.lake import Lake
from tests.flows.chromium import CHROMIUM, opened
from tests.flows.found_lake import shared_found_lake  # noqa: F401 - a fixture
from tests.flows.small_lake import FVU, IDENTITY, MASK, TOPK, codes_name
from tests.flows.test_page import Elements

SECTIONS = [
    *("What it holds", "Dictionaries", "Together and with labels", "Across models", "Hypotheses"),
    "Runs",
]


@pytest.fixture(scope="module")
def text(found_lake: Lake) -> str:
    return report(found_lake, snapshot=found_lake.newest_snapshot(), committed="2026-11-21 UTC")


@pytest.fixture(scope="module")
def elements(text: str) -> Elements:
    return Elements(text)


def test_report__has_every_section_filled(elements: Elements, found_lake: Lake) -> None:
    heads = [head for head in elements.texts["h2"] if head in SECTIONS]
    assert heads == SECTIONS
    images = [value for tag, name, value in elements.attributes if (tag, name) == ("img", "alt")]
    assert len(images) == 7
    cells = " ".join(elements.texts["td"])
    for name in (codes_name(TOPK), codes_name(IDENTITY), f"{FVU['fvu']:.4g}"):
        assert name in cells
    runs = [run for (run,) in found_lake.sql("SELECT run FROM runs").rows()]
    assert all(str(run) in cells for run in runs)
    assert any("party = Democratic" in head for head in elements.texts["h3"])
    assert "PCA" in cells or "PCA" in " ".join(elements.texts["th"])


def test_report__tells_flags_families_labels_and_sets(found_lake: Lake, text: str) -> None:
    section = text[text.index('id="together"') : text.index('id="compared"')]
    cells = [unescape(one) for one in re.findall(r"<td>(.*?)</td>", section, re.DOTALL)]
    health = found_lake.query("health_of_codes", codes=codes_name(TOPK), mask=MASK).pl()
    row = cells.index(codes_name(TOPK))
    for at, flag in enumerate(FLAGS, start=row + 3):
        counted = health.filter(flag=flag.removeprefix("is_").replace("_", " "))
        assert cells[at] == str(counted["n_features"].sum()), flag
    told = found_lake.table("feature_labels").filter(subset="").collect()
    sure = told.filter(told["q"] <= 0.05)
    named = [cell for cell in cells if "side = " in cell]
    first = sure.filter(sure["value"] == told["value"].min())  # of two, one mirrors the other
    assert len(named) == min(len(first), 5)
    families = found_lake.table("feature_families").collect()["family"].n_unique()
    assert section.count("<td>token</td>") == min(families, 4)
    sets = cells.index("nouns")
    assert cells[sets + 1] == "2 of 38"
    assert cells[sets + 3] == "2 of 4"
    assert "0 (1) 1 (0.8889)" in cells[sets + 4]


def test_report__has_no_element_or_attribute_from_data(elements: Elements, text: str) -> None:
    for tag, name, value in elements.attributes:
        assert not name.startswith("on")
        if name in ("src", "srcset", "xlink:href", "action"):
            assert (tag, name) == ("img", "src")
            assert value.startswith("data:image/svg+xml;base64,")
        if name == "href":
            assert value.startswith("#")
    assert "script" not in elements.texts
    assert not re.search(r"url\(|@import|https?:", "".join(elements.texts["style"]))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_report__of_an_empty_lake_says_what_to_run(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake")
    text = report(lake, snapshot=1, committed="now")
    verbs = "train summarize summarize-pairs summarize-labels compare hypothesize"
    for verb in verbs.split():
        assert f"actlake {verb}" in text
    lake.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_report__opens_in_a_browser_without_complaint(
    text: str, found_lake: Lake, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text(text, "utf-8")
    with opened(file, tmp_path / "profile") as page:
        widths = page.evaluate("[...document.images].map(one => one.naturalWidth)")
        assert len(widths) == 7
        assert min(widths) > 100
        assert page.evaluate("document.scripts.length") == 0
        # Wide tables scroll by themselves; the page does not.
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        shown = page.evaluate("document.body.innerText")
        assert page.complaints == []
        assert page.requested == [file.as_uri()]
    assert found_lake.root.name in shown
    assert "<script>alert(1)</script>" in shown
