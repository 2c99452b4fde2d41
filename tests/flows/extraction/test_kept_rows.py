"""Rows of a site as they are kept: each in its place, rounded as storage rounds."""

import ml_dtypes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actlake.flows.extraction.kept_rows import KeptRows
from actlake.flows.extraction.windows import Window
from actlake.storage.precision import cast

WIDTH, TOKENS = 6, 8
HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])


def window(start: int, kept: list[int]) -> Window:
    return Window(
        start,
        start + len(kept),
        np.zeros(TOKENS, np.int64),
        np.array(kept),
        np.zeros(len(kept), np.bool_),
    )


# Rows 10 to 17: carried tokens before, padding after, every other one, and in another order.
BATCHES = [
    [window(13, [2, 3, 4]), window(10, [0, 2, 5])],
    [window(16, [7])],
]
ROWS = 7


def values(seed: int = 0) -> list[torch.Tensor]:
    random = np.random.default_rng(seed)
    shapes = [(len(batch), TOKENS, WIDTH) for batch in BATCHES]
    # Magnitudes from below the smallest half to near its largest, and ties between two halves.
    found = [
        np.exp(random.uniform(-20, 10.5, shape)) * random.choice([-1, 1], shape) for shape in shapes
    ]
    found[0][0, 2] = [1 + 2.0**-11, 1 + 3 * 2.0**-11, 0.0, -0.0, 2.0**-25, 65504.0]
    return [torch.from_numpy(one.astype(np.float32)) for one in found]


def wanted(batches: list[torch.Tensor]) -> NDArray[np.float32]:
    rows = np.empty((ROWS, WIDTH), np.float32)
    for value, windows in zip(batches, BATCHES, strict=True):
        for index, one in enumerate(windows):
            for place, token in enumerate(one.kept):
                rows[one.start - 10 + place] = value[index, int(token)].numpy()
    return rows


def kept(
    batches: list[torch.Tensor], dtype: str, columns: tuple[int, ...] | None = None
) -> NDArray[np.floating]:
    rows = KeptRows(10, 10 + ROWS, columns, dtype)
    for value, windows in zip(batches, BATCHES, strict=True):
        rows.take(value, windows)
        value.fill_(torch.nan)  # a later module may write in place
    return rows.array()


@pytest.mark.parametrize("columns", [None, (1, 4, 5)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int8"])
def test_take__puts_each_row_in_its_place_as_storage_would_round_it(
    dtype: str, columns: tuple[int, ...] | None
) -> None:
    rows = wanted(values())[:, slice(None) if columns is None else list(columns)]

    found = kept(values(), dtype, columns)

    expected = cast(rows, dtype, what="rows")  # of int8 float32 still
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@HALVES
@pytest.mark.parametrize("bad", [np.inf, np.nan, 3.4e38])
def test_take__leaves_all_in_float32_where_a_row_does_not_fit(dtype: str, bad: float) -> None:
    batches = values()
    batches[1][0, 7, 3] = bad  # of the last batch: what was kept before is kept still
    rows = wanted(batches)

    found = kept(batches, dtype)

    exact = rows.copy()
    exact[:6] = cast(rows[:6], dtype, what="rows").astype(np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, exact)


@HALVES
def test_take__does_not_mind_what_padding_holds(dtype: str) -> None:
    batches = values()
    batches[0][0, 6:], batches[0][1, 1] = torch.inf, torch.nan

    found = kept(batches, dtype)

    assert found.dtype == (np.float16 if dtype == "float16" else ml_dtypes.bfloat16)
    assert found.tobytes() == cast(wanted(values()), dtype, what="rows").tobytes()


def test_take__keeps_what_was_computed_in_the_stored_dtype() -> None:
    batches = [value.to(torch.bfloat16) for value in values()]
    batches[0][0, 2, 0] = torch.inf  # for storage to say that the model computed it

    found = kept([value.clone() for value in batches], "bfloat16")

    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(
        found.astype(np.float32), wanted([value.float() for value in batches])
    )


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_take__from_cuda_gives_the_same_bits(dtype: str) -> None:
    assert (
        kept([value.cuda() for value in values()], dtype).tobytes()
        == kept(values(), dtype).tobytes()
    )


@pytest.mark.gpu
def test_take__from_cuda_leaves_in_float32_what_does_not_fit() -> None:
    batches = values()
    batches[0][1, 2, 0] = 1e6

    found = kept([value.cuda() for value in batches], "float16")

    assert found.dtype == np.float32
    assert found.tobytes() == kept(batches, "float16").tobytes()
