from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.features import examples
from actlake.analytics.features.bottom_rows import BottomRows
from actlake.analytics.features.examples import (
    hard_negatives,
    quantile_examples,
    random_examples,
    silent_examples,
)
from actlake.analytics.features.histogram import FeatureHistogram
from actlake.analytics.features.postings import Postings
from actlake.analytics.splitmix import splitmix64
from actlake.storage.csr import csr_from_dense

ROWS, K = 2000, 4


def of(columns: dict[str, NDArray[Any]], feature: int) -> list[int]:
    mine = columns["feature"] == feature
    assert columns["rank"][mine].tolist() == list(range(1, mine.sum() + 1))
    return [int(row) for row in columns["row"][mine]]


def test_quantile_examples__are_two_of_each_tenth_by_value_strongest_first() -> None:
    rng = np.random.default_rng(0)
    block = rng.lognormal(0, 1, (ROWS, 3)) * (rng.random((ROWS, 3)) < [0.9, 0.5, 0])
    block[:, 1] = np.where(block[:, 1] > 0, 3.0, 0)  # one value: one tenth
    postings = Postings.of(csr_from_dense(block), np.ones(ROWS, np.bool_))
    sample = BottomRows.by_value(postings, row_start=0, k=2, seed=1)
    found = quantile_examples(sample, FeatureHistogram.of_postings(postings), 2)
    rows = of(found, 0)
    values = block[rows, 0]
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(found["value"][found["feature"] == 0], values, rtol=1e-6)
    active = np.sort(block[block[:, 0] > 0, 0])
    tenths = np.searchsorted(active, values) * 10 // len(active)
    # Strata are 17 % wide, so a row may lie a little outside of its tenth.
    assert 18 <= len(rows) <= 20
    assert len(set(tenths)) >= 9
    assert len(of(found, 1)) == 2
    assert of(found, 2) == []
    none = BottomRows.empty(2, 1)
    assert len(quantile_examples(none, FeatureHistogram.empty(3), 2)["row"]) == 0


@pytest.fixture
def planted() -> NDArray[np.float32]:
    """Feature 0 fires on odd rows, 1 on all, 2 never, 3 on three quarters of token 5."""
    block = np.zeros((ROWS, 4), np.float32)
    block[1::2, 0] = 1
    block[:, 1] = 2
    token = np.arange(ROWS) % 10
    block[(token == 5) & (np.arange(ROWS) % 40 != 5), 3] = 3
    return block


def test_silent_examples__are_the_first_silent_rows_of_a_sample(
    planted: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "PIECE_FEATURES", 3)
    row = np.arange(ROWS)
    sample = BottomRows.of(row * 0, row, row * 0, k=64, seed=2)
    found = silent_examples(sample, csr_from_dense(planted[sample.row]), K)
    hashed = row[np.argsort(splitmix64(row, 2))]
    assert of(found, 0) == [one for one in hashed if one % 2 == 0][:K]
    assert of(found, 1) == []
    assert of(found, 2) == hashed[:K].tolist()
    assert (found["value"] == 0).all()


def test_hard_negatives__have_the_token_and_are_silent(planted: NDArray[np.float32]) -> None:
    row = np.arange(ROWS)
    token = row % 10
    sample = BottomRows.of(token, row, row * 0, k=40, seed=2)
    top = {"feature": np.array([0, 1, 3, 3]), "token_id": np.array([3, 5, 5, 3])}
    rows = np.unique(sample.row)
    codes = csr_from_dense(planted[rows])
    found = hard_negatives(top, sample, codes, rows, K)
    assert of(found, 0) == []  # fires on every row of its token
    assert of(found, 1) == []
    negatives = np.array(of(found, 3))
    assert len(negatives) == K
    assert (planted[negatives, 3] == 0).all()
    assert (token[negatives] == 5).all()
    # Twelve are wanted, token 5 has fewer silent rows in the sample; token 3 gives the rest.
    more = np.array(of(hard_negatives(top, sample, codes, rows, 12), 3))
    assert more[:K].tolist() == negatives.tolist()
    assert set(token[more]) == {5, 3}
    assert (np.diff(token[more]) <= 0).all()
    nobody = hard_negatives(top, sample, csr_from_dense(planted[rows] * 0), rows, K)
    assert len(of(nobody, 1)) == K


def test_random_examples__are_ranked_in_the_order_of_the_hash() -> None:
    sample = BottomRows.of(np.array([4, 4, 2]), np.array([7, 8, 9]), np.ones(3), k=2, seed=0)
    found = random_examples(sample)
    assert found["feature"].tolist() == [2, 4, 4]
    assert found["rank"].tolist() == [1, 1, 2]
