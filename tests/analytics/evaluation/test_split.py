import numpy as np
import pytest

from actlake.analytics.evaluation.split import SPLITS, split_of
from actlake.storage.errors import InputError


def test_split_of__depends_on_the_document_alone() -> None:
    documents = np.random.default_rng(0).integers(0, 500, 4000)
    whole = split_of(np.arange(500))
    np.testing.assert_array_equal(split_of(documents), whole[documents])
    np.testing.assert_array_equal(split_of(documents.astype(np.int32)), whole[documents])


def test_split_of__holds_the_shares() -> None:
    n, shares = 50_000, (0.7, 0.2, 0.1)
    counts = np.bincount(split_of(np.arange(n), shares=shares), minlength=len(SPLITS))
    # Five standard errors of a binomial.
    for count, share in zip(counts, shares, strict=True):
        assert abs(count - n * share) < 5 * np.sqrt(n * share * (1 - share))


def test_split_of__another_seed_is_independent() -> None:
    n = 50_000
    a, b = split_of(np.arange(n), seed=0), split_of(np.arange(n), seed=1)
    both = np.mean((a == 0) & (b == 0))
    assert abs(both - 0.64) < 5 * np.sqrt(0.64 * 0.36 / n)


def test_split_of__may_leave_a_split_empty() -> None:
    assert set(split_of(np.arange(2000), shares=(0.5, 0.0, 0.5)).tolist()) == {0, 2}
    assert set(split_of(np.arange(2000), shares=(1.0, 0.0, 0.0)).tolist()) == {0}


@pytest.mark.parametrize("shares", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_split_of__refuses_shares_that_are_none(shares: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="do not sum to 1"):
        split_of(np.arange(3), shares=shares)
