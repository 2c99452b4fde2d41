"""Corpora: immutable lists of documents with labels."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field

import pyarrow as pa

from actlake.storage.errors import CorpusError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.handle import Connection, first_row
from actlake.storage.keys import check_name, sought
from actlake.storage.run import Run
from actlake.storage.transaction import StagedRows

__all__ = [
    "CorpusFacts",
    "Document",
    "Span",
    "check_spans",
    "corpus_facts",
    "examine_documents",
    "write_corpus",
]

PIECE_DOCUMENTS = 10_000
"""Documents in memory at once, and in one Parquet file, at most."""
PIECE_CHARACTERS = 1 << 23
"""The same of their texts, but for a longer one."""
PIECE_LABELS = 100_000
"""The same of their labels and spans, but for those of one document."""

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Span:
    """Some characters of a document that have a label, such as a name or a concept."""

    start: int
    """First code point in the document's text, from 0, as Python slices it."""
    stop: int
    """Code point after the last."""
    value: str | int | float | bool = True
    """What they are; nothing need be said of a label that is of one kind."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it comes from a source."""

    source_id: str
    text: str
    labels: Mapping[str, Value] = field(default_factory=dict)
    """Document-level values; None where the source has none."""
    spans: Mapping[str, Sequence[Span]] = field(default_factory=dict)
    """Labels of characters. None of a label that is here says that the document was looked at and
    has none; of a label that is not here nothing is known."""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What one reading of a source shows."""

    fingerprint: str
    documents: int


def examine_documents(documents: Iterable[Document], *, source: str) -> CorpusFacts:
    """Fingerprint and count of the documents, read once and not kept.

    CorpusError if there is none, or one has no text or a span outside it, or two share a source id,
    or a label is of documents here and of spans there.
    """
    hasher, count, seen = hashlib.sha256(), 0, set[str]()
    of_documents, of_spans = set[str](), set[str]()
    for document in documents:
        if not document.text or not document.text.strip():
            raise CorpusError(
                f"document {document.source_id!r} of {source} has no text; leave it out, "
                "or name the column that holds the text"
            )
        if document.source_id in seen:
            raise CorpusError(
                f"two documents of {source} have the id {document.source_id!r}; "
                "name a column of unique ids"
            )
        seen.add(document.source_id)
        for label in (*document.labels, *document.spans):
            check_name("label", label)
        check_spans(document, source)
        of_documents |= {label for label, value in document.labels.items() if value is not None}
        of_spans |= document.spans.keys()
        if both := of_documents & of_spans:
            raise CorpusError(
                f"the label {min(both)!r} of {source} is of whole documents and of spans, the "
                f"second as of document {document.source_id!r}; give one of them another name"
            )
        try:
            document.text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"the text of document {document.source_id!r} of {source} is no Unicode: "
                f"half a surrogate pair at character {error.start:,}; mend the text"
            ) from None
        facts: list[object] = [document.source_id, document.text, sorted(document.labels.items())]
        if document.spans:  # corpora without them keep their fingerprints
            parts = sorted(document.spans.items())
            facts.append([[name, [[*astuple(one)] for one in spans]] for name, spans in parts])
        hasher.update(json.dumps(facts).encode())
        count += 1
    if count == 0:
        raise CorpusError(f"{source} has no documents; a corpus needs at least one")
    return CorpusFacts(hasher.hexdigest()[:32], count)


def check_spans(document: Document, source: str) -> None:
    """CorpusError for a span that is not some characters of its document's text."""
    length = len(document.text)
    for label, spans in document.spans.items():
        for one in spans:
            if not all(type(edge) is int for edge in (one.start, one.stop)):
                raise CorpusError(
                    f"a span of the label {label!r} of document {document.source_id!r} of {source} "
                    f"is from {one.start!r} to {one.stop!r}; give both as int"
                )
            if not 0 <= one.start < one.stop <= length:
                raise CorpusError(
                    f"the span from {one.start} to {one.stop} of the label {label!r} is not in "
                    f"document {document.source_id!r} of {source}, which has {length:,} "
                    "characters; count code points from 0, stop being the one after the last"
                )


def corpus_facts(connection: Connection, corpus: str) -> CorpusFacts:
    """Fingerprint and count of a corpus; NotFoundError if there is none of that name."""
    query = "SELECT fingerprint, documents FROM corpora WHERE corpus = $corpus"
    row = first_row(connection.execute(query, {"corpus": sought(corpus)}))
    if row is None:
        raise NotFoundError(f"no corpus {corpus!r} in this lake; see `actlake ls corpora`")
    return CorpusFacts(*row)


def write_corpus(
    run: Run,
    name: str,
    source: str,
    facts: CorpusFacts,
    documents: Callable[[], Iterable[Document]],
) -> None:
    """Commit the corpus in one transaction, unless it is there; memory holds 10,000 documents,
    texts of some 8 million characters, and 100,000 labels.

    NameTakenError if the name means other documents; CorpusError if the second reading differs
    from the first.
    """
    check_name("corpus", name)
    run.hold(f"corpus:{name}")
    if run.exists("corpora", "corpus", name, facts.fingerprint):
        return
    row = {
        "corpus": name,
        "fingerprint": facts.fingerprint,
        "documents": facts.documents,
        "source": source,
        "run": run.run,
    }
    staged: list[StagedRows] = []
    try:
        if examine_documents(_staging(run, name, documents(), staged), source=source) != facts:
            raise CorpusError(f"{source} changed while it was read; ingest it again")
    except BaseException:
        for one in staged:
            one.discard()
        raise
    run.append(
        {"corpora": pa.Table.from_pylist([row], arrow_schema("corpora"))},
        f"corpus {name}, {facts.documents:,} documents",
        staged=staged,
    )


def _staging(
    run: Run, corpus: str, documents: Iterable[Document], staged: list[StagedRows]
) -> Iterable[Document]:
    """The same documents, each piece of them staged as it goes by."""
    texts: list[dict[str, object]] = []
    labels: list[dict[str, object]] = []
    waiting = 0

    def stage() -> None:
        for table, rows in (("documents", texts), ("labels", labels)):
            if rows:
                staged.append(
                    run.catalog.stage(table, pa.Table.from_pylist(rows, arrow_schema(table)))
                )
            rows.clear()

    for index, document in enumerate(documents):
        texts.append(
            {
                "corpus": corpus,
                "document": index,
                "source_id": document.source_id,
                "text": document.text,
            }
        )
        labels.extend(
            {"corpus": corpus, "label": label, "document": index} | _values(value)
            for label, value in document.labels.items()
            if value is not None
        )
        labels.extend({"corpus": corpus, "document": index} | row for row in _parts(document))
        waiting += len(document.text)
        full = waiting >= PIECE_CHARACTERS or len(labels) >= PIECE_LABELS
        if full or len(texts) == PIECE_DOCUMENTS:
            stage()
            waiting = 0
        yield document
    stage()


def _parts(document: Document) -> Iterator[dict[str, object]]:
    """A row a span; of a label without any, one of no characters and no value, which says so."""
    for label, spans in document.spans.items():
        for one in spans:
            edges = {"char_start": one.start, "char_stop": one.stop}
            yield {"label": label} | edges | _values(one.value)
        if not spans:
            yield {"label": label, "char_start": 0, "char_stop": 0}


def _values(value: Value) -> dict[str, object]:
    """A label's text, and its number where it is one."""
    if isinstance(value, bool | str):
        return {"value_text": str(value)}
    return {"value_text": str(value), "value_real": None if value is None else float(value)}
