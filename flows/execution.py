"""Running a verb for the command line: inline, or under Prefect."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from actlake.flows.workers import OTHERS, SHARED, runner_of
from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["RUNNERS", "execute"]

RUNNERS = ("prefect", "inline")
PREFECT_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # Errors reach the caller; as log entries they would come a second time, with a traceback.
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    # A server of its own starts in 5 to 40 s, by how busy the machine is; 20 s are the default.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}
"""Of the command line, where the environment does not say otherwise."""


def execute(runner: str, verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
    """What ``verb`` returns, carried out by ``runner``.

    ``workers`` and ``scheduler`` among the parameters say who does its steps; see ``runner_of``.
    """
    if runner == "inline":
        return call_inline(verb, lake, parameters)
    if runner != "prefect":
        raise InputError(f"no runner {runner!r}; choose one of {', '.join(RUNNERS)}")
    for name, value in PREFECT_SETTINGS.items():  # read as it is imported
        os.environ.setdefault(name, value)
    from actlake.flows.prefect_flows import FLOWS

    lake.close()  # the flow opens its own
    return FLOWS[verb](lake=str(lake.root), **parameters)


def call_inline(verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
    """What ``verb`` returns, as a plain call in this thread."""
    if verb not in SHARED:
        return _body(verb)(lake, **parameters)
    given = {name: value for name, value in parameters.items() if name not in OTHERS}
    runner = runner_of(*(parameters.get(name) for name in OTHERS))
    return _body(verb)(lake, **given, runner=runner)


def _body(verb: str) -> Any:
    # Imported only when it runs: torch and matplotlib take seconds.
    module = "ingest" if verb.startswith("ingest") else verb
    return getattr(import_module(f"actlake.flows.{module}"), verb)
