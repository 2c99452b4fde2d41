"""Contexts: rows of the same tokens, and samples that hold each of them once."""

import numpy as np
import pytest

from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.postings import Postings
from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.features.windows import REACH, apart, windows
from actlake.analytics.splitmix import splitmix64
from actlake.storage.csr import csr_from_dense


def test_windows__are_equal_exactly_where_tokens_and_edges_are() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 40)
    document = np.repeat(np.arange(40), lengths)
    token = rng.integers(0, 3, len(document))
    token[rng.random(len(document)) < 0.02] = -1
    position = np.concatenate([np.arange(length) for length in lengths])
    found = windows(token, document, position, slice(0, len(token)), 100)
    seen: dict[object, int] = {}
    for row, (own, of) in enumerate(zip(token, document, strict=True)):
        around = range(row - REACH, row + REACH + 1)
        inside = [0 <= at < len(token) and document[at] == of for at in around]
        tokens = tuple(token[at] if ok else None for at, ok in zip(around, inside, strict=True))
        right = seen.setdefault(row if own < 0 else tokens, int(found[row]))
        assert found[row] == right
    assert len(set(found.tolist())) == len(seen)  # and no two contexts share a number
    assert len(seen) < len(token)


def test_windows__are_those_of_one_pass_where_rows_are_cut() -> None:
    token = np.random.default_rng(1).integers(0, 2, 100)
    document = np.repeat([0, 1, 2], [30, 50, 20])
    position = np.concatenate([np.arange(length) for length in (30, 50, 20)])
    position[60:80] += 1  # a row was not chosen
    whole = windows(token, document, position, slice(0, 100), 0)
    assert len(np.unique(whole[60 - REACH : 60 + REACH])) == 2 * REACH
    for start, stop in ((0, 17), (17, 64), (64, 100)):
        first, last = max(start - REACH, 0), min(stop + REACH, 100)
        own = slice(start - first, stop - first)
        seen = slice(first, last)
        part = windows(token[seen], document[seen], position[seen], own, start)
        np.testing.assert_array_equal(part, whole[start:stop])


def test_apart__tells_rows_of_two_rowsets_apart_and_keeps_tokens() -> None:
    rows = np.arange(100)
    token = np.where(rows % 2, 1, -1)  # every second row has none
    found = windows(token, np.zeros(100, int), rows, slice(0, 100), 0)
    here, there, third = (apart(found, rows, number) for number in range(3))
    alone = token < 0
    np.testing.assert_array_equal(here, found)
    np.testing.assert_array_equal(there[~alone], found[~alone])
    several = np.concatenate([one[alone] for one in (here, there, third)])
    assert len(np.unique(several)) == 3 * alone.sum()
    patches = np.concatenate([apart(rows, rows, number) for number in range(3)])
    assert len(np.unique(patches)) == 300


@pytest.mark.parametrize("contexts", [3, 40, 100_000])
def test_rows__hold_each_context_once_however_often_it_comes(contexts: int) -> None:
    """Few contexts: fewer than k are there at all, or among the first 2k, so all rows are read."""
    rng = np.random.default_rng(2)
    n, k = 600, 9
    block = np.round(rng.exponential(2, (n, 4)) * (rng.random((n, 4)) < 0.5), 1).astype(np.float32)
    context = rng.integers(0, contexts, n)
    block[context == 1, 0] += 50  # the strongest rows are all of one context
    postings = Postings.of(csr_from_dense(block), np.ones(n, np.bool_))
    top = TopRows.of_postings(postings, row_start=0, k=k, context=context)
    drawn = BottomRows.firing(postings, row_start=0, k=k, seed=5, context=context)
    hashes, ties = splitmix64(np.arange(n), 5), splitmix64(np.arange(n))
    for feature, values in enumerate(block.T):
        fired = np.flatnonzero(values)
        for state, order in (
            (top, fired[np.lexsort((ties[fired], -values[fired]))]),
            (drawn, fired[np.argsort(hashes[fired])]),
        ):
            kept: dict[int, int] = {}
            for row in order.tolist():
                kept.setdefault(int(context[row]), row)
            of = state.feature if isinstance(state, TopRows) else state.group
            assert state.row[of == feature].tolist() == [*kept.values()][:k]
