"""The memory that a process takes for itself: without mapped files, which the system may let go."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

SECONDS = 0.02
"""Between two looks; what comes and goes within is not seen."""


@dataclass(slots=True)
class Peak:
    """The largest that was seen."""

    mib: float = 0.0


@contextmanager
def watched(process: int | str = "self") -> Iterator[Peak]:
    """Look at a process while the block runs; at this one only while nothing holds Python's lock.

    SystemExit where there is no /proc to look at.
    """
    status, peak, end = Path(f"/proc/{process}/status"), Peak(), Event()
    if not status.exists():
        raise SystemExit("memory is read from /proc, which is not here; measure it on Linux")

    def watch() -> None:
        while True:
            peak.mib = max(peak.mib, _mib(status))
            if end.wait(SECONDS):
                return

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        end.set()
        thread.join()


def _mib(status: Path) -> float:
    """0 for a process that has ended."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0.0
    kept = (line.split() for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
    return sum(int(kib) / 1024 for _, kib, _ in kept)
