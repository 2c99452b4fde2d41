"""Matching of atoms by cosine."""

import numpy as np
import pytest

from actlake.analytics.dictionaries.random import unit_rows
from actlake.analytics.similarity.decoders import assign_decoders, match_decoders
from actlake.storage.errors import InputError


def planted(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """200 directions of width 64, noisy copies in another order, and where each copy went."""
    rng = np.random.default_rng(seed)
    atoms, order = unit_rows(200, 64, seed), rng.permutation(200)
    copies = atoms[order] + noise / 8 * rng.standard_normal((200, 64))
    return atoms, copies * rng.uniform(0.1, 9, (200, 1)), np.argsort(order)


def test_match_decoders__finds_a_planted_permutation_in_noise() -> None:
    """analytics.G14, over seeds: its Hungarian >= 0.97 is that of a lucky one.

    One seed scatters by 0.025, 0.016 and 0.029 about 0.848, 0.963 and 0.961.
    """
    seeds = 30
    argmax, mutual, assigned = np.empty((3, seeds))
    for seed in range(seeds):
        atoms, copies, where = planted(seed, noise=2)
        found = match_decoders(atoms, copies).matches
        right = found.partner[found.of_a] == where
        argmax[seed], mutual[seed] = right.mean(), right[found.is_mutual[found.of_a]].mean()
        rows, columns, _ = assign_decoders(atoms, copies, level=1 - 1e-12)
        assigned[seed] = (columns == where[rows]).sum() / 200
    # Five standard errors.
    assert argmax.mean() == pytest.approx(0.848, abs=5 * 0.025 / np.sqrt(seeds))
    assert mutual.mean() == pytest.approx(0.963, abs=5 * 0.016 / np.sqrt(seeds))
    assert assigned.mean() == pytest.approx(0.961, abs=5 * 0.029 / np.sqrt(seeds))
    assert assigned.max() >= 0.97


@pytest.mark.parametrize("noise", [0.5, 1.0])
def test_match_decoders__is_exact_in_little_noise(noise: float) -> None:
    atoms, copies, where = planted(7, noise)
    found = match_decoders(atoms, copies, tile_bytes=8 * 200 * 17).matches
    np.testing.assert_array_equal(found.partner[found.of_a], where)
    assert found.is_mutual.all()
    assert (found.margin > 0).all()
    assert (found.q < 1e-3).all()
    rows, columns, cosine = assign_decoders(atoms, copies)
    np.testing.assert_array_equal(rows, np.arange(200))
    np.testing.assert_array_equal(columns, where)
    np.testing.assert_allclose(cosine, found.score[found.of_a])


def test_match_decoders__of_random_atoms_is_the_null() -> None:
    found = match_decoders(unit_rows(500, 32, 0), unit_rows(300, 32, 1))
    table = found.matches
    # One of A's maxima has a standard deviation of 0.05; they are nearly independent.
    assert found.mmcs_a == pytest.approx(found.null_a, abs=5 * 0.05 / np.sqrt(500))
    assert found.mmcs_b == pytest.approx(found.null_b, abs=5 * 0.05 / np.sqrt(300))
    assert found.null_a < found.null_b
    # Five standard deviations of a share of 500 and of 300.
    assert np.mean(table.p[table.of_a] <= 0.1) == pytest.approx(0.1, abs=5 * 0.0134)
    assert np.mean(table.p[~table.of_a] <= 0.1) == pytest.approx(0.1, abs=5 * 0.0173)
    assert (table.q > 0.01).all()


def test_match_decoders__sees_signs_and_leaves_out_atoms_of_norm_0() -> None:
    atoms = np.eye(4)
    other = np.array([[2.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 0]])
    found = match_decoders(atoms, other)
    table = found.matches
    assert table.partner[table.of_a].tolist() == [0, 0, 0, 0]
    assert table.partner[~table.of_a].tolist() == [0, 0, -1]
    assert table.is_mutual.tolist() == [True, False, False, False, True, False, False]
    assert np.isnan([table.p[-1], table.q[-1], table.score[-1]]).all()
    assert found.mmcs_a == 0.25
    assert found.mmcs_b == 0.5
    assert np.isnan(match_decoders(atoms, np.zeros((2, 4))).mmcs_a)


def test_assign_decoders__leaves_orphans_alone() -> None:
    shared = unit_rows(40, 64, 0)
    a, b = (
        np.concatenate((shared, unit_rows(20, 64, 1))),
        np.concatenate((shared, unit_rows(30, 64, 2))),
    )
    rows, columns, cosine = assign_decoders(a, b)
    np.testing.assert_array_equal(rows[:40], np.arange(40))
    np.testing.assert_array_equal(columns[:40], np.arange(40))
    assert np.allclose(cosine[:40], 1)
    # Each of 20 pairs of orphans passes with probability below 0.05; 6 or more with 3e-4.
    assert len(rows) < 46


def test_decoders__refuse_what_has_no_cosines() -> None:
    with pytest.raises(InputError, match="widths 4 and 5"):
        match_decoders(np.eye(4), np.eye(5))
    with pytest.raises(InputError, match=r"5,000 atoms takes too long"):
        assign_decoders(np.ones((5000, 2)), np.ones((3, 2)))
