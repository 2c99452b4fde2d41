"""Where documents come from: text files, JSON Lines, CSV, Parquet and Arrow, and images.

Any other source is Python: what ingests documents takes any iterable of ``Document``.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from actlake.flows.selection import select
from actlake.flows.source_documents import Columns, Metadata, columns_of_labels, documents_of
from actlake.flows.source_files import FORMATS, Format, SourceFile, find_files
from actlake.flows.source_images import IMAGES, place_of_images
from actlake.storage.corpora import Document, Span
from actlake.storage.errors import CorpusError, InputError

__all__ = ["Source", "SourceReport", "holds_images", "place_of", "read"]

Unit = Literal["document", "paragraph", "line"]

_BLANK_LINES, _NEW_LINE = re.compile(r"\n\s*\n"), re.compile(r"\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which documents to read, and what is known of each."""

    path: str
    """File, folder, glob, or `package:NAME/path` inside an installed Python package."""
    format: Format | None = None
    """By default what the suffix says; .gz, .bz2 and .zst are unpacked."""
    text: str = "text"
    """Column that holds the text; a text file is all text, and that of an image is its path."""
    id: str | None = None
    """Column of unique ids; by default the file's name, and behind it the number of the row."""
    labels: tuple[str, ...] | None = None
    """Columns to keep as labels, each `column` or `label=column`; by default all others."""
    spans: tuple[str, ...] = ()
    """Columns of lists of spans to keep as labels, each `column` or `label=column`."""
    metadata: str | None = None
    """Table with more columns, a row a document."""
    metadata_key: str | None = None
    """Column of the metadata that holds the ids of the documents."""
    unit: Unit = "document"
    """Whole documents, or their paragraphs (split at blank lines) or lines, each a document."""
    min_words: int = 0
    """Leave out documents of fewer words."""
    where: str | None = None
    """SQL condition over labels; documents for which it holds are kept."""
    sample: int | None = None
    """Documents to keep at most, chosen by the hashes of their ids."""
    stratify: str | None = None
    """Label whose values share the sample in proportion, at least one document each."""
    seed: int = 0
    """Another seed gives another sample."""

    def __post_init__(self) -> None:
        """Raises InputError for values that do not go together."""
        if not self.path:
            raise InputError("the path of the source is empty; name a file, a folder or a glob")
        if self.format not in (None, *FORMATS):
            raise InputError(f"no format {self.format!r}; choose one of {', '.join(FORMATS)}")
        if self.unit not in get_args(Unit):
            raise InputError(f"no unit {self.unit!r}; choose document, paragraph or line")
        if (self.metadata is None) != (self.metadata_key is None):
            raise InputError("metadata and metadata_key go together; give both or none")
        if self.stratify is not None and self.sample is None:
            raise InputError("stratify without sample does nothing; give the size of the sample")
        for name, least in (("min_words", 0), ("sample", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")
        columns_of_labels([*(self.labels or ()), *self.spans])  # also that no two share a name


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What one reading of a source found, and what it left out as asked."""

    files: int
    unit: Unit
    units: int
    """Documents, paragraphs or lines with text."""
    too_short: int
    """Of these, fewer words than ``min_words``."""
    outside: int
    """Of the rest, ``where`` does not hold."""
    unsampled: int
    """Of the rest, not in the sample."""

    @property
    def documents(self) -> int:
        """Documents that were given."""
        return self.units - self.too_short - self.outside - self.unsampled

    def __str__(self) -> str:
        left_out = [
            f"{count:,} {why}"
            for count, why in (
                (self.too_short, "too short"),
                (self.outside, "outside the condition"),
                (self.unsampled, "not in the sample"),
            )
            if count
        ]
        found = f"{_counted(self.files, 'file')}, {_counted(self.units, self.unit)}"
        return f"{found}, of which {', '.join(left_out)}" if left_out else found


def read(
    source: Source, *, report: Callable[[SourceReport], None] | None = None
) -> Iterator[Document]:
    """The documents of ``source``, always in the same order: files by path, rows as they stand.

    Paragraphs and lines have the id ``document#n`` and a label ``paragraph`` or ``line`` with that
    n, counted from 1 before ``min_words`` leaves any out; spans are cut at their edges. Integers,
    reals and truth values keep their kind, dates become text, and what is missing is None.
    ``report`` is called once, at the end. Memory holds one file of text, or one batch of rows, and
    the metadata; a condition or a sample takes a pass of its own before, which keeps the labels.

    Raises CorpusError with file and line or row for what cannot be read, for a document without
    text or without its row of metadata, and for columns that are not there.
    """
    files = find_files(source.path, source.format)
    if files[0].format in IMAGES and (
        source.unit != "document" or source.min_words or source.spans
    ):
        raise InputError(
            f"{source.path} holds images, which have no paragraphs, lines, words or characters; "
            "leave out the unit, the least number of words and the spans"
        )
    counts: Counter[str] = Counter()
    if source.where is None and source.sample is None:
        yield from _units(source, files, counts)
        outside = unsampled = 0
    else:
        selection = select(
            _units(source, files, Counter()),
            where=source.where,
            sample=source.sample,
            stratify=source.stratify,
            seed=source.seed,
        )
        kept, seen = selection.kept, 0
        for document in _units(source, files, counts):
            if seen < len(kept) and kept[seen]:
                yield document
            seen += 1
        if seen != len(kept):
            raise CorpusError(f"{source.path} changed while it was read; read it again")
        outside = selection.outside
        unsampled = seen - outside - int(kept.sum())
    if report is not None:
        found = (len(files), source.unit, counts["units"], counts["too short"])
        report(SourceReport(*found, outside, unsampled))


def holds_images(source: Source) -> bool:
    """Whether the documents of ``source`` are images; CorpusError if it has no files."""
    return find_files(source.path, source.format)[0].format in IMAGES


def place_of(source: Source) -> str:
    """What a corpus says of where it comes from; of images so that they can be read again."""
    first = find_files(source.path, source.format)[0]
    return place_of_images(first) if first.format in IMAGES else source.path


def _units(source: Source, files: Sequence[SourceFile], counts: Counter[str]) -> Iterator[Document]:
    """Every document, paragraph or line that is long enough."""
    metadata = None
    if source.metadata is not None and source.metadata_key is not None:
        metadata = Metadata(source.metadata, source.metadata_key)
    spans = columns_of_labels(source.spans) or {}
    columns = Columns(source.text, source.id, columns_of_labels(source.labels), spans)
    for document in documents_of(files, columns, metadata):
        for unit in _split(document, source.unit):
            counts["units"] += 1
            if source.min_words and len(unit.text.split()) < source.min_words:
                counts["too short"] += 1
            else:
                yield unit


def _split(document: Document, unit: Unit) -> Iterator[Document]:
    if unit == "document":
        yield document
        return
    if unit in document.labels or unit in document.spans:
        raise CorpusError(
            f"the label {unit!r} of document {document.source_id!r} is also the number of the "
            f"{unit}; give it another name: labels = ['other={unit}']"
        )
    parts = [*_parts(document.text, _BLANK_LINES if unit == "paragraph" else _NEW_LINE)]
    cut = _cut(document.spans, parts)
    for number, ((_, text), spans) in enumerate(zip(parts, cut, strict=True), 1):
        labels = {**document.labels, unit: number}
        yield Document(f"{document.source_id}#{number}", text, labels, spans)


def _parts(text: str, between: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """Where each part that is not blank begins, and the part."""
    start = 0
    for one in (*between.finditer(text), None):
        part = text[start : len(text) if one is None else one.start()]
        if part.strip():
            yield start + len(part) - len(part.lstrip()), part.strip()
        start = len(text) if one is None else one.end()


def _cut(
    spans: Mapping[str, Sequence[Span]], parts: Sequence[tuple[int, str]]
) -> list[dict[str, list[Span]]]:
    """The spans of each part, counted from where it begins."""
    found: list[dict[str, list[Span]]] = [{label: [] for label in spans} for _ in parts]
    stops = [start + len(text) for start, text in parts]
    for label, of_label in spans.items():
        for one in of_label:
            first = bisect_right(stops, one.start)
            for (start, text), here in zip(parts[first:], found[first:], strict=True):
                if start >= one.stop:
                    break
                edges = max(one.start - start, 0), min(one.stop - start, len(text))
                here[label].append(Span(*edges, one.value))
    return found


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
