"""What tokens look like: spaces, case, digits, punctuation."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHAPES = ("space", "capital", "digit", "punctuation")


def token_shapes(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which of ``SHAPES`` each text has, shape (texts, 4); one may have several or none.

    space: it begins with one. capital: its first letter is upper-case. digit: it holds one.
    punctuation: it has neither letter nor digit, and something besides spaces. By Unicode's
    classes, so in any script.
    """
    found = np.zeros((len(texts), len(SHAPES)), np.bool_)
    for at, text in enumerate(texts):
        letter = next((one for one in text if one.isalpha()), "")
        has_digit = any(one.isdigit() for one in text)
        found[at] = (
            text[:1].isspace(),
            letter.isupper(),
            has_digit,
            not letter and not has_digit and bool(text.strip()),
        )
    return found
