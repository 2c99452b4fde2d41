"""Partials: what is read is what was written, in fewer bytes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actlake.storage import Lake
from actlake.storage.partials import open_slices, partial_bytes, read_partial, write_partial

ARRAYS = {
    "none": np.zeros(0, np.int64),
    "small": np.arange(200),
    "wide": np.array([0, 1 << 40]),
    "largest": np.array([0, (1 << 63) - 1]),
    "below zero": np.array([-1, 200]),
    "ends": np.array([-(1 << 63), (1 << 63) - 1]),
    "edge": np.array([-128, 127]),
    "beyond edge": np.array([-128, 128]),
    "halves": np.array([[0.5, -0.0], [np.inf, 65504.0]]),
    "singles": np.array([0.1, 3e38], np.float32).astype(np.float64),
    "doubles": np.array([0.1, 1e300]),
    "not a number": np.array([1.0, np.nan]),
    "tiny": np.array([5e-324, 1e-40]),
    "float32": np.array([1.0, 0.5], np.float32),
    "bytes": np.array([1, 255], np.uint8),
    "truths": np.array([True, False]),
}
BYTES = {
    **{"none": 0, "small": 200, "wide": 16, "largest": 16, "below zero": 4, "ends": 16, "edge": 2},
    **{"beyond edge": 4, "halves": 8, "singles": 8, "doubles": 16, "not a number": 16, "tiny": 16},
    **{"float32": 8, "bytes": 2, "truths": 2},
}


def same(found: NDArray[np.generic], right: NDArray[np.generic]) -> None:
    assert found.dtype == right.dtype
    assert found.shape == right.shape
    assert found.tobytes() == right.tobytes()  # signs of zeros and all


def test_arrays__come_back_to_the_last_bit(tmp_path: Path) -> None:
    store = Lake.create(tmp_path / "lake").store
    path, written = write_partial(store, ARRAYS)
    found = read_partial(store, path, written)
    assert found.keys() == ARRAYS.keys()
    slices = open_slices(store, path)
    for name, right in ARRAYS.items():
        same(found[name], right)
        for start in range(len(right)):
            same(slices(name, start, len(right)), right[start:])


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays__take_no_more_bytes_than_their_values_need(name: str) -> None:
    content = partial_bytes({name: ARRAYS[name]})
    assert len(content) - 8 - int.from_bytes(content[:8], "little") == BYTES[name]
