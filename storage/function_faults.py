"""What a function of ours complained of in a query, as the error that it raised."""

import re

from actlake.storage import errors
from actlake.storage.errors import LakeError

__all__ = ["function_fault"]

_TOLD = re.compile(
    r"python exception occurred while executing the UDF: (\w+): (.*?)(?:; at:;.*)?",
    re.IGNORECASE | re.DOTALL,
)


def function_fault(said: str) -> LakeError | None:
    """The error that ``said``, one line of DuckDB's, tells of; None where it tells of no LakeError.

    DuckDB keeps of an exception its name and its text.
    """
    told = _TOLD.fullmatch(said)
    kind = vars(errors).get(told[1]) if told else None
    if told is None or not isinstance(kind, type) or not issubclass(kind, LakeError):
        return None
    return kind(told[2])
