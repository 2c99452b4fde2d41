"""What is wrong in a pipeline file, said in one line with table and key."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from pydantic import ValidationError

from actlake.flows.pipeline_tables import Table
from actlake.flows.source_files import nearest
from actlake.flows.sources import Source

__all__ = ["fault", "lower"]

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")


def fault(error: ValidationError, given: Mapping[str, Any], root: type) -> str:
    """The first fault as `table.key: what; what to do`, and how many more there are.

    ``root`` is the table that the file as a whole is, ``given`` what stands in it.
    """
    faults = error.errors(include_url=False)
    # A misspelt key also makes the right one missing: the first of these is the one to mend.
    first = min(faults, key=lambda fault: fault["type"] not in _UNKNOWN_KEY)
    place = _place(first["loc"], given)
    match first["type"]:
        case "value_error":
            text = str(first["ctx"]["error"])
        case "missing":
            text = "it is missing; add it"
        case "too_short":
            text = "it is empty; give at least one"
        case kind if kind in _UNKNOWN_KEY:
            key = str(first["loc"][-1])
            place = _place(first["loc"][:-1], given)
            text = f"no key {key!r} here; {nearest(key, _keys(first['loc'][:-1], root))}"
        case "union_tag_not_found":
            place, text = f"{place}.method", "it is missing; add it"
        case "union_tag_invalid":
            found, known = str(first["ctx"]["tag"]), str(first["ctx"]["expected_tags"])
            text = f"no method {found!r}; choose one of {known}"
            place = f"{place}.method"
        case _:
            text = f"{lower(first['msg'])}, not {json.dumps(first['input'], default=str)[:60]}"
            text += "; see docs/pipeline.md"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {text}{more}" if place else f"{text}{more}"


def _place(location: Sequence[str | int], given: Mapping[str, Any]) -> str:
    """Keys to a value; an entry of an array of tables goes by its name or its number from 1."""
    parts: list[str] = []
    here: Any = given
    for step in location:
        if isinstance(step, int):
            here = here[step]
            name = here.get("name") if isinstance(here, dict) else None
            parts.append(name if isinstance(name, str) else f"#{step + 1}")
        elif isinstance(here, dict) and here.get("method") == step and "tensor" in here:
            continue  # which kind of dictionary it is, which no key says
        else:
            here = here.get(step) if isinstance(here, dict) else None
            parts.append(step)
    return ".".join(parts)


def _keys(location: Sequence[str | int], root: type) -> list[str]:
    """The keys that the table at ``location`` may have."""
    tables: list[type] = [root]
    for step in location:
        below = [one for table in tables for one in _tables(_types(table).get(str(step)))]
        # A number in an array, or which kind of dictionary it is, leads to no field.
        kinds = [table for table in tables if step in get_args(_types(table).get("method"))]
        tables = below or kinds or tables
    return list(dict.fromkeys(name for table in tables for name in _types(table)))


def _types(table: type) -> dict[str, object]:
    if issubclass(table, Table):
        return {name: field.annotation for name, field in table.model_fields.items()}
    return {field.name: field.type for field in fields(Source)}


def _tables(annotation: object) -> list[type]:
    """The tables that a value may be, looked for inside unions and tuples."""
    if isinstance(annotation, type) and (annotation is Source or issubclass(annotation, Table)):
        return [annotation]
    return [table for inner in get_args(annotation) for table in _tables(inner)]


def lower(message: str) -> str:
    """``message`` as part of a longer sentence."""
    return (message[:1].lower() + message[1:]).rstrip(". ")
