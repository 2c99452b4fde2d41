"""Sets of tokens that a direction may raise or lower together: by how they look, or by name."""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.features.token_shapes import SHAPES, token_shapes
from actlake.storage.errors import InputError

LOOKS = (*SHAPES, "upper", "newline", "non_ascii")
"""Sets that every vocabulary is cut into, as ``looks`` has them."""


def looks(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which of ``LOOKS`` each text is in, shape (looks, texts); one may be in several or none.

    The first four are of ``token_shapes``. upper: two letters or more, all upper-case. newline: it
    holds a line break. non_ascii: it holds a character outside ASCII.
    """
    found = np.zeros((len(LOOKS), len(texts)), np.bool_)
    found[: len(SHAPES)] = token_shapes(texts).T
    for at, text in enumerate(texts):
        letters = [one for one in text if one.isalpha()]
        found[len(SHAPES) :, at] = (
            len(letters) > 1 and all(one.isupper() for one in letters),
            "\n" in text or "\r" in text,
            not text.isascii(),
        )
    return found


def named_sets(
    texts: Sequence[str], named: Mapping[str, Sequence[str]]
) -> tuple[NDArray[np.bool_], dict[str, list[str]]]:
    """Members of each set that people named, shape (sets, texts), and entries that are no token.

    An entry stands for the token of that text and for the one with a space before it, since most
    vocabularies hold a word as both; one that begins with a space for itself. Texts are compared
    in Unicode's composed form. InputError for a set of which no entry is a token.
    """
    places: dict[str, list[int]] = {}
    for at, text in enumerate(texts):
        places.setdefault(unicodedata.normalize("NFC", text), []).append(at)
    members = np.zeros((len(named), len(texts)), np.bool_)
    missing: dict[str, list[str]] = {}
    for row, (name, entries) in zip(members, named.items(), strict=True):
        for entry in entries:
            one = unicodedata.normalize("NFC", entry)
            found = places.get(one, []) + ([] if one[:1] == " " else places.get(f" {one}", []))
            row[found] = True
            if not found:
                missing.setdefault(name, []).append(entry)
        if not row.any():
            raise InputError(
                f"none of the {len(entries)} entries of the token set {name!r} is a token of this "
                f"vocabulary, such as {entries[0]!r}; give texts as the table vocabulary has them"
                if entries
                else f"the token set {name!r} is empty; give the texts of its tokens"
            )
    return members, missing
