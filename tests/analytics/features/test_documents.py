from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features.documents import FeatureDocuments
from actlake.analytics.features.postings import Postings
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense

Ints = NDArray[np.int64]


def sizes(document: Ints) -> Ints:
    """On the last row of each document how many rows it has."""
    position = np.arange(len(document)) - np.searchsorted(document, document)
    last = np.diff(document, append=-1) != 0
    return np.where(last, position + 1, 0)


def state(
    block: NDArray[np.float32], mask: NDArray[np.bool_], document: Ints, part: slice
) -> FeatureDocuments:
    postings = Postings.of(csr_from_dense(block[part]), mask[part])
    return FeatureDocuments.of(postings, document=document[part], size=sizes(document)[part])


def gini(counts: Ints) -> float:
    """Mean absolute difference of all pairs over twice the mean: the definition, at full cost."""
    return float(np.abs(counts[:, None] - counts).mean() / (2 * counts.mean()))


def test_documents__equal_a_count_by_hand_wherever_blocks_are_cut() -> None:
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(40), rng.integers(1, 30, 40))
    n = len(document)
    block = (rng.random((n, 5)) < [0.9, 0.3, 0.05, 0.01, 0]).astype(np.float32)
    mask = rng.random(n) < 0.7
    mask[document == 7] = False  # a document without a row under the mask is none
    cuts = [0, *np.sort(rng.choice(n, 9)).tolist(), n]
    parts = [slice(*span) for span in pairwise(cuts)]
    found = merge_in_order(state(block, mask, document, part) for part in parts).finish()

    kept = np.unique(document[mask])
    assert len(kept) < 40
    for feature in range(5):
        fires = mask & (block[:, feature] > 0)
        counts = np.array([(fires & (document == one)).sum() for one in kept])
        assert found["n_documents"][feature] == len(kept)
        assert found["n_documents_fires"][feature] == (counts > 0).sum()
        if counts.any():
            assert found["gini_documents"][feature] == pytest.approx(gini(counts), abs=1e-12)
        else:
            assert np.isnan(found["gini_documents"][feature])


def test_gini__is_0_where_documents_are_alike_and_near_1_where_one_holds_all() -> None:
    document = np.repeat(np.arange(100), 10)
    block = np.zeros((1000, 2), np.float32)
    block[::10, 0] = 1  # one row in each
    block[:10, 1] = 1  # all of one
    found = state(block, np.ones(1000, np.bool_), document, slice(None)).finish()
    assert found["gini_documents"] == pytest.approx([0, 0.99])


def test_state__keeps_only_the_documents_of_its_edges() -> None:
    document = np.repeat(np.arange(50), 4)
    block = np.ones((200, 3), np.float32)
    mask = np.ones(200, np.bool_)
    inside = state(block, mask, document, slice(2, 198))
    assert inside.open_document.tolist() == [0, 49]
    assert inside.n_documents == 48
    ends = [state(block, mask, document, part) for part in (slice(0, 2), slice(198, 200))]
    whole = merge_in_order([ends[1], inside, ends[0]])  # in any order
    assert len(whole.open_document) == len(whole.open_feature) == 0
    assert whole.n_documents == 50


def test_closed__counts_what_is_open_so_that_another_corpus_can_be_merged() -> None:
    rng = np.random.default_rng(2)
    document = np.repeat(np.arange(6), 5)
    block = (rng.random((60, 4)) < [0.9, 0.3, 0.1, 0]).astype(np.float32)
    mask = rng.random(60) < 0.8
    # The last document of the first corpus lacks rows, and has a number that the second has, too.
    first = state(block[:30], mask[:30], document, slice(0, 28))
    second = state(block[30:], mask[30:], document, slice(0, 30))
    found = first.closed().merge(second.closed()).finish()
    twice = np.concatenate((document[:28], document + 6))
    rows, kept = np.delete(block, [28, 29], axis=0), np.delete(mask, [28, 29])
    right = state(rows, kept, twice, slice(None)).finish()
    for name, values in right.items():
        np.testing.assert_array_equal(found[name], values)
    assert first.finish()["n_documents"].tolist() == first.closed().finish()["n_documents"].tolist()
