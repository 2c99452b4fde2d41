import numpy as np
import pytest

from actlake.analytics.features.postings import Postings
from actlake.analytics.features.token_shapes import SHAPES, token_shapes
from actlake.analytics.features.tokens import FeatureTokens
from actlake.storage.csr import csr_from_dense


@pytest.mark.parametrize(
    ("text", "has"),
    [
        (" the", {"space"}),
        ("The", {"capital"}),
        (" Über", {"space", "capital"}),
        ("iPhone", set()),
        ("B2", {"capital", "digit"}),
        (" 1942", {"space", "digit"}),
        ("٣", {"digit"}),
        ("…", {"punctuation"}),
        (" ,", {"space", "punctuation"}),
        ("\n", {"space"}),
        ("", set()),
        ("日本", set()),
    ],
)
def test_token_shapes__by_unicode(text: str, has: set[str]) -> None:
    [found] = token_shapes([text])
    assert {shape for shape, one in zip(SHAPES, found, strict=True) if one} == has


def test_shares_and_profile__of_planted_tokens() -> None:
    texts = [" a", "B", "7", "."]
    token = np.tile(np.arange(5), 200)  # token 4 is not in the vocabulary
    block = np.zeros((1000, 3), np.float32)
    block[token == 1, 0] = 1
    block[:, 1] = 2
    state = FeatureTokens.of_postings(
        Postings.of(csr_from_dense(block), np.ones(1000, np.bool_)), token_id=token
    )
    shares = state.shares(token_shapes(texts))
    assert shares[0].tolist() == [0, 1, 0, 0]
    assert shares[1].tolist() == [0.2] * 4
    assert np.isnan(shares[2]).all()
    found = state.profile()
    assert found["top_token_share"][:2].tolist() == [1, 0.2]
    assert found["n_tokens"][:2].tolist() == [1, 5]
    assert found["token_entropy"][0] == 0
    assert found["token_entropy"][1] == pytest.approx(np.log2(5), abs=0.003)
    assert found["token_bits"][0] == pytest.approx(np.log2(5))
    assert found["token_bits"][1] == 0
    assert all(np.isnan(values[2]) for values in found.values())
