from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.analytics.dictionaries import neighbours as module
from actlake.analytics.dictionaries.dictionary import Dictionary
from actlake.analytics.dictionaries.weight_facts import weight_facts
from actlake.analytics.similarity.random_maximum import expected_maximum


def dictionary(
    decoder: NDArray[Any], encoder: NDArray[Any] | None = None, **more: Any
) -> Dictionary:
    n, width = decoder.shape
    arrays = {
        "W_enc": (decoder if encoder is None else encoder).T.astype(np.float32),
        "b_enc": np.arange(n, dtype=np.float32),
        "W_dec": decoder.astype(np.float32),
        "b_dec": np.zeros(width, np.float32),
    }
    config = {"n_features": n, "width": width, "k": 1}
    return Dictionary("topk", config, arrays | more)


def test_weight_facts__of_tied_orthonormal_directions() -> None:
    """The truth of analytics.D7."""
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    found = weight_facts(dictionary(signs / 2))
    assert found["encoder_decoder_cosine"] == pytest.approx([1] * 4)
    assert found["nearest_decoder_cosine"] == pytest.approx([0] * 4, abs=1e-7)
    assert found["participation_ratio"] == pytest.approx([4] * 4)
    assert found["decoder_norm"] == pytest.approx([1] * 4)
    assert found["encoder_bias"].tolist() == [0, 1, 2, 3]
    assert np.isnan(found["threshold"]).all()
    assert np.isnan(found["decoder_bias_cosine"]).all()  # the bias is 0
    axes = weight_facts(dictionary(3 * np.eye(4)))
    assert axes["participation_ratio"] == pytest.approx([1] * 4)
    assert axes["decoder_norm"] == pytest.approx([3] * 4)


def test_weight_facts__equal_plain_numpy_in_any_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    decoder, encoder = rng.standard_normal((2, 37, 16))
    decoder[:, 5] *= 10  # an outlier dimension
    decoder[3] = 0
    bias = rng.standard_normal(16).astype(np.float32)
    given = dictionary(decoder, encoder, b_dec=bias, threshold=np.full(1, 0.5, np.float32))
    whole = weight_facts(given)
    monkeypatch.setattr(module, "TILE_BYTES", 37 * 4 * 5)
    for name, values in weight_facts(given).items():
        # Products of other sizes may differ in their last bit, which p has many times over.
        rtol = 1e-4 if name == "nearest_decoder_p" else 1e-6
        np.testing.assert_allclose(values, whole[name], rtol=rtol, err_msg=name)
    unit = decoder / np.where(np.arange(37) == 3, np.nan, np.linalg.norm(decoder, axis=1))[:, None]
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, np.nan)
    assert whole["nearest_decoder"][3] == -1
    for feature in set(range(37)) - {3}:
        assert whole["nearest_decoder"][feature] == np.nanargmax(cosine[feature])
        assert whole["nearest_decoder_cosine"][feature] == pytest.approx(
            np.nanmax(cosine[feature]), abs=1e-6
        )
        right = encoder[feature] @ unit[feature] / np.linalg.norm(encoder[feature])
        assert whole["encoder_decoder_cosine"][feature] == pytest.approx(right, abs=1e-6)
        right = bias @ unit[feature] / np.linalg.norm(bias)
        assert whole["decoder_bias_cosine"][feature] == pytest.approx(right, abs=1e-6)
        assert whole["outlier_share"][feature] == pytest.approx(unit[feature, 5] ** 2, abs=1e-6)
    assert np.isnan(whole["encoder_decoder_cosine"][3])
    assert whole["threshold"].tolist() == [0.5] * 37


def test_nearest_decoder_p__is_uniform_for_random_directions_and_small_for_a_copy() -> None:
    rng = np.random.default_rng(1)
    decoder = rng.standard_normal((1000, 64))
    found = weight_facts(dictionary(decoder))
    assert found["nearest_decoder_cosine"].mean() == pytest.approx(
        expected_maximum(999, 64), abs=0.005
    )
    assert 0.03 < (found["nearest_decoder_p"] < 0.05).mean() < 0.07
    decoder[1] = decoder[0] + 0.1 * rng.standard_normal(64)
    copied = weight_facts(dictionary(decoder))
    assert copied["nearest_decoder"][:2].tolist() == [1, 0]
    assert copied["nearest_decoder_p"][:2].max() < 1e-20


def test_weight_facts__of_the_identity_are_those_of_axes() -> None:
    config = {"n_features": 3, "width": 3, "k": 1}
    found = weight_facts(Dictionary("identity", config, {}))
    assert found["decoder_norm"].tolist() == found["participation_ratio"].tolist() == [1] * 3
    assert found["nearest_decoder"].tolist() == [-1] * 3
    one = weight_facts(dictionary(np.ones((1, 2))))
    assert one["nearest_decoder"].tolist() == [-1]
    assert np.isnan(one["nearest_decoder_cosine"]).all()
