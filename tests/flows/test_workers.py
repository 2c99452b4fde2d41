"""Steps by other processes and by Dask's workers: the same bytes, in order, and no orphan."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import LocalCluster

from actlake.flows import workers
from actlake.flows.dask_workers import DaskWorkers
from actlake.flows.encode import _encoder, encode
from actlake.flows.extract import extract
from actlake.flows.extract_request import requests
from actlake.flows.loaded_model import forget_model, load_model_of
from actlake.flows.runners import Runner, Step
from actlake.flows.summarize import summarize
from actlake.flows.workers import Processes, runner_of
from actlake.storage.elsewhere import opened
from actlake.storage.errors import BusyError, InputError, LakeError, ModelError, UnreachableError
from actlake.storage.lake import Lake
from tests.flows.contents import table_rows
from tests.flows.steps import (
    dies_at_3,
    dies_once,
    fails_at_3,
    is_elsewhere,
    made_here,
    meets,
    squared,
    write_fails_at_3,
    written_behind,
)
from tests.flows.tiny import payloads

pytestmark = [
    pytest.mark.slow,
    # Dask leaves sockets and threads of its cluster to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SITE = "mlp_act.2"


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskWorkers]:
    with cluster(workers=2) as address:
        yield DaskWorkers(address)


@contextmanager
def cluster(workers: int, *, processes: bool = False) -> Iterator[str]:
    """A scheduler in this process with workers here or beside it, of two threads; its address."""
    options = {"threads_per_worker": 2, "processes": processes, "dashboard_address": ":0"}
    with LocalCluster(n_workers=workers, **options) as found:  # type: ignore[no-untyped-call] # theirs
        yield found.scheduler_address


def extracted(lake: Lake, model: Path, runner: Runner | None = None) -> None:
    extract(lake, source=str(model), sites=[SITE], corpus="c", torch_threads=1, runner=runner)


def copied(lake: Path, to: Path) -> Lake:
    return Lake.open(shutil.copytree(lake, to))


def test_processes__extract_the_same_bytes(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny("llama")
    alone, together = (copied(dictionary_lake, tmp_path / name) for name in ("one", "two"))
    extracted(alone, model)
    extracted(together, model, Processes(2))
    assert payloads(together) == payloads(alone)
    assert [str(fault) for fault in together.verify()] == []


def test_dask__does_every_verb_as_one_process_does(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path: Path, dask: DaskWorkers
) -> None:
    model = tiny("llama")
    alone, together = (copied(dictionary_lake, tmp_path / name) for name in ("one", "two"))
    for lake, runner in ((alone, None), (together, dask)):
        extracted(lake, model, runner)
        codes = encode(lake, dictionary="d", runner=runner)
        summarize(lake, codes=codes, mask="no_special", runner=runner)
    assert payloads(together) == payloads(alone)
    for table in ("postings", "feature_statistics", "feature_examples", "feature_tokens"):
        assert table_rows(together, table) == table_rows(alone, table)
    assert [str(fault) for fault in together.verify()] == []


@pytest.mark.soak
def test_processes__do_every_verb_as_one_process_does(
    dictionary_lake: Path, tmp_path: Path
) -> None:
    alone, together = (copied(dictionary_lake, tmp_path / name) for name in ("one", "two"))
    for lake, runner in ((alone, None), (together, Processes(2))):
        summarize(lake, codes=encode(lake, dictionary="d", runner=runner), runner=runner)
    assert payloads(together) == payloads(alone)
    assert table_rows(together, "feature_examples") == table_rows(alone, "feature_examples")


def test_steps__come_in_order_and_so_many_ahead() -> None:
    assert [*Processes(2).map("square", squared, range(8))] == [n * n for n in range(8)]
    assert [*Processes(2).map("square", squared, [])] == []


def test_worker_that_is_killed__is_told_in_a_line() -> None:
    with pytest.raises(LakeError, match=r"a worker process of three has ended .* fewer workers"):
        [*Processes(2).map("three", dies_at_3, range(5))]


def test_workers__compute_while_they_write(tmp_path: Path) -> None:
    # With more Dask workers than one, who does which step is Dask's to say.
    with cluster(workers=1) as address:
        dask = DaskWorkers(address)
        for name, runner, ahead in (
            ("one", Processes(1), 1),
            ("two", Processes(2), 2),
            ("dask", dask, 1),
        ):
            folder = tmp_path / name
            folder.mkdir()
            step: Step[int, tuple[int, bool]] = partial(written_behind, folder, ahead, 7)
            found: list[tuple[int, bool]] = [*runner.map("square", step, range(8))]
            assert [square for square, _ in found] == [number**2 for number in range(8)]
            assert runner is dask or all(elsewhere for _, elsewhere in found)


def test_workers__compute_beside_each_other(tmp_path: Path) -> None:
    step: Step[int, int] = partial(meets, tmp_path)
    assert [*Processes(2).map("meet", step, range(8))] == [*range(8)]


def test_workers__that_the_system_has_no_files_for_are_refused_in_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    class Pool(ProcessPoolExecutor):
        def __init__(self, *given: Any) -> None:
            if len(made) == 2:
                raise OSError(24, "Too many open files")
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    with pytest.raises(InputError, match=r"3 worker processes cannot be \(Too many .*`ulimit -n`"):
        [*Processes(3).map("square", squared, range(3))]
    for pool in made:
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(squared, 1)


@pytest.mark.parametrize("fails", [fails_at_3, write_fails_at_3])
def test_step_that_fails__tells_why(dask: DaskWorkers, fails: Callable[[int], Any]) -> None:
    for runner in (Processes(2), dask):
        steps = runner.map("three", fails, range(9))
        assert [next(steps) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(InputError, match="three is no number"):
            next(steps)


def test_step__is_unpickled_by_workers_alone(tmp_path: Path) -> None:
    """And not by the scheduler, which has no lake; a worker that dies is replaced."""
    step = partial(is_elsewhere, made_here())
    assert all(Processes(1).map("be", step, range(2)))
    with cluster(workers=1, processes=True) as address:
        assert all(DaskWorkers(address).map("be", step, range(3)))
        assert DaskWorkers(address.removeprefix("tcp://")).address == address
        dies = partial(dies_once, tmp_path / "died")
        assert [*DaskWorkers(address).map("die", dies, range(4))] == [0, 1, 2, 3]
    assert (tmp_path / "died").exists()


def test_error_at_the_first_sight_of_a_step__is_told(dask: DaskWorkers) -> None:
    with pytest.raises(InputError, match="unpickled at home"):
        [*dask.map("be", partial(is_elsewhere, made_here()), range(2))]


def test_parent_that_is_killed__leaves_no_worker(tmp_path: Path) -> None:
    code = (
        "from functools import partial; from pathlib import Path; import sys\n"
        "from actlake.flows.workers import Processes; from tests.flows.steps import sleeps\n"
        "if __name__ == '__main__':\n"
        "    [*Processes(2).map('sleep', partial(sleeps, Path(sys.argv[1])), [1, 2, 3])]"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path]) as parent:
        wait_for(lambda: len([*tmp_path.iterdir()]) == 2)
        workers = [int(file.name) for file in tmp_path.iterdir()]
        assert all(map(is_alive, workers))
        parent.kill()
    wait_for(lambda: not any(map(is_alive, workers)))


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(there: Callable[[], bool]) -> None:
    for _ in range(600):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_worker__refuses_another_dictionary(dictionary_lake: Path) -> None:
    lake = Lake.open(dictionary_lake)
    found = lake.dictionary("d")
    rows = np.zeros((1, found.width), np.float32)
    assert _encoder(lake, "d", found.fingerprint, "").encode(rows).n_features == found.n_features
    with pytest.raises(BusyError, match="dictionary d is another one by now"):
        _encoder(lake, "d", "another", "")


def test_device_with_a_number__is_refused_for_workers(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"cuda:1 is one for all workers; give its kind alone"):
        extract(
            None,  # type: ignore[arg-type] # nothing is asked of it
            source=str(tiny("llama")),
            sites=[SITE],
            corpus="c",
            device="cuda:1",
            runner=Processes(2),
        )


def test_worker__refuses_another_lake_and_another_model(
    dictionary_lake: Path, tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    lake = Lake.open(dictionary_lake)
    assert opened(lake.root, lake.settings.lake, None, "always").reading.mode == "always"
    with pytest.raises(InputError, match="another lake on this machine"):
        opened(lake.root, "another", None, "first-read")
    model = Path(shutil.copytree(tiny("llama"), tmp_path / "tiny-llama"))
    [request] = requests(lake, source=str(model), sites=[SITE], corpus="c", **REST)
    config = model / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(ModelError, match="another model for this worker"):
        load_model_of(request, 1, check=True)
    assert load_model_of(request, 1) is load_model_of(replace(request), 1, check=True)
    forget_model(request)


REST: dict[str, Any] = {
    "model": None,
    "revision": None,
    "window": None,
    "rowset": None,
    "rows": None,
    "dtype": "float16",
    "compute_dtype": "float32",
    "attention": "auto",
    "device": "cpu",
    "random_weights": None,
    "trust_remote_code": False,
}


def test_who_does_the_steps__is_checked_at_once() -> None:
    assert runner_of(None, None) is None
    assert isinstance(runner_of(2, None), Processes)
    with pytest.raises(InputError, match="not both"):
        runner_of(2, "tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="give 1 to"):
        runner_of(0, None)
    for address in ("tcp://127.0.0.1:1", "here", "tcp://", "http://127.0.0.1:1"):
        with pytest.raises(UnreachableError, match="no Dask scheduler answers"):
            runner_of(None, address)
    with cluster(workers=0) as address, pytest.raises(UnreachableError, match="has no workers"):
        runner_of(None, address)
