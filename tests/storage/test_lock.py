"""One holder at a time, be they threads or processes, and none after death."""

import signal
import threading
import time
from pathlib import Path

import pytest

from actlake.storage import lock as module
from actlake.storage.errors import BusyError, LakeError
from actlake.storage.lock import locked
from tests.storage.conftest import python

HOLDER = """
import sys, time
from pathlib import Path
from actlake.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_lock__lets_one_thread_in(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with locked(tmp_path / "lock"):
                inside += 1
                most = max(most, inside)
                time.sleep(0.001)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_lock__of_another_process_is_waited_for_and_dies_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = python(HOLDER, tmp_path / "lock")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with monkeypatch.context() as patch:
        patch.setattr(module, "LOCK_SECONDS", 0.05)
        with pytest.raises(BusyError, match="has been locked"), locked(tmp_path / "lock"):
            pass
    killer = threading.Timer(0.1, holder.send_signal, [signal.SIGKILL])
    killer.start()
    with locked(tmp_path / "lock"):
        pass
    holder.communicate()


def test_lock__is_released_by_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="x"), locked(tmp_path / "lock"):
            raise ValueError("x")


def test_lock__says_where_it_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="cannot be written"), locked(tmp_path / "absent" / "lock"):
        pass
