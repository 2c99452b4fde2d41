import numpy as np
import pytest

from actlake.analytics.features.token_sets import LOOKS, looks, named_sets
from actlake.storage.errors import InputError

TEXTS = [" War", "war", " war", "NATO", "A", "1945", "\n", "!?", "é", "e\u0301t", ""]


def test_looks__put_each_token_where_a_reader_would() -> None:
    found = {
        name: [text for text, inside in zip(TEXTS, row, strict=True) if inside]
        for name, row in zip(LOOKS, looks(TEXTS), strict=True)
    }
    assert found == {
        "space": [" War", " war", "\n"],
        "capital": [" War", "NATO", "A"],
        "digit": ["1945"],
        "punctuation": ["!?"],
        "upper": ["NATO"],
        "newline": ["\n"],
        "non_ascii": ["é", "e\u0301t"],
    }


def test_named_sets__take_words_with_and_without_a_space_and_name_what_is_missing() -> None:
    members, missing = named_sets(
        TEXTS, {"war": ["war"], "spaced": [" war", "peace"], "composed": ["\u00e9t"]}
    )
    assert [np.flatnonzero(row).tolist() for row in members] == [[1, 2], [2], [9]]
    assert missing == {"spaced": ["peace"]}
    with pytest.raises(InputError, match="none of the 2 entries of the token set 'x' is a token"):
        named_sets(TEXTS, {"x": ["peace", "treaty"]})
    with pytest.raises(InputError, match="the token set 'x' is empty"):
        named_sets(TEXTS, {"x": []})
