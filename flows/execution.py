"""Running a verb for the command line: inline, or under Prefect."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from actlake.storage.errors import InputError
from actlake.storage.lake import Lake

__all__ = ["RUNNERS", "execute"]

RUNNERS = ("prefect", "inline")


def execute(runner: str, verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
    """What ``verb`` returns, carried out by ``runner``."""
    if runner == "inline":
        return call_inline(verb, lake, parameters)
    if runner != "prefect":
        raise InputError(f"no runner {runner!r}; choose one of {', '.join(RUNNERS)}")
    # Prefect reads these as it is imported. It would phone home and log every state otherwise.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_ENABLED", "false")
    from actlake.flows.prefect_flows import FLOWS

    lake.close()  # the flow opens its own
    return FLOWS[verb](lake=str(lake.root), **parameters)


def call_inline(verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
    """What ``verb`` returns, as a plain call in this thread."""
    return _body(verb)(lake, **parameters)


def _body(verb: str) -> Any:
    # Imported only when it runs: torch and matplotlib take seconds.
    module = "ingest" if verb.startswith("ingest") else verb
    return getattr(import_module(f"actlake.flows.{module}"), verb)
