"""The memory that a process takes for itself: without mapped files, which the system may let go."""

import os
import time
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

SECONDS = 0.02
"""Between two looks; what comes and goes within is not seen."""


class Peak:
    """Looks at a process while the block runs; Linux only, 0 elsewhere."""

    def __init__(self, process: int | None = None) -> None:
        self.mib = 0.0
        """The largest that was seen."""
        self._status = Path(f"/proc/{os.getpid() if process is None else process}/status")
        self._end = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.is_set():
            self.mib = max(self.mib, self._now())
            time.sleep(SECONDS)

    def _now(self) -> float:
        try:
            lines = self._status.read_text().splitlines()
        except OSError:  # it has ended, or there is no /proc
            return 0.0
        kept = (line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
        return sum(int(kib) / 1024 for _, kib, _ in kept)
