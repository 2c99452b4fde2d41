from collections import Counter

import numpy as np
import pytest

from actlake.analytics.features.tokens import FeatureTokens
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError


def test_tokens__equal_a_count_by_hand() -> None:
    rng = np.random.default_rng(0)
    n = 600
    block = (rng.exponential(1, (n, 4)) * (rng.random((n, 4)) < 0.4)).astype(np.float32)
    token, mask = rng.integers(0, 9, n), rng.random(n) < 0.7
    found = merge_in_order(
        FeatureTokens.of(csr_from_dense(block[part]), mask[part], token_id=token[part])
        for part in np.array_split(np.arange(n), 5)
    ).top("count", 3)

    seen = Counter(token[mask].tolist())
    row = 0
    for feature in range(4):
        fired = mask & (block[:, feature] > 0)
        count = Counter(token[fired].tolist())
        best = sorted(count, key=lambda t: (-count[t], t))[:3]
        for rank, t in enumerate(best, start=1):
            own = fired & (token == t)
            lift = (count[t] / fired.sum()) / (seen[t] / mask.sum())
            assert found["feature"][row] == feature
            assert (found["rank"][row], found["token_id"][row]) == (rank, t)
            assert found["count"][row] == count[t]
            np.testing.assert_allclose(found["mean"][row], block[own, feature].mean(), rtol=1e-6)
            np.testing.assert_allclose(found["lift"][row], lift, rtol=1e-12)
            row += 1
    assert row == len(found["rank"])


def test_top__by_lift_finds_the_planted_token_and_by_count_the_frequent_one() -> None:
    # Token 0 is half of the corpus; the feature fires on all of the rare token 7, on a tenth of
    # token 0, and once on token 8, which is seen once: the largest lift, and a coincidence.
    token = np.array([0] * 500 + [7] * 20 + [8] + [1] * 479)
    block = np.zeros((1000, 1))
    block[:50] = block[500:521] = 1
    state = FeatureTokens.of(csr_from_dense(block), np.ones(1000, np.bool_), token_id=token)
    assert state.top("count", 1)["token_id"].tolist() == [0]
    by_lift = state.top("lift", 5, min_count=5)
    assert by_lift["token_id"].tolist() == [7, 0]
    np.testing.assert_allclose(by_lift["lift"], [(20 / 71) / 0.02, (50 / 71) / 0.5])
    assert state.top("lift", 1, min_count=1)["token_id"].tolist() == [7]  # ties: larger count


def test_top__by_mean_finds_the_planted_token_and_no_single_strong_row() -> None:
    # The feature fires weakly on all of token 0, strongly on the five rows of token 7 where it
    # fires at all, and more strongly still on the four of token 8.
    token = np.array([0] * 500 + [7] * 20 + [8] * 4 + [1] * 476)
    block = np.zeros((1000, 1))
    block[:500], block[500:505], block[520:524] = 0.5, 4, 100
    state = FeatureTokens.of(csr_from_dense(block), np.ones(1000, np.bool_), token_id=token)
    found = state.top("mean", 5)
    assert found["token_id"].tolist() == [7, 0]
    assert found["mean"].tolist() == [4, 0.5]
    assert found["count"].tolist() == [5, 500]
    assert state.top("mean", 5, min_count=4)["token_id"].tolist() == [8, 7, 0]


def test_finish__holds_each_ranking() -> None:
    token = np.repeat(np.arange(4), 10)
    state = FeatureTokens.of(
        csr_from_dense(np.ones((40, 2))), np.ones(40, np.bool_), token_id=token
    )
    columns = state.finish(3)
    assert columns["kind"].tolist() == ["count"] * 6 + ["lift"] * 6 + ["mean"] * 6
    assert {len(column) for column in columns.values()} == {18}
    np.testing.assert_allclose(columns["lift"], 1)  # a feature that always fires says nothing


def test_tokens__of_a_dead_feature_are_none() -> None:
    codes = csr_from_dense(np.zeros((3, 2)))
    state = FeatureTokens.of(codes, np.ones(3, np.bool_), token_id=np.zeros(3, np.int64))
    assert len(state.finish(5)["kind"]) == 0


def test_tokens__refuses_rows_without_a_token() -> None:
    with pytest.raises(InputError, match="without a token"):
        FeatureTokens.of(
            csr_from_dense(np.ones((1, 1))), np.ones(1, np.bool_), token_id=np.array([-1])
        )
