"""Whatever is done to a file is found and named, and no reader that verifies returns wrong rows."""

from pathlib import Path

import numpy as np
import pytest

from tests.flows.scenes import Stage
from tests.soak import corruption
from tests.soak.corruption import ATTEMPTS, PAIRED
from tests.soak.database_damage import attack_database
from tests.soak.mending import attack_and_repair
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


def test_swap__of_whole_files_is_found(subject: Subject) -> None:
    outcome = corruption.attack_pairs(subject, PAIRED[:4], 4, np.random.default_rng(4))
    assert outcome.held, outcome


def test_older_generation__of_a_shard_is_found(subject: Subject) -> None:
    again, stale = renewed(subject.root)
    assert {name.partition("/")[0] for name in stale} == {"tensors", "codes", "rowsets"}
    outcome = corruption.attack_generations(again, stale, 2, np.random.default_rng(6))
    assert outcome.held, outcome


@pytest.mark.parametrize("name", ["catalog.sqlite", "claims.sqlite"])
def test_flip__in_a_database_is_found_or_changes_nothing(subject: Subject, name: str) -> None:
    outcome = attack_database(subject, name, 1, np.random.default_rng(5))
    assert outcome.held, outcome


@pytest.mark.soak
def test_repair__makes_exactly_what_is_damaged_again(tmp_path: Path) -> None:
    lake = Stage(tmp_path).start("export", tmp_path / "lake")
    outcome = attack_and_repair(lake, 3, np.random.default_rng(7))
    assert outcome.held, outcome
