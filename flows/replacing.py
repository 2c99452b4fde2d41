"""Results that a later run of other parameters takes the place of."""

import json
from collections.abc import Mapping
from typing import Any

from actlake.storage.lake import Lake
from actlake.storage.transaction import Transaction

__all__ = ["deletion", "replaced"]


def replaced(
    lake: Lake,
    table: str,
    same: Mapping[str, Any],
    parameters: Mapping[str, object],
    inputs: Mapping[str, str],
) -> str:
    """The run whose rows of ``table`` this one takes the place of; "" if there is none.

    ``same`` is what columns of the rows that would be replaced hold. The answer is part of the
    new run's key: to go back to parameters that were replaced since is work to do again, while
    what wrote the present rows is done.
    """
    query = f"""
        SELECT run, parameters, inputs FROM runs
        WHERE run = (SELECT max(run) FROM {table} WHERE {_condition(same)})
    """  # noqa: S608 ours
    for run, its_parameters, its_inputs in lake.sql(query, **same).rows():
        before = json.loads(str(its_inputs))
        replaces = str(before.pop("replaces", ""))
        alike = json.loads(str(its_parameters)) == parameters and before == inputs
        return replaces if alike else str(run)
    return ""


def deletion(transaction: Transaction, table: str, same: Mapping[str, Any]) -> None:
    """The rows of ``table`` whose columns hold ``same`` are gone."""
    statement = f"DELETE FROM {table} WHERE {_condition(same)}"  # noqa: S608 ours
    transaction.execute(statement, **same)


def _condition(same: Mapping[str, Any]) -> str:
    return " AND ".join(f"{column} = ${column}" for column in same)
