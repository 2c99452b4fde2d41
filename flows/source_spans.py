"""Labels of characters from the records of files: a list of spans for each document.

A span is an object with ``start`` and ``stop`` (or ``end``), code points of the text, and ``value``
(or ``label``), what it is; what else it has is left out.
"""

from collections.abc import Callable, Mapping
from typing import NoReturn

from actlake.storage.corpora import Span, Value
from actlake.storage.errors import CorpusError

__all__ = ["spans_of"]

_FORM = "give a list of {start, stop, value}, which JSON Lines, Parquet and Arrow can hold"


def spans_of(
    values: Mapping[str, object],
    columns: Mapping[str, str],
    document: str,
    value_of: Callable[[object, str, str], Value],
) -> dict[str, tuple[Span, ...]]:
    """The spans of each label whose column has a list, which may be empty; by label.

    ``value_of`` makes a label's value of what a file has, the label and the place. CorpusError,
    naming ``document`` and the label, for what is no list of spans. Whether they are in the text is
    not looked at.
    """
    found = {}
    for label, column in columns.items():
        match values.get(column):
            case None:
                continue
            case list(several):
                found[label] = tuple(
                    _span(one, f"span {number} of the label {label!r} of {document}", value_of)
                    for number, one in enumerate(several, 1)
                )
            case other:
                raise CorpusError(
                    f"the label {label!r} of {document} is {_shown(other)}, not spans; {_FORM}"
                )
    return found


def _span(item: object, place: str, value_of: Callable[[object, str, str], Value]) -> Span:
    if not isinstance(item, dict):
        _refuse(place, f"is {_shown(item)}")
    start, stop = _edge(item, place, "start"), _edge(item, place, "stop", "end")
    value = value_of(_fact(item, place, "value", "label"), "value", place)
    return Span(start, stop) if value is None else Span(start, stop, value)


def _edge(item: Mapping[str, object], place: str, *names: str) -> int:
    edge = _fact(item, place, *names)
    if not isinstance(edge, int) or isinstance(edge, bool):
        what = "nothing" if edge is None else _shown(edge)
        _refuse(place, f"has {what} for {names[0]!r}, which is a whole number")
    return edge


def _fact(item: Mapping[str, object], place: str, *names: str) -> object:
    """What is under the one of ``names``, ours or that of other tools, that is there."""
    given = [name for name in names if item.get(name) is not None]
    if len(given) > 1:
        _refuse(place, f"has both {given[0]!r} and {given[1]!r}")
    return item[given[0]] if given else None


def _refuse(place: str, what: str) -> NoReturn:
    raise CorpusError(f"{place} {what}; {_FORM}")


def _shown(value: object) -> str:
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "a structure"}
    return kinds.get(type(value), f"a {type(value).__name__}")
