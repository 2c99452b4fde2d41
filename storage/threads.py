"""How many threads torch, DuckDB and statistics get where nobody says."""

import os

__all__ = ["default_threads"]


def default_threads() -> int:
    """What OMP_NUM_THREADS asks for, else one for each core that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):  # a cluster gives a job some of the machine's cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
