"""Workers of one machine do not all compute on its first GPU."""

import os
from functools import partial
from pathlib import Path

import pytest
from distributed import Client

from actlake.flows.dask_workers import DaskWorkers, _places
from actlake.flows.workers import Processes
from tests.flows.steps import pretend_two_gpus, see_gpus, seen_by_two, taken_by_two
from tests.flows.test_workers import cluster

pytestmark = [
    pytest.mark.slow,
    # Dask leaves sockets and threads of its cluster to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_gpus__are_dealt_to_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert {*Processes(2).map("see", partial(seen_by_two, tmp_path), range(2))} == {"3", "5"}


def test_gpus__are_dealt_to_workers_of_dask(tmp_path: Path) -> None:
    """There is none here, so torch says in each worker that there are two."""

    def taken(turn: str) -> list[str | None]:
        (tmp_path / turn).mkdir()
        step = partial(taken_by_two, tmp_path / turn)
        found = dict(DaskWorkers(address).map("see", step, range(2)))
        assert len(found) == 2  # processes
        return sorted(found.values(), key=str)

    with (
        cluster(workers=2, processes=True) as address,
        Client(address, set_as_default=False) as client,  # type: ignore[no-untyped-call] # theirs
    ):
        assert taken("without torch") == [None, None]
        client.run(pretend_two_gpus)
        assert taken("alike") == taken("again") == ["0", "1"]
        # As dask-cuda does: each sees all, its own first.
        for worker, visible in zip(client.run(os.getpid), ("0,1", "1,0"), strict=True):
            client.run(see_gpus, visible, workers=[worker])
        assert taken("dealt") == ["0", "0"]


def test_places__are_of_processes_that_see_the_same() -> None:
    seen = {
        "tcp://b:2": ("b", None, 7),
        "tcp://a:1": ("a", "0,1", 7),
        "tcp://a:2": ("a", "0,1", 8),
        "tcp://a:3": ("a", "0,1", 7),
        "tcp://a:4": ("a", "1,0", 9),
    }
    assert [*_places(seen).items()] == [
        ("tcp://a:1", 0),
        ("tcp://a:2", 1),
        ("tcp://a:3", 0),  # in the process of the first
        ("tcp://a:4", 0),
        ("tcp://b:2", 0),
    ]
