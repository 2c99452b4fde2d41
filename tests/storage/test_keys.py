"""Names cannot leave the lake, and equal things have equal fingerprints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.storage.errors import InputError
from actlake.storage.keys import Json, check_name, fingerprint, new_id

HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "a b",
    "a\n",
    "a\0",
    "-rf",
    ":a",
    ".hidden",
    "é",
    "a" * 121,
    "a;DROP TABLE x",
    "$name",
    "'",
    "𝐚",
    "a\u202e",
]

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_check_name__refuses(name: str) -> None:
    with pytest.raises(InputError, match="is no name for a tensor") as caught:
        check_name("tensor", name)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["a", "_", "@x", "9", "SmolLM2-135M:resid_post.3@sotu:512", "a" * 120]
)
def test_check_name__returns_what_is_usable(name: str) -> None:
    assert check_name("tensor", name) == name


@given(st.text(max_size=130))
def test_check_name__lets_nothing_through_that_a_path_would_obey(name: str) -> None:
    try:
        check_name("x", name)
    except InputError:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\ '\"$;\0")
    assert name[0] not in ".-:"


@given(PLAIN, PLAIN)
def test_fingerprint__is_equal_where_the_values_are(a: Json, b: Json) -> None:
    def same(x: object, y: object) -> bool:  # True is not 1 here, as in JSON
        return repr(x) == repr(y) or (
            isinstance(x, dict)
            and isinstance(y, dict)
            and x.keys() == y.keys()
            and all(same(x[key], y[key]) for key in x)
        )

    if same(a, b):
        assert fingerprint(a) == fingerprint(b)
    elif not (isinstance(a, dict | list) or isinstance(b, dict | list)):
        assert fingerprint(a) != fingerprint(b)


def test_fingerprint__sees_order_of_lists_and_not_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert fingerprint("a", "b") != fingerprint("ab")
    assert fingerprint(None) != fingerprint("None") != fingerprint()
    assert fingerprint(("a", 1)) == fingerprint(["a", 1])


def test_new_id__is_fresh_and_fit_for_a_path() -> None:
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(id_) == 16 and int(id_, 16) >= 0 for id_ in ids)
