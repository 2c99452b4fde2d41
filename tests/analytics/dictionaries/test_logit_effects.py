from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

from actlake.analytics.dictionaries import logit_effects as module
from actlake.analytics.dictionaries.logit_effects import Unembedding, logit_effects
from actlake.storage.errors import InputError

V, D, F = 500, 24, 11


@pytest.fixture
def unembedding() -> Unembedding:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((V, D)).astype(np.float32)
    return Unembedding(weight, rng.uniform(0.5, 2, D).astype(np.float32), centres=True)


def collected(
    decoder: NDArray[Any], unembedding: Unembedding, k: int
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    blocks = [*logit_effects(decoder.astype(np.float32), unembedding, k)]
    return tuple(  # type: ignore[return-value] # two
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in ([one.features for one in blocks], [one.tokens for one in blocks])
    )


def test_logit_effects__equal_numpy_and_scipy_in_blocks_of_any_size(
    unembedding: Unembedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    decoder = rng.standard_normal((F, D)) + 0.3
    centred = decoder - decoder.mean(axis=1, keepdims=True)
    effects = (centred * unembedding.scale) @ unembedding.weight.T
    for block in (module.BLOCK_VALUES, 3 * V, 1):
        monkeypatch.setattr(module, "BLOCK_VALUES", block)
        shape, extreme = collected(decoder, unembedding, 4)
        assert shape["feature"].tolist() == list(range(F))
        for name, right in {
            "logit_mean": effects.mean(axis=1),
            "logit_std": effects.std(axis=1),
            "logit_skew": scipy.stats.skew(effects, axis=1),
            "logit_kurtosis": scipy.stats.kurtosis(effects, axis=1),
            "logit_max": effects.max(axis=1) - effects.mean(axis=1),
            "logit_entropy": scipy.stats.entropy(
                scipy.special.softmax(effects, axis=1), base=2, axis=1
            ),
        }.items():
            np.testing.assert_allclose(shape[name], right, atol=1e-5, err_msg=name)
        order = np.argsort(effects, axis=1)
        for kind, tokens in (("top", order[:, ::-1][:, :4]), ("bottom", order[:, :4])):
            mine = extreme["kind"] == kind
            assert extreme["token_id"][mine].tolist() == tokens.ravel().tolist()
            assert extreme["rank"][mine].tolist() == [1, 2, 3, 4] * F
            right = np.take_along_axis(effects, tokens, axis=1) - effects.mean(axis=1)[:, None]
            np.testing.assert_allclose(extreme["effect"][mine], right.ravel(), atol=1e-5)


class Largest(TorchDispatchMode):  # type: ignore[no-untyped-call] # theirs
    """Sees the size of every tensor that torch makes."""

    values = 0

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple) else (made,):
            if isinstance(one, torch.Tensor):
                self.values = max(self.values, one.numel())
        return made


def test_logit_effects__hold_a_block_and_never_features_by_vocabulary(
    unembedding: Unembedding, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = np.random.default_rng(3).standard_normal((200, D))
    for features, seen in ((2, V * D), (50, 50 * V), (200, 200 * V)):
        monkeypatch.setattr(module, "BLOCK_VALUES", features * V)
        with Largest() as largest:  # type: ignore[no-untyped-call] # theirs
            collected(decoder, unembedding, 4)
        assert largest.values == seen  # the unembedding itself, or a block


def test_logit_effects__of_a_direction_made_for_a_token(unembedding: Unembedding) -> None:
    """The truth of analytics.D5: a planted token comes first, random directions have no shape."""
    rng = np.random.default_rng(2)
    plain = Unembedding(unembedding.weight[:20], np.ones(D, np.float32), centres=False)
    planted = np.linalg.pinv(plain.weight)[:, 7]
    shape, extreme = collected(np.stack([planted, 0 * planted]), plain, 50)
    first = (extreme["feature"] == 0) & (extreme["kind"] == "top")
    assert extreme["token_id"][first][0] == 7
    assert extreme["effect"][first][0] == pytest.approx(1 - 1 / 20, abs=1e-5)
    assert len(extreme["rank"]) == 2 * 2 * 20  # the vocabulary is smaller than k
    assert shape["logit_skew"][0] > 4
    assert np.isnan(shape["logit_skew"][1])
    assert shape["logit_entropy"][1] == pytest.approx(np.log2(20))
    random, _ = collected(rng.standard_normal((200, D)), unembedding, 1)
    assert abs(random["logit_skew"].mean()) < 0.05
    assert abs(random["logit_kurtosis"].mean()) < 0.1


def test_logit_effects__refuse_another_width(unembedding: Unembedding) -> None:
    with pytest.raises(InputError, match="width 23 are no rows of a residual stream of width 24"):
        next(logit_effects(np.ones((2, D - 1), np.float32), unembedding, 1))
