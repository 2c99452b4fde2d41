"""Similarity of tensors with a null of documents that trade places."""

import numpy as np
import pytest

from actlake.analytics.similarity import layers
from actlake.analytics.similarity.cca import svcca
from actlake.analytics.similarity.cka import debiased_cka
from actlake.analytics.similarity.cross_gram import CrossGram
from actlake.analytics.similarity.layers import METHODS, Method, compare_rows
from actlake.storage.errors import InputError

DOCUMENT = np.repeat(np.arange(30), np.random.default_rng(9).integers(5, 40, 30))


def by_document(rng: np.random.Generator, width: int) -> np.ndarray:
    """Rows with a part that their document decides, and a larger one that their place does."""
    documents = rng.standard_normal((30, width))[DOCUMENT]
    place = np.arange(len(DOCUMENT)) - np.searchsorted(DOCUMENT, DOCUMENT)
    first = 8 * (place == 0)[:, None] * np.ones(width)
    rows: np.ndarray = documents + first + rng.standard_normal((len(DOCUMENT), width))
    return rows


@pytest.mark.parametrize("method", METHODS)
def test_compare_rows__finds_a_shared_signal(method: Method) -> None:
    rng = np.random.default_rng(0)
    x = by_document(rng, 6)
    y = x @ rng.standard_normal((6, 8)) + 0.5 * rng.standard_normal((len(x), 8))
    found = compare_rows(x, y, DOCUMENT, permutations=39)[method]
    state = CrossGram.of(x, y)
    assert found.value == {"cka": debiased_cka(state), "svcca": svcca(state).mean()}[method]
    assert found.p == 1 / 40
    assert found.null_mean < found.value - 0.2
    assert (found.n, found.n_documents) == (len(x), 30)
    assert 0.8 < found.null_share < 1
    assert found == compare_rows(x, y, DOCUMENT, permutations=39)[method]


def test_compare_rows__what_documents_and_places_alone_do_is_null() -> None:
    found: dict[Method, list[float]] = {method: [] for method in METHODS}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = by_document(rng, 3), by_document(rng, 3)
        for method, one in compare_rows(x, y, DOCUMENT, permutations=19, seed=seed).items():
            found[method].append(one.p)
    # p <= 0.1 has probability 0.1: more than 15 of 60 by chance in one of 5,000 runs. Permuted rows
    # would break what places share and give the smallest p nearly always; comparing with uncut
    # rows, a mean p of 0.72.
    for p in found.values():
        assert 1 <= np.sum(np.array(p) <= 0.1) <= 15
        assert np.mean(p) == pytest.approx(0.525, abs=5 * 0.29 / np.sqrt(60))


def test_compare_rows__of_a_constant_side_is_nan() -> None:
    x = np.random.default_rng(1).random((len(DOCUMENT), 2))
    found = compare_rows(x, np.zeros_like(x), DOCUMENT, permutations=2)["cka"]
    assert np.isnan([found.value, found.null_mean, found.p]).all()


@pytest.mark.parametrize(("documents", "least"), [(2, 1 / 2), (3, 1 / 3), (4, 1 / 7)])
def test_compare_rows__of_few_documents_claims_no_small_p(documents: int, least: float) -> None:
    document = np.repeat(np.arange(documents), 50)
    x = np.random.default_rng(3).standard_normal((len(document), 4))
    found = compare_rows(x, x, document, permutations=19)
    assert [one.p for one in found.values()] == pytest.approx([least] * 2)


def test_compare_rows__a_permutation_without_rows_is_no_evidence() -> None:
    # Documents of 1 and 100 rows share one row when they trade places: nothing is defined there.
    document = np.repeat([0, 1], [1, 100])
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((101, 3)), rng.standard_normal((101, 3))
    found = compare_rows(x, y, document, permutations=19)["cka"]
    assert np.isfinite(found.value)
    assert np.isnan([found.null_mean, found.cut_mean, found.p]).all()


def test_compare_rows__undefined_permutations_speak_for_the_null(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan = float("nan")
    # The value; then, for each of four permutations, by chance and of the same rows matched.
    planted = iter([0.9, 0.1, 0.8, nan, 0.8, 0.2, nan, 0.3, 0.7])

    def similarities(*_: object) -> dict[Method, float]:
        value = next(planted)
        return dict.fromkeys(METHODS, value)

    monkeypatch.setattr(layers, "_similarities", similarities)
    x = np.zeros((len(DOCUMENT), 1))
    for one in compare_rows(x, x, DOCUMENT, permutations=4).values():
        assert one.p == 3 / 5  # two of four are below, the undefined ones are not
        assert [one.value, one.null_mean, one.cut_mean] == pytest.approx([0.9, 0.2, 0.75])


def test_compare_rows__gives_what_the_null_compares_with() -> None:
    rng = np.random.default_rng(5)
    x = by_document(rng, 4)
    found = compare_rows(x, x, DOCUMENT, permutations=5)["cka"]
    assert found.cut_mean == pytest.approx(1)
    y = x + rng.standard_normal(x.shape)
    found = compare_rows(x, y, DOCUMENT, permutations=5)["cka"]
    assert found.cut_mean == pytest.approx(found.value, abs=0.1)


def test_compare_rows__refuses_what_does_not_match() -> None:
    x = np.ones((4, 2))
    with pytest.raises(InputError, match="4 rows, 3 rows and 4 documents"):
        compare_rows(x, x[:3], np.arange(4))
    with pytest.raises(InputError, match="ordered by document"):
        compare_rows(x, x, np.array([1, 0, 0, 1]))
    with pytest.raises(InputError, match="permutations is 0"):
        compare_rows(x, x, np.arange(4), permutations=0)
    with pytest.raises(InputError, match="at least 2 documents"):
        compare_rows(x, x, np.zeros(4, int))
