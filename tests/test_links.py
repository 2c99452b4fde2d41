"""Links between the documents lead somewhere, and every folder explains itself."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("analytics", "benchmarks", "docs", "flows", "sql", "storage", "tests")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md")] + [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.md")]
)


def prose(markdown: str) -> str:
    """``markdown`` without code, whose brackets and hashes mean other things."""
    without_blocks = re.sub(r"^( *)```.*?^\1```$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return re.sub(
        r"`[^`\n]*`", lambda code: code[0].strip("`").replace("](", "] ("), without_blocks
    )


def anchors(markdown: str) -> set[str]:
    """What `#…` may name in ``markdown``: its headings, spelled as GitHub does."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(document: Path) -> list[str]:
    """The relative links and images of ``document`` that lead nowhere."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document.read_text())):
        if re.match(r"[a-z]+:", link):  # https:, mailto:
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.relative_to(ROOT).as_posix())
def test_document__has_no_dead_links(document: Path) -> None:
    assert dead_links(document) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder__has_a_readme(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def test_dead_links__finds_planted_ones(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A `good` heading, really\n")
    (tmp_path / "page.md").write_text(
        "# Page\n[a](other.md) [b](other.md#a-good-heading-really) [c](#page) [d](https://x.org/y)\n"
        "`x[1](2)`\n```python\nx[1](2)\n```\n[e](missing.md) [f](other.md#missing) ![g](no.png)\n"
    )
    assert dead_links(tmp_path / "page.md") == ["missing.md", "other.md#missing", "no.png"]
