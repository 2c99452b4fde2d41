import numpy as np
import pytest

from actlake.analytics.features.postings import Postings
from actlake.analytics.features.sources import FeatureSources
from actlake.storage.csr import csr_from_dense


def test_sources__are_even_at_one_rate_and_not_at_one_count() -> None:
    source = np.repeat([0, 1, 2, -1], [100, 300, 600, 50])
    block = np.zeros((len(source), 5), np.float32)
    block[::10, 0] = 1  # one row in ten everywhere
    block[:30, 1] = 1  # in the smallest alone
    block[np.flatnonzero(source == 2)[:30], 2] = 1  # in the largest alone
    block[1_000:, 3] = 1  # where there is no source
    postings = Postings.of(csr_from_dense(block), np.ones(len(source), np.bool_))
    found = FeatureSources.of(postings, source=source).finish()
    assert found["n_sources"].tolist() == [3] * 5
    assert found["n_sources_fires"].tolist() == [3, 1, 1, 0, 0]
    assert found["gini_sources"][:3] == pytest.approx([0, 0.9, 0.4], abs=1e-12)
    assert np.isnan(found["gini_sources"][3:]).all()


def test_gini__is_that_of_rates_each_as_often_as_its_source_has_rows() -> None:
    rng = np.random.default_rng(0)
    source = np.sort(rng.integers(0, 12, 3_000))
    rate = rng.random(12) ** 3
    block = (rng.random((3_000, 4)) < rate[source, None]).astype(np.float32)
    mask = rng.random(3_000) < 0.7
    state = FeatureSources.of(Postings.of(csr_from_dense(block), mask), source=source)
    for feature, found in enumerate(state.finish()["gini_sources"]):
        held = np.bincount(source[mask], block[mask, feature]) / np.bincount(source[mask])
        each = held[source[mask]]
        right = np.abs(each[:, None] - each).mean() / 2 / each.mean()
        assert found == pytest.approx(right, abs=1e-12)


def test_renumbered__is_the_state_of_other_numbers() -> None:
    rng = np.random.default_rng(1)
    source, number = rng.integers(-1, 6, 500), np.array([9, 4, 0, 7, 2, 5])
    block = (rng.random((500, 3)) < 0.2).astype(np.float32)
    block[source == 3] = 0  # a source in which nothing fires
    postings = Postings.of(csr_from_dense(block), np.ones(500, np.bool_))
    found = FeatureSources.of(postings, source=source).renumbered(number)
    right = FeatureSources.of(postings, source=np.where(source < 0, -1, number[source]))
    for name, values in right.arrays().items():
        np.testing.assert_array_equal(found.arrays()[name], values)
