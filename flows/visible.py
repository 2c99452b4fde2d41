"""Text from models and corpora, made safe to show in a line, a plot or a page."""

import re
import unicodedata

__all__ = ["line", "visible", "visible_token"]

LONGEST_LINE = 1_000
_LONGEST_WORD = 160

_TOO_LONG = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")
_NAMED = {"\n": "↵", "\r": "↵", "\t": "⇥", "\x7f": "␡"}
_LETTERLIKE = "\u00ad\u200c\u200d"
"""Format characters that spell words: soft hyphen, and the joiners of Persian, Indic and emoji."""


def visible(text: str) -> str:
    """``text`` in which no character is obeyed: controls are pictures, bidi overrides are named.

    ␀ stands for U+0000 and so on, ‹U+202E› for a character that would turn its surroundings
    around. Line breaks become ↵, so the result is one line. Letters of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _picture(one) for one in text)


def line(message: str) -> str:
    """A message as one visible line of at most 1,000 characters.

    Of one that is longer, long words are cut in their middle, and then the line itself: its end
    says what to do next; what is left out is a value that somebody gave.
    """
    shown = visible(message)
    if len(shown) > LONGEST_LINE:
        shown = _TOO_LONG.sub(lambda word: _cut(word[0], _LONGEST_WORD), shown)
    return _cut(shown, LONGEST_LINE)


def _cut(text: str, longest: int) -> str:
    half = longest // 2 - 1
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


def visible_token(text: str) -> str:
    """As ``visible``, with spaces as ␣: in a token they are what tells " war" from "war"."""
    return visible(text).replace(" ", "␣") or "‹empty›"


def _picture(one: str) -> str:
    if one in _NAMED:
        return _NAMED[one]
    if ord(one) < 0x20:
        return chr(0x2400 + ord(one))
    if one in _LETTERLIKE:
        return one
    # Other spaces are not printable either, yet they do no more than part words.
    return " " if unicodedata.category(one) == "Zs" else f"‹U+{ord(one):04X}›"
