"""analytics.B6."""

import numpy as np
import pytest

from actlake.analytics.dictionaries.random import unit_rows
from actlake.analytics.geometry.hierarchy import offset_cosine


def test_offset_cosine__of_a_planted_tree_is_0() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 20)))[0]
    parents = 3 * basis[:4].repeat(3, axis=0)
    children = parents + basis[4:16] * np.linspace(0.1, 5, 12)[:, None]
    np.testing.assert_allclose(offset_cosine(children, parents), 0, atol=1e-12)


def test_offset_cosine__of_random_parents_is_minus_one_over_root_two() -> None:
    """analytics.G20: the baseline that shows the sum to be the right one."""
    child, parent = unit_rows(4000, 256, 0), unit_rows(4000, 256, 1)
    assert offset_cosine(child, parent).mean() == pytest.approx(-1 / np.sqrt(2), abs=0.01)


def test_offset_cosine__is_the_angle_and_nan_without_one() -> None:
    parent = np.array([[2.0, 0], [2, 0], [2, 0], [0, 0]], np.float32)
    child = np.array([[3.0, 1], [1, 0], [2, 0], [1, 1]], np.float32)
    found = offset_cosine(child, parent)
    np.testing.assert_allclose(found, [1 / np.sqrt(2), -1, np.nan, np.nan])
