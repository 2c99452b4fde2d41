"""Names that people choose, and identities that are computed."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import uuid4

from actlake.storage.errors import InputError

__all__ = ["Json", "check_name", "fingerprint", "new_id", "repeated", "sought"]

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
NAME = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9._@:-]{0,119}")


def check_name(kind: str, name: str) -> str:
    """``name`` itself; InputError unless it is a usable name for a ``kind``, such as tensor."""
    if not NAME.fullmatch(name):
        shown = name if len(name) <= 60 else name[:60] + "…"
        raise InputError(
            f"{shown!r} is no name for a {kind}; use 1 to 120 letters, digits and . _ - @ : "
            "and start with a letter, digit, _ or @"
        )
    return name


def sought(name: str) -> str:
    """``name`` to look for in a table, or what nothing is called where nothing could be so called.

    DuckLake puts the values of conditions into SQL of its own, which a zero byte ends, and DuckDB
    takes no half of a surrogate pair.
    """
    return name if NAME.fullmatch(name) else ""


def fingerprint(*parts: Json) -> str:
    """Hexadecimal hash, 32 digits, of JSON values; equal values give equal fingerprints.

    InputError for NaN and infinity, which are no values of JSON.
    """
    try:
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise InputError("a value is NaN or infinite; give finite numbers") from error
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def new_id() -> str:
    """A fresh id for a path, 16 hexadecimal digits."""
    return uuid4().hex[:16]


def repeated(values: Sequence[str]) -> str | None:
    """The first of ``values`` that is there twice; None if each is there once."""
    return next((one for one, times in Counter(values).items() if times > 1), None)
