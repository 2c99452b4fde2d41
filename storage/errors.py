"""What can go wrong in a lake, grouped by what a caller would do about it.

LakeError
├── InputError           the caller's values are wrong: change them
│   ├── NameTakenError   the name belongs to something else
│   ├── NotFoundError    no such thing in this lake; also a KeyError
│   ├── ModelError       the model cannot be loaded, or has no such site
│   ├── CorpusError      the corpus is empty, unreadable, or has a document without text
│   ├── QueryError       SQL that is refused or does not run
│   └── PrecisionError   values that the stored dtype cannot hold
├── FormatError          not a lake, or one that this version does not read
├── CorruptError         stored bytes are not what was committed: verify, then repair
├── IncompleteError      rows that are not committed yet: wait, or resume the run
├── DiskError            a disk that is full, failing or read-only: mend that, then run again
├── RoomError            a forward pass that memory cannot hold: another device, then run again
├── UnreachableError     a server of the lake's is away or lets nobody in: see to it, then run again
└── BusyError            somebody else holds the work or the lock: wait, then try again

Every message is one sentence, lower case, without a full stop: the thing, the place, the next step.
"""

__all__ = [
    "BusyError",
    "CorpusError",
    "CorruptError",
    "DiskError",
    "FormatError",
    "IncompleteError",
    "InputError",
    "LakeError",
    "ModelError",
    "NameTakenError",
    "NotFoundError",
    "PrecisionError",
    "QueryError",
    "RoomError",
    "UnreachableError",
    "first_line",
]


class LakeError(Exception):
    """Anything that the command line reports as one line instead of a traceback."""


class InputError(LakeError, ValueError):
    """The caller's values are wrong; nothing was written."""


class NameTakenError(InputError):
    """The name belongs to something with another fingerprint."""


class NotFoundError(InputError, KeyError):
    """The lake holds nothing of that name."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class ModelError(InputError):
    """The model cannot be loaded, or has no such site."""


class CorpusError(InputError):
    """The corpus is empty, unreadable, or holds a document without text."""


class QueryError(InputError):
    """The SQL is refused, or DuckDB cannot run it."""


class PrecisionError(InputError):
    """The stored dtype cannot hold the values."""


class FormatError(LakeError):
    """The path is not a lake, or a lake of a format that this version does not read."""


class CorruptError(LakeError):
    """Stored bytes differ from what was committed."""


class IncompleteError(LakeError):
    """The rows asked for are not committed yet."""


class DiskError(LakeError):
    """The disk refused to take what was to be written; what was committed before stays."""


class RoomError(LakeError):
    """A forward pass does not fit the memory of its device; what was committed before stays."""


class UnreachableError(LakeError):
    """The server of the catalog or of the files does not answer, or refuses this user."""


class BusyError(LakeError):
    """Another process holds the lock or the claim."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, as part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
