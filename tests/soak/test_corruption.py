"""Whatever is done to a file is found and named, and no reader that verifies returns wrong rows."""

import numpy as np
import pytest

from tests.soak import corruption
from tests.soak.corruption import ATTEMPTS
from tests.soak.subject import Subject, build, examined, renewed


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return examined(build(tmp_path_factory.mktemp("corruption")))


@pytest.mark.parametrize("kind", ATTEMPTS)
def test_damage__is_found_and_never_returned(subject: Subject, kind: str) -> None:
    random = np.random.default_rng([3, *kind.encode()])
    # The whole lake is read for three kinds here; tests/storage/test_verify.py has the others.
    every = 4 if kind in ("tables", "codes chunks", "zarr.json") else 40
    outcome = corruption.attack_files(subject, kind, 4, random, whole_every=every)
    assert outcome.held, outcome


def test_swap__of_whole_chunks_is_found(subject: Subject) -> None:
    outcome = corruption.attack_pairs(subject, 2, np.random.default_rng(4))
    assert outcome.held, outcome


def test_older_generation__of_a_shard_is_found(subject: Subject) -> None:
    again, stale = renewed(subject.root)
    assert {name.partition("/")[0] for name in stale} == {"tensors", "codes", "rowsets"}
    outcome = corruption.attack_generations(again, stale, 2, np.random.default_rng(6))
    assert outcome.held, outcome


@pytest.mark.parametrize("name", ["catalog.sqlite", "claims.sqlite"])
def test_flip__in_a_database_is_found_or_changes_nothing(subject: Subject, name: str) -> None:
    outcome = corruption.attack_database(subject, name, 1, np.random.default_rng(5))
    assert outcome.held, outcome
