from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from actlake.analytics.hypotheses.designs import designs, is_constant_in_groups
from actlake.analytics.hypotheses.pooling import Pooled
from actlake.analytics.hypotheses.power import detectable_effect

GROUPS, SIZE, RHO = 90, 10, 0.3
GROUP = np.repeat(np.arange(GROUPS), SIZE)
SPLIT = (GROUP % 3).astype(np.int8)
CLASS = (GROUP // 3 % 2).astype(np.float64)
"""Of whole groups; in each part 15 of 30 have it."""


def alike(group: NDArray[np.int64] = GROUP) -> Pooled:
    """9 features of which documents of a group correlate by ``RHO``, and one constant."""
    rng = np.random.default_rng(0)
    values = np.sqrt(RHO) * rng.normal(size=(len(group), 9))[group]
    values += np.sqrt(1 - RHO) * rng.normal(size=(len(group), 9)) + 9
    values = np.column_stack((values, np.full(len(group), 2.0)))
    return Pooled(csr_array(values), np.full(len(group), 50))


FEATURES = np.arange(10)


def test_designs__of_classes_of_groups_say_what_effect_can_be_found() -> None:
    pooled = alike()
    found = designs(pooled, CLASS, GROUP, SPLIT, features=FEATURES, n_tests=12)
    assert [one.split for one in found] == ["train", "validation", "holdout"]
    for one in found:
        assert (one.permuted, one.documents, one.n_groups, one.n_units) == ("group", 300, 30, 30)
        assert one.intraclass == pytest.approx(RHO, abs=0.12)
        expected = detectable_effect(
            groups=30, documents_per_group=10, correlation_within=one.intraclass or 0, n_tests=12
        )
        assert one.smallest_effect == pytest.approx(expected)
    without = designs(
        replace(pooled, rows=np.where(GROUP == 2, 0, 50)),
        np.where(GROUP == 5, np.nan, CLASS),
        GROUP,
        SPLIT,
        features=FEATURES,
        n_tests=12,
    )
    assert [one.n_groups for one in without] == [30, 30, 28]


def test_designs__of_other_targets_say_none_and_estimate_the_groups_all_the_same() -> None:
    pooled, rng = alike(), np.random.default_rng(1)
    unit = GROUP * 5 + np.arange(len(GROUP)) // 2 % 5
    of_unit = rng.normal(size=unit.max() + 1)[unit]
    for y, permuted, n_units in (
        ((rng.random(len(GROUP)) < 0.5).astype(np.float64), "document", 300),
        (of_unit, "unit", 150),
        (np.sin(GROUP * 1.0), "group", 30),
    ):
        given = unit if permuted == "unit" else None
        for one in designs(pooled, y, GROUP, SPLIT, features=FEATURES, n_tests=5, unit=given):
            assert (one.permuted, one.n_units, one.n_groups) == (permuted, n_units, 30)
            assert one.smallest_effect is None
            assert one.intraclass == pytest.approx(RHO, abs=0.12)


def test_designs__of_groups_of_one_document_know_no_correlation_within() -> None:
    group = np.arange(90)
    pooled = Pooled(alike().values[:90].tocsr(), np.full(90, 50))
    split, label = (group % 3).astype(np.int8), (group // 3 % 2).astype(np.float64)
    for one in designs(pooled, label, group, split, features=FEATURES, n_tests=5):
        assert one.intraclass is None
        single = detectable_effect(
            groups=30, documents_per_group=1, correlation_within=0, n_tests=5
        )
        assert one.smallest_effect == pytest.approx(single)
    # Constant features tell nothing, so neither number is known.
    for one in designs(alike(), CLASS, GROUP, SPLIT, features=np.array([9]), n_tests=1):
        assert one.intraclass is one.smallest_effect is None


def test_designs__of_few_groups_find_no_effect() -> None:
    some = GROUP < 18
    found = designs(alike(), CLASS, GROUP, np.where(some, SPLIT, -1), features=FEATURES, n_tests=5)
    for one in found:
        assert (one.n_groups, one.smallest_effect) == (6, None)
        assert one.smallest_p == pytest.approx(0.1)


def test_is_constant_in_groups__knows_a_unit_of_two_groups_as_two() -> None:
    unit, group = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert is_constant_in_groups(unit, group, np.array([1.0, 2, 3, 3]))
    assert not is_constant_in_groups(unit, group, np.array([1.0, 2, 3, 4]))
