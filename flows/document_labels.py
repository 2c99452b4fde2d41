"""Labels of documents as columns: what hypotheses are about, and what keeps documents together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.analytics.hypotheses.labels import numbered, one_versus_rest
from actlake.flows.source_files import nearest
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.lake import Lake

__all__ = [
    "MOST_CLASSES",
    "Target",
    "classes_of",
    "document_label",
    "few_enough",
    "is_of_spans",
    "numbers_of",
    "target_of",
]

MOST_CLASSES = 50
"""Of a label that is cut into one class against all others."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a feature may go with, a number a document."""

    label: str
    level: str
    """The class that is 1 where others are 0; empty for a number."""
    values: NDArray[np.float64]
    """Shape (documents,); NaN where the document lacks the label."""
    stratum: NDArray[Any] | None
    """Which of the two a document is, as text to balance the split by; None for a number."""

    def __str__(self) -> str:
        return f"{self.label} = {self.level}" if self.level else self.label


def document_label(lake: Lake, corpus: str, label: str, documents: int) -> NDArray[Any]:
    """The values of a label, shape (documents,), floats or text; None where one is missing.

    NotFoundError with the nearest names for an unknown label; InputError for one with several
    values in a document, or of spans.
    """
    query = """
        SELECT document, value_text, value_real FROM labels
        WHERE corpus = $corpus AND label = $label AND char_start IS NULL ORDER BY document
    """
    found = lake.sql(query, corpus=corpus, label=label).arrow()
    if found.num_rows == 0 and is_of_spans(lake, corpus, label):
        raise InputError(
            f"the label {label} of {corpus} is of spans and not of documents; score it with "
            "`actlake summarize-labels --level token`, or give another label"
        )
    if found.num_rows == 0:
        known = lake.sql(
            "SELECT DISTINCT label FROM labels WHERE corpus = $corpus AND char_start IS NULL "
            "ORDER BY label",
            corpus=corpus,
        )
        names = [str(name) for (name,) in known.rows()]
        raise NotFoundError(
            f"no label {label!r} on the documents of {corpus}; {nearest(label, names)}"
        )
    document = found["document"].to_numpy()
    if (np.diff(document) == 0).any():
        raise InputError(
            f"label {label} of {corpus} has several values in one document; choose another label"
        )
    values = np.full(documents, None, object)
    real = found["value_real"]
    column = found["value_text"] if real.null_count else real
    values[document] = column.to_pylist()
    return values


def is_of_spans(lake: Lake, corpus: str, label: str) -> bool:
    """Whether a label is of characters, and not of whole documents; False for an unknown one."""
    query = """
        SELECT count(*) FROM labels
        WHERE corpus = $corpus AND label = $label AND char_start IS NOT NULL
    """
    [(spans,)] = lake.sql(query, corpus=corpus, label=label).rows()
    return spans != 0


def target_of(values: NDArray[Any], label: str, level: str | None) -> Target:
    """The target that ``level`` of a label is against all others, or the label's number.

    A label of two classes needs no level: the first in order is taken. A number is a class where a
    level is given, by its shortest exact text: 1 for 1.0, 0.25. InputError for more than two
    classes without a level; NotFoundError for a level that is not there.
    """
    present = [value for value in values.tolist() if value is not None]
    is_number = all(isinstance(value, float) for value in present)
    if is_number and level is None:
        numbers = np.array([np.nan if value is None else value for value in values.tolist()])
        return Target(label, "", numbers, None)
    texts = np.array([None if value is None else _text(value) for value in values.tolist()], object)
    classes = numbered(texts)[1].tolist()
    if level is None and len(classes) > 2:
        raise InputError(
            f"label {label} has {len(classes)} classes; choose one of them with --level, such as "
            f"{', '.join(classes[:5])}"
        )
    chosen = classes[0] if level is None else level
    if chosen not in classes:
        raise NotFoundError(f"no document has {label} {chosen!r}; {nearest(chosen, classes)}")
    column = one_versus_rest(texts)[0][:, classes.index(chosen)]
    stratum = np.full(len(column), None, object)
    stratum[column == 1], stratum[column == 0] = chosen, f"other than {chosen}"
    return Target(label, chosen, column, stratum)


def numbers_of(values: NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """A number for each document's value, -1 where it has none, and the values as text."""
    texts = np.array([None if value is None else _text(value) for value in values.tolist()], object)
    number, classes = numbered(texts)
    return number, classes.tolist()


def classes_of(values: NDArray[Any], label: str) -> tuple[NDArray[np.int64], list[str]]:
    """The number of each document's class, -1 where it lacks the label, and the classes as text.

    Numbers are classes by their shortest exact text. InputError for fewer than two classes, and
    for more than ``MOST_CLASSES``.
    """
    number, classes = numbers_of(values)
    if len(classes) < 2:
        raise InputError(
            f"label {label} has one value, {classes[0]!r}, so nothing can be told from it; give "
            "a label of two values or more"
        )
    return number, few_enough([str(one) for one in classes], label)


def few_enough(classes: list[str], label: str) -> list[str]:
    """The classes as they are; InputError for more than ``MOST_CLASSES``."""
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"label {label} has {len(classes)} values, more than {MOST_CLASSES}; give a label of "
            "fewer, such as decades in place of years"
        )
    return classes


def _text(value: object) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)  # of a float the shortest text that reads as the same
