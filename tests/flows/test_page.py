"""The page shows what the lake holds, and nothing that the lake holds acts on it."""

import base64
import re
from html.parser import HTMLParser

import pytest

from actlake.flows.cards import FAINTEST, Piece, _pieces, _specials, _whole
from actlake.flows.page import page
from actlake.flows.summaries import summaries
from actlake.storage.contexts import Context, Span
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake
from tests.flows.small_lake import (
    FVU,
    IDENTITY,
    MASK,
    PLANTED,
    START,
    TOPK,
    codes_name,
    shared_small_lake,  # noqa: F401 - a fixture
)

CODES = codes_name(TOPK)
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
CONTENT = ("meta", "content")
VOID = {"meta", "img"}
TAGS = set(
    """
    html head meta title style body h1 h2 h3 p table thead tbody tr th td code em mark article div
    span svg rect line text ol li bdi img
    """.split()
)


class Elements(HTMLParser):
    """Every element with its attributes and, per element, the text in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self.texts.setdefault(tag, [])
        if tag not in VOID:
            self._open.append((tag, []))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        name, texts = self._open.pop()
        assert name == tag, f"{tag} closes {name}"
        self.texts[tag].append("".join(texts))


@pytest.fixture(scope="module")
def text(small_lake: Lake) -> str:
    return page(small_lake, snapshot=7, committed="2026-11-21 UTC", plots=[("A plot", SVG)])


@pytest.fixture(scope="module")
def elements(text: str) -> Elements:
    return Elements(text)


def test_page__has_no_element_or_attribute_from_data(elements: Elements) -> None:
    assert elements.texts.keys() <= TAGS
    names = {name for _, name, _ in elements.attributes}
    assert not [name for name in names if name.startswith("on")]
    for tag, name, value in elements.attributes:
        if name in ("src", "href", "xlink:href", "action", "srcset"):
            assert (tag, name) == ("img", "src")
            assert value.startswith("data:image/svg+xml;base64,")
        if name == "style":
            assert re.fullmatch(r"--strength:[0-9.]+", value)


HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img",
    "‹U+202E›terces",
    "a␇b",
    "שלום",
    "speech-39<i>",
    '<b>President</b> & "Co"',
)
"""Of texts, ids and labels, as they are shown."""


def test_page__shows_hostile_text_as_it_is_written(elements: Elements, text: str) -> None:
    shown = " ".join(elements.texts["li"])
    for harmless in HOSTILE:
        assert harmless in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)


def test_page__needs_no_network_and_allows_none(elements: Elements) -> None:
    policy = [
        value for tag, name, value in elements.attributes if (tag, name) == ("meta", "content")
    ]
    assert any(value.startswith("default-src 'none'") for value in policy)
    assert not re.search(r"url\(|@import", "".join(elements.texts["style"]))


def test_page__embeds_plots_as_images(elements: Elements) -> None:
    images = {name: value for tag, name, value in elements.attributes if tag == "img"}
    assert images["alt"] == "A plot"
    assert base64.b64decode(images["src"].partition(",")[2]).decode() == SVG


def test_page__finds_the_planted_words(elements: Elements) -> None:
    cards = [card for card in elements.texts["article"] if card.split()[:2] == ["feature", "0"]]
    assert len(cards) == 2  # of each codes
    for card in cards:
        assert re.search(rf"by count\s+{PLANTED[0]}\s+30\s", card)
        assert re.search(r"fires on\s*30 of 957 rows", card)
        assert re.search(r"in documents\s*19 of 40", card)
        assert re.search(r"is\s*single token", card)
    marked = set(elements.texts["mark"])
    assert {PLANTED[feature] for feature in (0, 1, 2)} <= marked
    assert START not in marked


def test_page__says_where_its_numbers_come_from(elements: Elements, small_lake: Lake) -> None:
    facts = " ".join(elements.texts["table"])
    for fact in (small_lake.settings.lake, "7, committed 2026-11-21 UTC", MASK, "96"):
        assert fact in facts
    for metric in ("fvu", "fvu_pca", "fvu_random", "l0"):
        assert f"{FVU[metric]:.4g}" in facts
    assert "957 rows, mask no_special" in " ".join(" ".join(elements.texts["p"]).split())


def test_page__deals_features_over_codes_in_turn(small_lake: Lake) -> None:
    shown = page(small_lake, snapshot=7, committed="today", features=3)
    assert re.findall(r'<article class="card" id="feature-(\d)-', shown) == ["0", "0", "1"]
    ranked = small_lake.query("characteristic_features", codes=CODES, mask=MASK, limit=1)
    assert f'id="feature-1-{ranked.pl()["feature"][0]}"' in shown


def test_page__refuses_a_mask_without_summaries(small_lake: Lake) -> None:
    with pytest.raises(InputError, match="no codes are summarized under the mask all"):
        page(small_lake, snapshot=7, committed="today", mask="all")


def context(text: str, start: int, stop: int, *spans: Span) -> Context:
    return Context(3, 2.0, 0, "speech", text, start, stop, spans)


def test_pieces__are_the_whole_text_with_one_top() -> None:
    given = context("we won\nthe war", 11, 14, Span(3, 6, 1.0), Span(10, 14, 2.0))
    assert _pieces(given, largest=4.0) == [
        Piece("we "),
        Piece("won", 1.0, round(FAINTEST + (1 - FAINTEST) / 4, 3)),
        Piece("↵the"),
        Piece(" war", 2.0, round(FAINTEST + (1 - FAINTEST) / 2, 3), is_top=True),
    ]


def test_pieces__of_every_context_give_back_its_text(small_lake: Lake) -> None:
    for codes in (CODES, codes_name(IDENTITY)):
        for feature in PLANTED.keys() - {3}:
            for one in small_lake.contexts(codes, feature, mask=MASK, limit=8):
                pieces = _pieces(one, largest=9.0)
                shown = "".join(piece.text for piece in pieces)
                assert shown.replace("‹U+202E›", "\u202e").replace("␇", "\x07") == one.text
                assert [piece.text for piece in pieces if piece.is_top] == [PLANTED[feature]]


def test_whole__cuts_a_long_document() -> None:
    [piece] = _whole(context("word " * 1000, 0, 5000, Span(0, 5000, 2.0)))
    assert piece.strength is None
    assert len(piece.text) == 420
    assert piece.text.endswith("…")


def test_specials__name_the_token_that_has_no_text(small_lake: Lake) -> None:
    [summary] = summaries(small_lake, CODES)
    contexts = small_lake.contexts(CODES, 3, mask="all", limit=2)
    assert _specials(small_lake, summary, contexts) == {one.row: START for one in contexts}
    assert _specials(small_lake, summary, small_lake.contexts(CODES, 0, mask=MASK)) == {}
