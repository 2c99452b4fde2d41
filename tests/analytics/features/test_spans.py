"""Rows that spans reach: character by character."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.features.spans import overlapping

EDGES = st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(0, 12))


def found(rows: list[tuple[int, int, int]], spans: list[tuple[int, int, int]]) -> list[bool]:
    document, start, stop = np.array(rows, np.int64).reshape(-1, 3).T
    of_span = np.array(spans, np.int64).reshape(-1, 3).T
    names = ("span_document", "span_start", "span_stop")
    reached = overlapping(document, start, stop, **dict(zip(names, of_span, strict=True)))
    return [bool(one) for one in reached]


@given(rows=st.lists(EDGES, max_size=20), spans=st.lists(EDGES, max_size=8))
def test_overlapping__is_a_character_in_both(
    rows: list[tuple[int, int, int]], spans: list[tuple[int, int, int]]
) -> None:
    said = {(document, at) for document, start, stop in spans for at in range(start, stop)}
    right = [any((d, at) in said for at in range(start, stop)) for d, start, stop in rows]
    assert found(rows, spans) == right


def test_overlapping__edges_touch_no_neighbour_and_spans_may_nest() -> None:
    span = [(1, 4, 8)]
    rows = [(1, 0, 4), (1, 3, 5), (1, 5, 6), (1, 7, 9), (1, 8, 9), (0, 4, 8), (2, 4, 8)]
    assert found(rows, span) == [False, True, True, True, False, False, False]
    nested = [(1, 0, 9), (1, 2, 3), (1, 4, 5)]
    assert found([(1, 7, 8), (1, 3, 4), (1, 9, 10), (2, 0, 1)], nested) == [
        True,
        True,
        False,
        False,
    ]
    assert found([(1, 5, 5)], span) == [False]  # of a special token
    assert found([(1, 0, 9)], [(1, 4, 4)]) == [False]  # of a document that has none
