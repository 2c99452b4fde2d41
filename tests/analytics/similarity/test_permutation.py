"""What a permutation of documents breaks and what it keeps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actlake.analytics.similarity.permutation import GROUP, least_p, permuted_rows
from actlake.storage.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)


@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=40), seed=SEEDS)
def test_permuted_rows__every_document_meets_another_from_its_beginning(
    lengths: list[int], seed: int
) -> None:
    document = np.repeat(np.arange(len(lengths)) * 3 + 1, lengths)
    rows_a, rows_b = permuted_rows(document, seed=seed, permutation=0)
    first = np.searchsorted(document, document)
    np.testing.assert_array_equal(rows_a - first[rows_a], rows_b - first[rows_b])

    pairs = {(int(i), int(j)) for i, j in zip(document[rows_a], document[rows_b], strict=True)}
    everyone = set(document.tolist())
    assert {i for i, _ in pairs} == everyone
    assert {j for _, j in pairs} == everyone
    assert len(pairs) == len(lengths)
    assert all(i != j for i, j in pairs)
    length = dict(zip(np.unique(document).tolist(), lengths, strict=True))
    assert len(rows_a) == sum(min(length[i], length[j]) for i, j in pairs)


def test_permuted_rows__documents_of_like_length_meet() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 201))
    document = np.repeat(np.arange(200), lengths)
    rows_a, rows_b = permuted_rows(document, seed=0, permutation=0)
    gap = lengths[document[rows_a]] - lengths[document[rows_b]]
    assert np.abs(gap).max() < 2 * GROUP
    assert len(rows_a) > 0.95 * len(document)


def test_permuted_rows__like_documents_meet_anyone() -> None:
    document = np.repeat(np.arange(40), 5)
    met = np.zeros((40, 40), int)
    for permutation in range(400):
        rows = permuted_rows(document, seed=1, permutation=permutation)
        met[document[rows[0][::5]], document[rows[1][::5]]] += 1
    assert np.diag(met).max() == 0
    # Each of 39 others about 400/39 times; P(Poisson(10.3) is 0) = 3e-5, so 0.06 in 1,560 cells.
    assert (met[~np.eye(40, dtype=bool)] > 0).mean() > 0.999


def test_permuted_rows__depend_on_seed_and_number_alone() -> None:
    document = np.repeat(np.arange(30), 4)
    first, again, other, seeded = (
        permuted_rows(document, seed=seed, permutation=number)[1]
        for seed, number in ((5, 2), (5, 2), (5, 3), (6, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first != seeded).any()


@pytest.mark.parametrize("documents", [2, 3, 4, 5])
def test_least_p__is_that_of_all_pairings_there_are(documents: int) -> None:
    document = np.repeat(np.arange(documents), 3)
    seen = {
        tuple(permuted_rows(document, seed=0, permutation=number)[1].tolist())
        for number in range(300)
    }
    # A pairing that gives every document another one in a circle; the truth is one more.
    assert least_p(documents) == pytest.approx(1 / (1 + len(seen)))


def test_least_p__falls_with_documents_and_needs_two() -> None:
    found = [least_p(documents) for documents in (2, 7, 8, 16, 40, 10_000)]
    assert found == sorted(found, reverse=True)
    assert found[0] == 0.5
    assert found[-1] < 1e-300
    assert np.isnan(least_p(1))


@pytest.mark.parametrize("document", [[], [4, 4, 4]])
def test_permuted_rows__refuses_fewer_than_two_documents(document: list[int]) -> None:
    with pytest.raises(InputError, match=r"at least 2 documents in common"):
        permuted_rows(np.array(document, np.int64), seed=0, permutation=0)
