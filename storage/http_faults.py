"""What DuckDB says of the way to an object, as an error that says what to do."""

import re

from actlake.storage.errors import CorruptError, LakeError, UnreachableError

__all__ = ["http_fault"]

_STATUS = re.compile(r"HTTP (?:code )?(\d{3})")
_WORDS = re.compile(r"([^:;]+?) error for HTTP")
_PLACE = re.compile(r"(?:https?|s3)://[^\s'\"]+[^\s'\":;,.]")


def http_fault(said: str) -> LakeError | None:
    """What ``said`` means where it blames an object store, None where it blames something else."""
    status, words = _STATUS.search(said), _WORDS.search(said)
    if status is None and words is None:
        return None
    named = _PLACE.search(said)
    place = named[0] if named else "the object store"
    if status is None:
        what = words[1].strip() if words else ""
    elif status[1] == "404":
        return CorruptError(f"{place} is missing; run `actlake verify` to see what else is")
    elif status[1] in ("401", "403"):
        return UnreachableError(
            f"{place} is refused to us ({status[1]}); set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY of who may read and write there"
        )
    else:
        what = f"HTTP {status[1]}"
    return UnreachableError(
        f"{place} cannot be had ({what}); see that the object store runs and can be reached from "
        "here, then run this again"
    )
