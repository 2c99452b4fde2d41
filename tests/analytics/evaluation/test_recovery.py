"""dictionaries.D2."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc

from actlake.analytics.dictionaries.random import unit_rows
from actlake.analytics.evaluation.recovery import recovery


def test_recovery__ignores_order_and_positive_scale() -> None:
    rng = np.random.default_rng(0)
    atoms = unit_rows(40, 16, seed=0)
    found = recovery(atoms, rng.permutation(atoms) * rng.uniform(0.1, 9, (40, 1)))
    assert found.recall == pytest.approx(1)
    assert found.precision == pytest.approx(1)
    assert found.matched == pytest.approx(1)
    assert found.recovered == 1


def test_recovery__sees_a_negated_atom() -> None:
    atoms = np.eye(8)
    found = recovery(atoms, atoms * np.where(np.arange(8) == 3, -1, 1)[:, None])
    assert found.recall == pytest.approx(7 / 8)
    assert found.recovered == 7 / 8


@pytest.mark.parametrize(("atoms", "width", "known"), [(64, 32, 0.404), (200, 64, 0.337)])
def test_recovery__of_random_atoms_is_the_exact_baseline(
    atoms: int, width: int, known: float
) -> None:
    """analytics.A2: the expected maximum of cosines of independent directions."""

    def below(cosine: float) -> float:
        return float((1 - 0.5 * betainc((width - 1) / 2, 0.5, 1 - cosine**2)) ** atoms)

    expected = 1 - quad(below, 0, 1)[0]
    assert expected == pytest.approx(known, abs=0.001)
    pairs = [(unit_rows(atoms, width, 2 * i), unit_rows(atoms, width, 2 * i + 1)) for i in range(8)]
    found = np.mean([recovery(*pair).recall for pair in pairs])
    # One pair varies by less than 0.010.
    assert found == pytest.approx(expected, abs=5 * 0.010 / np.sqrt(8))


def test_recovery__duplicates_lower_only_precision() -> None:
    atoms = unit_rows(20, 32, seed=1)
    noisy = atoms + 0.3 * unit_rows(20, 32, seed=2)
    found = recovery(atoms, np.concatenate((atoms, noisy)))
    assert found.recall == pytest.approx(1)
    assert found.matched == pytest.approx(1)
    assert found.precision < 0.99


def test_recovery__matches_one_to_one() -> None:
    # One found atom near both true ones: argmax counts it twice, the assignment once.
    true = np.array([[1.0, 0.1], [1.0, -0.1]])
    found = recovery(true, np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert found.recall > 0.99
    assert found.matched == pytest.approx((found.recall + 0.1 / np.hypot(1, 0.1)) / 2, abs=1e-12)


def test_recovery__counts_an_atom_without_a_direction_as_a_miss() -> None:
    assert recovery(np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]])).recall == 0.5
