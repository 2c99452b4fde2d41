"""What a flow shows in Prefect's pages: tables, links and progress. Nothing without Prefect."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from uuid import UUID

from actlake.flows.progress import progress

__all__ = ["flow_run_id", "show_link", "show_table", "shown_progress"]

SHOW_SECONDS = 5.0
"""Between two updates of a progress artifact: each is a request to the server."""


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

    create_table_artifact(
        table=[{name: _shown(value) for name, value in row.items()} for row in rows],
        key=key,
        description=description,
    )


def show_link(key: str, url: str, text: str, description: str) -> None:
    """Show a link as the artifact ``key`` of the flow run."""
    if flow_run_id() is None:
        return
    from prefect.artifacts import create_link_artifact

    create_link_artifact(link=url, link_text=text, key=key, description=description)


@contextmanager
def shown_progress(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[int], None]]:
    """``progress``, and the same as an artifact in percent where Prefect runs the flow."""
    with progress(label, total, unit) as advance:
        if flow_run_id() is None:
            yield advance
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        # Inside an async flow, which ours are not, this would be a coroutine.
        artifact = cast(UUID, create_progress_artifact(0.0, description=label))
        done, shown = 0, time.monotonic()

        def advance_both(count: int) -> None:
            nonlocal done, shown
            advance(count)
            done += count
            if time.monotonic() - shown >= SHOW_SECONDS:
                shown = time.monotonic()
                update_progress_artifact(artifact, min(100.0, 100 * done / max(total, 1)))

        yield advance_both
        update_progress_artifact(artifact, 100.0)


def _shown(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
