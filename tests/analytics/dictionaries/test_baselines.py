"""PCA and random directions: what a trained dictionary is compared with at equal k."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from actlake.analytics.activations.gram import Gram
from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.pca import pca, pca_fvu, principal_axes
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.analytics.evaluation.reconstruction import ReconstructionSums
from actlake.storage.errors import InputError


def rows(n: int = 4000, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).standard_normal((12, 12)) * 0.8 ** np.arange(12)[:, None]
    return rng.standard_normal((n, 12)) @ mixing + 5


def fvu(dictionary: Dictionary, x: NDArray[np.float64]) -> float:
    codes = dictionary.encode(x)
    return ReconstructionSums.of(x, dictionary.decode(codes), codes).finish()["fvu"]


def test_principal_axes__equal_scikit_learn_up_to_sign() -> None:
    x = rows()
    axes, variances = principal_axes(Gram.of(x))
    other = PCA().fit(x)
    np.testing.assert_allclose(variances, other.explained_variance_ * (len(x) - 1) / len(x))
    np.testing.assert_allclose(np.abs((axes * other.components_).sum(axis=1)), 1, rtol=1e-9)
    assert (np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], 1) > 0).all()


def test_pca__with_every_component_rebuilds_rows_and_has_two_features_an_atom() -> None:
    x = rows()
    dictionary = pca(Gram.of(x), components=12, k=12)
    codes = dictionary.encode(x)
    assert dictionary.n_features == 24
    # A coefficient is positive or negative, so an atom never fires both ways.
    atoms = codes.dense().reshape(len(x), 12, 2)
    assert not (atoms > 0).all(axis=2).any()
    np.testing.assert_allclose(dictionary.decode(codes), x, atol=1e-4)
    assert dictionary.config["variance_share"] == pytest.approx(1)


def test_pca__keeps_the_largest_coefficients_by_size() -> None:
    x = rows()
    gram = Gram.of(x)
    kept = pca(gram, components=12, k=3).encode(x).dense().reshape(len(x), 12, 2)
    coefficients = (x - gram.mean) @ principal_axes(gram)[0].T
    smallest = np.sort(np.abs(coefficients), axis=1)[:, -3]
    expected = np.where(np.abs(coefficients) >= smallest[:, None], coefficients, 0)
    np.testing.assert_allclose(kept[:, :, 0] - kept[:, :, 1], expected, atol=1e-4)


def test_pca_fvu__equals_a_projection_on_seen_and_held_out_rows() -> None:
    seen, held_out = rows(seed=1), rows(seed=2) + 0.3  # another mean
    model = PCA(4).fit(seen)
    for measured in (seen, held_out):
        error = measured - model.inverse_transform(model.transform(measured))
        spread = np.square(measured - measured.mean(axis=0)).sum()
        found = pca_fvu(Gram.of(seen), 4, Gram.of(measured))
        assert found == pytest.approx(np.square(error).sum() / spread, rel=1e-9)
    assert pca_fvu(Gram.of(seen), 4) == pca_fvu(Gram.of(seen), 4, Gram.of(seen))
    assert pca_fvu(Gram.of(seen), 12) == pytest.approx(0, abs=1e-9)


def test_pca__chosen_coefficients_beat_the_first_ones() -> None:
    x = rows()
    gram = Gram.of(x)
    assert fvu(pca(gram, components=3, k=3), x) == pytest.approx(pca_fvu(gram, 3), rel=1e-4)
    assert fvu(pca(gram, components=12, k=3), x) < pca_fvu(gram, 3)


def test_pca__refuses_sizes_that_do_not_fit() -> None:
    gram = Gram.of(rows())
    for components, k in ((13, 3), (0, 1), (4, 5), (4, 0)):
        with pytest.raises(InputError):
            pca(gram, components, k)
    with pytest.raises(InputError, match="k is 13"):
        pca_fvu(gram, 13)
    with pytest.raises(InputError, match="at least 1 row"):
        pca(Gram.empty(3), 1, 1)


def test_random_dictionary__is_reproducible_and_scaled_to_the_sample() -> None:
    x = rows()
    dictionary = random_dictionary(x, 48, 4, seed=3)
    again, other = random_dictionary(x, 48, 4, seed=3), random_dictionary(x, 48, 4, seed=4)
    np.testing.assert_array_equal(dictionary.arrays["W_dec"], again.arrays["W_dec"])
    assert (dictionary.arrays["W_dec"] != other.arrays["W_dec"]).any()
    np.testing.assert_allclose(np.linalg.norm(dictionary.arrays["W_dec"], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(dictionary.arrays["b_dec"], x.mean(axis=0), rtol=1e-5)
    scores = []
    for factor in (0.8, 0.95, 1.0, 1.05, 1.2):
        arrays = {**dictionary.arrays, "W_enc": dictionary.arrays["W_enc"] * np.float32(factor)}
        scores.append(fvu(Dictionary("random", dictionary.config, arrays), x))
    assert np.argmin(scores) == 2  # no other scale of the codes rebuilds the sample better
    assert scores[2] < 1  # better than the mean


def test_random_dictionary__refuses_bad_input() -> None:
    with pytest.raises(InputError, match="lower k"):
        random_dictionary(rows(), 4, 5)
    with pytest.raises(InputError, match="at least 1 row"):
        random_dictionary(rows()[:0], 4, 2)
    with pytest.raises(InputError, match="not finite"):
        random_dictionary(np.full((3, 3), np.nan), 4, 2)
    constant = random_dictionary(np.ones((9, 3)), 4, 2)
    assert constant.encode(np.ones((9, 3))).nnz == 0
