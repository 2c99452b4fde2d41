"""Units of two tokenizations, against a brute-force graph of overlapping characters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from actlake.analytics.similarity.alignment import Coverage, Spans, Units, align


def spans(*tokens: tuple[int, int, int], keep: list[bool] | None = None) -> Spans:
    """Tokens given as (document, start, stop)."""
    document, start, stop = np.array(tokens, np.int64).reshape(-1, 3).T
    kept = np.ones(len(document), np.bool_) if keep is None else np.array(keep)
    return Spans(document, start, stop, kept)


def units(a: Spans, b: Spans) -> tuple[list[int], list[int], list[int]]:
    found = align(a, b)
    assert found.count == len(found.chars)
    return found.unit_a.tolist(), found.unit_b.tolist(), found.chars.tolist()


def test_align__glued_leading_spaces_are_the_same_words() -> None:
    # "the cat sat": "the", " cat", " sat" against "the", "cat", "sat"
    glued = spans((0, 0, 3), (0, 3, 7), (0, 7, 11))
    bare = spans((0, 0, 3), (0, 4, 7), (0, 8, 11))
    assert units(glued, bare) == ([0, 1, 2], [0, 1, 2], [3, 3, 3])


def test_align__a_token_over_two_joins_them_and_only_them() -> None:
    assert units(
        spans((0, 0, 4), (0, 4, 6), (0, 6, 9)), spans((0, 0, 2), (0, 2, 4), (0, 4, 6), (0, 6, 9))
    ) == ([0, 1, 2], [0, 0, 1, 2], [4, 2, 3])


def test_align__pieces_of_one_character_stay_together() -> None:
    # An emoji as four byte tokens that share its span, against one token.
    pieces = spans((0, 0, 2), (0, 2, 3), (0, 2, 3), (0, 2, 3), (0, 2, 3), (0, 3, 5))
    assert units(pieces, spans((0, 0, 2), (0, 2, 3), (0, 3, 5))) == (
        [0, 1, 1, 1, 1, 2],
        [0, 1, 2],
        [2, 1, 2],
    )


def test_align__specials_masked_tokens_and_text_of_one_side_are_in_no_unit() -> None:
    a = spans((0, 0, 0), (0, 0, 3), (0, 3, 6), (0, 9, 12), keep=[True, True, False, True])
    assert units(a, spans((0, 0, 3), (0, 3, 6), (0, 6, 9), (0, 12, 12))) == (
        [-1, 0, -1, -1],
        [0, -1, -1, -1],
        [3],
    )


def test_align__context_carried_into_the_next_window_is_one_piece_of_text() -> None:
    # Characters 2 to 6 are seen by both windows.
    windows = spans((0, 0, 2), (0, 2, 4), (0, 4, 6), (0, 2, 4), (0, 4, 6), (0, 6, 8))
    assert units(windows, spans((0, 0, 2), (0, 2, 4), (0, 4, 6), (0, 6, 8))) == (
        [0, 1, 2, 1, 2, 3],
        [0, 1, 2, 3],
        [2, 2, 2, 2],
    )


def test_align__never_crosses_documents() -> None:
    a, b = spans((0, 0, 9), (1, 0, 9), (7, 0, 9)), spans((0, 0, 5), (0, 5, 9), (7, 3, 12))
    found = align(a, b)
    assert found.unit_a.tolist() == [0, -1, 1]
    assert found.unit_b.tolist() == [0, 0, 1]
    assert found.document.tolist() == [0, 7]
    assert found.chars.tolist() == [9, 6]


@pytest.mark.parametrize("tokens", [(), ((0, 0, 3),)])
def test_align__nothing_in_common_gives_no_units(tokens: tuple[tuple[int, int, int], ...]) -> None:
    a = spans(*tokens)
    assert units(a, spans()) == ([-1] * len(tokens), [], [])
    assert units(spans(), a) == ([], [-1] * len(tokens), [])


@st.composite
def some_spans(draw: st.DrawFn) -> Spans:
    n, seed = draw(st.integers(0, 14)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 18, n)
    document = np.sort(rng.integers(0, 3, n))
    return Spans(document, start, start + rng.integers(0, 5, n), rng.random(n) < 0.9)


def characters(side: Spans) -> NDArray[np.bool_]:
    """Shape (tokens, documents·characters): what each token that takes part covers."""
    covered = np.zeros((len(side.keep), 3 * 30), np.bool_)
    for i in np.flatnonzero(side.keep):
        first = 30 * side.document[i]
        covered[i, first + side.start[i] : first + side.stop[i]] = True
    return covered


@given(a=some_spans(), b=some_spans())
def test_align__is_the_connected_components_of_overlaps(a: Spans, b: Spans) -> None:
    found = align(a, b)
    in_a, in_b = characters(a), characters(b)
    covered = np.concatenate((in_a, in_b)).astype(int)
    links = csr_array(covered @ covered.T)
    component = connected_components(links, directed=False)[1] if len(covered) else np.zeros(0, int)
    part = component[: len(in_a)], component[len(in_a) :]
    # A token without characters is a component of its own.
    both = set(part[0]) & set(part[1])
    expected = {
        c: (set(np.flatnonzero(part[0] == c)), set(np.flatnonzero(part[1] == c))) for c in both
    }
    right = sorted(expected.values(), key=lambda sides: min(sides[0]))
    got = [
        (set(np.flatnonzero(found.unit_a == u)), set(np.flatnonzero(found.unit_b == u)))
        for u in range(found.count)
    ]
    assert sorted(got, key=lambda sides: min(sides[0])) == right

    shared = in_a.any(axis=0) & in_b.any(axis=0)
    assert found.chars.sum() == shared.sum()
    places = []
    for u, (tokens_a, tokens_b) in enumerate(got):
        common = in_a[list(tokens_a)].any(axis=0) & in_b[list(tokens_b)].any(axis=0)
        assert found.chars[u] == common.sum()
        assert set(np.flatnonzero(common) // 30) == {found.document[u]}
        places.append(np.flatnonzero(common)[0])
    assert places == sorted(places)


@given(a=some_spans(), b=some_spans())
def test_align__document_by_document_is_all_at_once(a: Spans, b: Spans) -> None:
    def part(side: Spans, document: int) -> Spans:
        inside = side.document == document
        columns = (side.document, side.start, side.stop, side.keep)
        return Spans(*(column[inside] for column in columns))

    whole = align(a, b)
    blocks = [align(part(a, document), part(b, document)) for document in range(3)]
    offset = np.cumsum([0] + [block.count for block in blocks])

    def numbered(side: str) -> NDArray[np.int64]:
        columns = [getattr(block, side) for block in blocks]
        return np.concatenate(
            [np.where(c >= 0, c + o, -1) for c, o in zip(columns, offset[:-1], strict=True)]
        )

    np.testing.assert_array_equal(numbered("unit_a"), whole.unit_a)
    np.testing.assert_array_equal(numbered("unit_b"), whole.unit_b)
    for name in ("document", "chars"):
        parts = [getattr(block, name) for block in blocks]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(whole, name))


def test_align__takes_narrow_integers() -> None:
    document, start, stop = (np.array([v], np.uint16) for v in (60_000, 60_000, 60_005))
    narrow = Spans(document, start, stop, np.array([True]))
    assert align(narrow, narrow).document.tolist() == [60_000]


def covered(a: Spans, b: Spans, found: Units, text_chars: int) -> dict[str, float]:
    return Coverage.of(a, b, found, text_chars=text_chars).finish()


def test_coverage__shares_have_stated_denominators() -> None:
    # 20 characters; A covers 0-12 and masks 12-16; B covers 0-4 and 8-16.
    a = spans((0, 0, 0), (0, 0, 6), (0, 6, 12), (0, 12, 16), keep=[False, True, True, False])
    b = spans((0, 0, 4), (0, 8, 12), (0, 12, 16), (0, 16, 16))
    found = covered(a, b, align(a, b), 20)
    assert found == {"text": 8 / 20, "tokens_a": 1.0, "tokens_b": 2 / 4}


def test_coverage__merges_blocks_and_is_nan_of_nothing() -> None:
    a, b = spans((0, 0, 4), (1, 0, 4)), spans((0, 0, 4), (1, 2, 8))
    whole = Coverage.of(a, b, align(a, b), text_chars=12)
    first, second = (
        spans((0, 0, 4)),
        spans((1, 0, 4)),
    )
    other, last = spans((0, 0, 4)), spans((1, 2, 8))
    parts = Coverage.of(first, other, align(first, other), text_chars=4)
    parts = parts.merge(Coverage.of(second, last, align(second, last), text_chars=8))
    assert Coverage.empty().merge(parts) == whole
    assert Coverage.from_arrays(whole.arrays()) == whole
    assert all(np.isnan(list(Coverage.empty().finish().values())))
