"""What a flow shows in Prefect's pages: tables, links and progress. Nothing without Prefect.

Pages are a courtesy: a server that cannot be reached for a moment costs what it would have shown
and never the work, nor the error that the work has to tell of.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from uuid import UUID

from actlake.flows.progress import progress, say

__all__ = ["flow_run_id", "show_link", "show_table", "shown_progress"]

T = TypeVar("T")
SHOW_SECONDS = 5.0
"""Between two updates of a progress artifact: each is a request to the server."""

_told: set[str] = set()
"""Flow runs of which it was said that something could not be shown."""


def flow_run_id() -> str | None:
    """Id of the Prefect flow run that this thread is in; None without one."""
    if "prefect" not in sys.modules:  # a plain call pays nothing for it
        return None
    from prefect.runtime import flow_run

    found = flow_run.id
    return None if found is None else str(found)


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Show ``rows`` as the artifact ``key`` (lower case, digits, dashes) of the flow run."""
    if flow_run_id() is None:
        return
    from prefect.artifacts import create_table_artifact

    table = [{name: _shown(value) for name, value in row.items()} for row in rows]
    _try(lambda: create_table_artifact(table=table, key=key, description=description))


def show_link(key: str, url: str, text: str, description: str) -> None:
    """Show a link as the artifact ``key`` of the flow run."""
    if flow_run_id() is None:
        return
    from prefect.artifacts import create_link_artifact

    _try(lambda: create_link_artifact(link=url, link_text=text, key=key, description=description))


@contextmanager
def shown_progress(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """``progress``, and the same as an artifact in percent where Prefect runs the flow."""
    with progress(label, total, unit) as advance:
        if flow_run_id() is None:
            yield advance
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        # Inside an async flow, which ours are not, this would be a coroutine.
        artifact = cast(UUID | None, _try(lambda: create_progress_artifact(0.0, description=label)))
        done, shown = 0, time.monotonic()

        def show(percent: float) -> None:
            if artifact is not None:
                _try(lambda: update_progress_artifact(artifact, percent))

        def advance_both(count: int) -> None:
            nonlocal done, shown
            advance(count)
            done += count
            if time.monotonic() - shown >= SHOW_SECONDS:
                show(min(100.0, 100 * done / max(total, 1)))
                shown = time.monotonic()

        yield advance_both
        show(100.0)


def _try(show: Callable[[], T]) -> T | None:
    """What ``show`` returns; None if Prefect cannot do it, which is said once a flow run."""
    try:
        return show()
    except Exception as error:  # noqa: BLE001 - whatever it is, the work matters more
        run = str(flow_run_id())
        if run not in _told:
            _told.add(run)
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            say(f"Prefect does not show all of this run, which goes on ({reason})")
        return None


def _shown(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
