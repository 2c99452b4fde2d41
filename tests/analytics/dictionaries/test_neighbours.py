"""Nearest decoder directions: planted copies, numpy beside it, and what memory it takes."""

import tracemalloc

import numpy as np
import pytest

from actlake.analytics.dictionaries import neighbours as module
from actlake.analytics.dictionaries.neighbours import nearest
from actlake.analytics.similarity.random_maximum import maximum_tail


def test_nearest__are_the_planted_family_in_the_order_of_its_angles() -> None:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((400, 64))
    tilts = (0.1, 0.2, 0.3)
    for child, tilt in zip((50, 7, 300), tilts, strict=True):
        away = rng.standard_normal(64)
        unit = directions[3] / np.linalg.norm(directions[3])
        away -= (away @ unit) * unit
        directions[child] = 5 * (unit + tilt * away / np.linalg.norm(away))
    found = nearest(directions, 5)
    assert found.neighbour[3, :3].tolist() == [50, 7, 300]
    assert found.cosine[3, :3] == pytest.approx(1 / np.sqrt(1 + np.square(tilts)), abs=1e-6)
    assert (found.p[3, :3] < 1e-20).all()
    assert found.p[3, 4] > 0.01  # one of the random ones


def test_nearest__equal_numpy_in_any_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    directions = rng.standard_normal((37, 16))
    directions[5] = 0
    directions[9] = 2 * directions[8]  # a tie with whatever is near to both
    monkeypatch.setattr(module, "TILE_BYTES", 37 * 4 * 5)
    found = nearest(directions, 6)
    there = np.flatnonzero(np.arange(37) != 5)
    unit = directions[there] / np.linalg.norm(directions[there], axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine.round(6), axis=1, kind="stable")[:, :6]
    assert found.neighbour[there].tolist() == there[order].tolist()
    right = np.take_along_axis(cosine, order, axis=1)
    assert found.cosine[there] == pytest.approx(right, abs=1e-6)
    assert found.p[there] == pytest.approx(maximum_tail(right, 36, 16), rel=1e-4)
    assert (found.neighbour[5] == -1).all()
    table = found.table()
    assert len(table["rank"]) == 36 * 6
    assert table["rank"].tolist() == [*range(1, 7)] * 36
    assert not np.isin(5, table["feature"])


def test_nearest__of_few_directions_are_as_many_as_there_are() -> None:
    found = nearest(np.eye(3), 9)
    assert found.neighbour.tolist() == [[1, 2, *[-1] * 7], [0, 2, *[-1] * 7], [0, 1, *[-1] * 7]]
    assert nearest(np.ones((1, 4)), 2).neighbour.tolist() == [[-1, -1]]
    assert np.isnan(nearest(np.array([[1.0], [2.0]]), 1).p).all()
    assert nearest(np.zeros((0, 4)), 2).neighbour.shape == (0, 2)


def test_nearest__holds_no_square_of_the_features(monkeypatch: pytest.MonkeyPatch) -> None:
    directions = np.random.default_rng(2).standard_normal((4000, 8)).astype(np.float32)
    monkeypatch.setattr(module, "TILE_BYTES", 1 << 20)
    tracemalloc.start()
    nearest(directions, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = 24 * 10 * 4000
    assert peak < 4 * (1 << 20) + 4 * kept  # a square is 64 MB
