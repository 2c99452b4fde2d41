"""The encoder in torch gives the codes of the one in numpy; where sums are exact, the same bits."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actlake.analytics.dictionaries import dictionary as dictionary_module
from actlake.analytics.dictionaries.dictionary import Dictionary, Scalar
from actlake.analytics.dictionaries.identity import identity
from actlake.analytics.dictionaries.random import random_dictionary
from actlake.analytics.dictionaries.torch_encoder import TorchEncoder
from actlake.storage.csr import Csr, fault_of
from actlake.storage.errors import InputError, PrecisionError

WIDTH, FEATURES = 4, 12


def whole(k: int, seed: int, threshold: float | None = None) -> Dictionary:
    """One of small whole numbers, so that many of its codes are equal, and all are exact."""
    random = np.random.default_rng(seed)
    config: dict[str, Scalar] = {"n_features": FEATURES, "width": WIDTH, "k": k}
    shapes = {
        "W_enc": (WIDTH, FEATURES),
        "b_enc": (FEATURES,),
        "W_dec": (FEATURES, WIDTH),
        "b_dec": (WIDTH,),
    }
    arrays: Mapping[str, NDArray[np.float32]] = {
        name: random.integers(-1, 2, shape).astype(np.float32) for name, shape in shapes.items()
    }
    if threshold is not None:
        arrays = {**arrays, "threshold": np.array([threshold], np.float32)}
    return Dictionary("whole", config, arrays)


def assert_same(found: Csr, expected: Csr) -> None:
    assert fault_of(found) is None
    for name in ("indptr", "indices", "values"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


@given(
    k=st.integers(1, FEATURES),
    seed=st.integers(0, 99),
    threshold=st.none() | st.sampled_from([-1.0, 0.0, 1.5, 99.0]),
    rows=st.integers(0, 9),
    dtype=st.sampled_from(["float16", "float32"]),
)
def test_encode__is_that_of_numpy_ties_and_all(
    k: int, seed: int, threshold: float | None, rows: int, dtype: str
) -> None:
    dictionary = whole(k, seed, threshold)
    given = np.random.default_rng(seed).integers(-2, 3, (rows, WIDTH)).astype(np.float32)

    found = TorchEncoder(dictionary).encode(given, dtype)

    assert_same(found, dictionary.encode(given, dtype))


def test_encode__in_blocks_and_of_units_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).integers(-3, 4, (50, WIDTH)).astype(np.float16)
    units = identity(WIDTH, 2)
    monkeypatch.setattr(dictionary_module, "BLOCK_VALUES", 3 * FEATURES)

    assert_same(TorchEncoder(units).encode(rows), units.encode(rows))
    dictionary = whole(3, 5)
    assert_same(TorchEncoder(dictionary).encode(rows), dictionary.encode(rows))


def test_encode__of_real_numbers_differs_in_low_bits_at_most() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 32)).astype(np.float32)
    dictionary = random_dictionary(rows, 256, 8, seed=0)

    found, expected = TorchEncoder(dictionary).encode(rows), dictionary.encode(rows)

    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_allclose(found.dense(), expected.dense(), rtol=1e-4, atol=1e-5)


def test_encode__refuses_as_numpy_does() -> None:
    encoder = TorchEncoder(whole(2, 0))
    with pytest.raises(InputError, match="has width 4"):
        encoder.encode(np.zeros((3, 5), np.float32))
    with pytest.raises(InputError, match="row 1 of the block holds a value that is not finite"):
        encoder.encode(np.array([[0.0] * WIDTH, [np.nan] * WIDTH]))
    with pytest.raises(PrecisionError, match="does not fit float16"):
        TorchEncoder(identity(WIDTH, 2)).encode(np.full((1, WIDTH), 1e6, np.float32), "float16")


@pytest.mark.gpu
@pytest.mark.parametrize("threshold", [None, 0.5])
def test_encode__on_cuda_is_that_of_numpy(threshold: float | None) -> None:
    dictionary = whole(3, 7, threshold)
    rows = np.random.default_rng(1).integers(-2, 3, (64, WIDTH)).astype(np.float32)

    assert_same(TorchEncoder(dictionary, "cuda").encode(rows), dictionary.encode(rows))
