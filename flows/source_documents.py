"""Documents from the records of files: an id, a text and labels, or a refusal that says where."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal

from actlake.flows.source_files import SourceFile, find_files, nearest
from actlake.flows.source_images import FOLDER
from actlake.flows.source_rows import Row, read_rows
from actlake.flows.source_spans import spans_of
from actlake.storage.corpora import Document, Value, check_spans
from actlake.storage.errors import CorpusError, InputError
from actlake.storage.keys import check_name

__all__ = ["Columns", "Metadata", "columns_of_labels", "documents_of"]


_KINDS = {"text": "text", "image": "an image", "array": "an array of images"}
_COLUMNS: dict[str, tuple[str, ...]] = {"text": (), "image": (FOLDER,), "array": ()}
"""What files that are no tables have beside their text, by format."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a record become what."""

    text: str
    id: str | None
    labels: Mapping[str, str] | None
    """Column of each label; None for every other column, as itself."""
    spans: Mapping[str, str] = field(default_factory=dict)
    """Column of each label of spans."""


class Metadata:
    """The rows of a table by the ids of their documents, in memory."""

    def __init__(self, place: str, key: str) -> None:
        """Raises CorpusError for a table that cannot be read or has two rows for a document."""
        self.place, self.key = place, key
        self.columns: set[str] = set()
        self._rows: dict[str, Mapping[str, object]] = {}
        for file in find_files(place):
            if file.format in _COLUMNS:
                raise CorpusError(
                    f"{file.path} is {_KINDS[file.format]}; metadata is a table such as .csv"
                )
            for row in read_rows(file, text="", as_text=(key,)):
                if key not in row.values:
                    raise CorpusError(
                        f"no column {key!r} in the metadata {row.place}; {nearest(key, row.values)}"
                    )
                name = str(row.values[key])
                if name in self._rows:
                    raise CorpusError(
                        f"{row.place} is a second row of metadata for {name!r}; keep one of them"
                    )
                self._rows[name] = row.values
                self.columns |= row.values.keys()

    def of(self, name: str, row: Row) -> Mapping[str, object]:
        """The columns of the document ``name``, which came from ``row``."""
        if name not in self._rows:
            raise CorpusError(
                f"no row of {self.place} has {self.key} = {name!r}, the id of {row.place}; add "
                f"it, or leave the document out ({nearest(name, self._rows)})"
            )
        return self._rows[name]


def documents_of(
    files: Sequence[SourceFile], columns: Columns, metadata: Metadata | None = None
) -> Iterator[Document]:
    """The documents in ``files``, whole, one a record.

    Raises CorpusError for a record without text or id, without its row of metadata, with a label
    that is neither text nor a number nor a truth value, or with spans that are none of its text,
    and for columns that no record has.
    """
    labels, spans = _own(columns.labels, metadata), _own(columns.spans, metadata) or []
    wanted = None
    if labels is not None:
        wanted = [columns.text, *([] if columns.id is None else [columns.id]), *labels, *spans]
    absent = {*(wanted or ()), *spans}
    for file in files:
        if file.format in _COLUMNS:
            own = {columns.text, *_COLUMNS[file.format]}
            _refuse_columns(file, [name for name in wanted or () if name not in own], metadata)
        as_text = (columns.text, columns.id or columns.text)
        for row in read_rows(file, text=columns.text, as_text=as_text, columns=wanted):
            absent -= row.values.keys()
            name, text = _identity(row, columns.id), _text(row, columns)
            more = metadata.of(name, row) if metadata else {}
            place = f"{row.place} or {metadata.place}" if metadata else row.place
            values = _joined(row, columns, more, place)
            labels_of = _labels(values, columns, place)
            if twice := labels_of.keys() & row.always.keys():
                raise CorpusError(
                    f"{place} has the label {min(twice)!r}, which every image has; rename it"
                )
            document = Document(
                name,
                text,
                {**labels_of, **row.always},
                spans_of(values, columns.spans, f"document {name!r} ({place})", _value),
            )
            check_spans(document, place)
            yield document
    if files and absent:
        raise CorpusError(
            f"no record of {files[0].path} has {min(absent)!r}; name a column that is there"
        )


def columns_of_labels(labels: Sequence[str] | None) -> dict[str, str] | None:
    """The column of each label, written ``column`` or ``label=column``; None for None.

    Raises InputError for names that no label can have, and for one that is given twice.
    """
    if labels is None:
        return None
    found: dict[str, str] = {}
    for one in labels:
        name, equals, column = one.partition("=")
        if check_name("label", name) in found:
            raise InputError(f"two labels are called {name!r}; name each once")
        found[name] = column if equals else name
    return found


def _own(columns: Mapping[str, str] | None, metadata: Metadata | None) -> list[str] | None:
    """The columns of labels that the files themselves must have; None for all that they have."""
    if columns is None:
        return None
    elsewhere = metadata.columns if metadata else set()
    return [column for column in columns.values() if column not in elsewhere]


def _refuse_columns(file: SourceFile, names: Sequence[str], metadata: Metadata | None) -> None:
    if names:
        known = f" ({nearest(names[0], sorted(metadata.columns))})" if metadata else ""
        raise CorpusError(
            f"{file.path} is {_KINDS[file.format]} and has no column {names[0]!r}; give a table "
            f"that has it as metadata{known}"
        )


def _joined(
    row: Row, columns: Columns, more: Mapping[str, object], place: str
) -> dict[str, object]:
    """The columns that labels come from: of the record, and ``more`` of its metadata."""
    if columns.labels is not None:
        return {**row.values, **more}
    own = {k: v for k, v in row.values.items() if k not in (columns.text, columns.id)}
    for column in sorted(own.keys() & more.keys()):
        raise CorpusError(
            f"{row.place} and its metadata both have {column!r}; rename it in {place}"
        )
    return {**own, **more}


def _identity(row: Row, column: str | None) -> str:
    if column is None:
        return row.name
    value = row.values.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise CorpusError(
            f"{row.place} has no id: {column!r} is {_shown(value)}; {_hint(row, column, 'id')}"
        )
    return _unicode(str(value), row.place)


def _text(row: Row, columns: Columns) -> str:
    value = row.values.get(columns.text)
    if not isinstance(value, str) or not value.strip():
        name = row.values.get(columns.id) if columns.id else row.name
        raise CorpusError(
            f"document {name!r} ({row.place}) has no text: {columns.text!r} is {_shown(value)}; "
            f"{_hint(row, columns.text, 'text')}"
        )
    return _unicode(value, row.place)


def _hint(row: Row, column: str, field: str) -> str:
    if column in row.values:
        return "leave the record out, or mend it"
    return f"name the column with {field} = …, {nearest(column, row.values)}"


def _labels(values: Mapping[str, object], columns: Columns, place: str) -> dict[str, Value]:
    labels = columns.labels
    if labels is None:
        labels = {column: column for column in values if column not in columns.spans.values()}
        for column in labels:
            try:
                check_name("label", column)
            except InputError as error:
                raise CorpusError(
                    f"the column {column!r} of {place} cannot be the name of a label; choose "
                    f'columns with labels = ["name={column}", …]'
                ) from error
    return {name: _value(values.get(column), name, place) for name, column in labels.items()}


def _value(value: object, label: str, place: str) -> Value:
    match value:
        case None | bool():
            return value
        case int():
            return value if -(1 << 63) <= value < 1 << 63 else str(value)
        case float():
            return None if math.isnan(value) else value
        case str():
            return _unicode(value, place)
        case Decimal():
            return float(value)
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            raise CorpusError(
                f"the label {label!r} of {place} is {_shown(value)}; labels are text, numbers or "
                "truth values: choose others with labels = […], or a list of spans with spans"
            )


def _unicode(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{place} holds half a surrogate pair at character {error.start + 1} of a value, which "
            "is no text; mend the escape"
        ) from error
    return text


def _shown(value: object) -> str:
    match value:
        case None:
            return "missing"
        case str():
            return "blank"
        case list():
            return "a list"
        case dict():
            return "a structure"
        case _:
            return f"a {type(value).__name__}"
