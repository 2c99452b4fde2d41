import numpy as np
import pytest

from actlake.analytics.features.top_rows import TopRows
from actlake.analytics.splitmix import splitmix64
from actlake.analytics.statistic import merge_in_order
from actlake.storage.csr import csr_from_dense
from actlake.storage.errors import InputError


def test_top_rows__are_the_strongest_in_falling_order() -> None:
    # A peer sorts ascending and shows the fifty weakest contexts as the strongest.
    block = np.arange(1, 101, dtype=np.float32)[:, None] * [1, 2]
    found = TopRows.of(csr_from_dense(block), np.ones(100, np.bool_), row_start=1000, k=3).finish()
    assert found["feature"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    assert found["row"].tolist() == [1099, 1098, 1097] * 2
    assert found["value"].tolist() == [100, 99, 98, 200, 198, 196]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_top_rows__equal_a_sort_of_everything(dtype: str) -> None:
    rng = np.random.default_rng(0)
    block = np.round(rng.exponential(2, (400, 7)) * (rng.random((400, 7)) < 0.3))  # many ties
    mask, k, start = rng.random(400) < 0.8, 9, 5_000_000_000
    codes = csr_from_dense(block, dtype=dtype)
    parts = np.split(np.arange(400), [1, 50, 51, 300])
    found = merge_in_order(
        TopRows.of(
            csr_from_dense(block[part], dtype=dtype), mask[part], row_start=start + part[0], k=k
        )
        for part in parts
    ).finish()
    entries = [
        (int(f), -float(v), int(splitmix64(np.array([start + r]))[0]), start + int(r))
        for r, f, v in zip(codes.row_of_value(), codes.indices, codes.values, strict=True)
        if mask[r]
    ]
    expected = [e for f in range(7) for e in sorted(e for e in entries if e[0] == f)[:k]]
    assert found["feature"].tolist() == [e[0] for e in expected]
    assert found["value"].tolist() == [-e[1] for e in expected]
    assert found["row"].tolist() == [e[3] for e in expected]


def test_top_rows__ties_do_not_prefer_early_rows() -> None:
    codes = csr_from_dense(np.ones((10_000, 1)))
    rows = TopRows.of(codes, np.ones(10_000, np.bool_), row_start=0, k=100).row
    # The mean of 100 uniform rows: five standard errors around the middle.
    assert abs(rows.mean() - 5000) < 5 * 10_000 / np.sqrt(12 * 100)


def test_top_rows__refuses_to_keep_none() -> None:
    with pytest.raises(InputError, match="k is 0"):
        TopRows.of(csr_from_dense(np.ones((1, 1))), np.ones(1, np.bool_), row_start=0, k=0)
