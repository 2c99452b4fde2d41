"""Corpora: immutable lists of documents with labels."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from actlake.storage.errors import CorpusError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.handle import Connection, first_row
from actlake.storage.keys import check_name, sought
from actlake.storage.run import Run
from actlake.storage.transaction import StagedRows

__all__ = ["CorpusFacts", "Document", "corpus_facts", "examine_documents", "write_corpus"]

PIECE_DOCUMENTS = 10_000
"""Documents in memory at once, and in one Parquet file."""

Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Document:
    """One document as it comes from a source."""

    source_id: str
    text: str
    labels: Mapping[str, Value] = field(default_factory=dict)
    """Document-level values; None where the source has none."""


@dataclass(frozen=True, slots=True)
class CorpusFacts:
    """What one reading of a source shows."""

    fingerprint: str
    documents: int


def examine_documents(documents: Iterable[Document], *, source: str) -> CorpusFacts:
    """Fingerprint and count of the documents, read once and not kept.

    CorpusError if there is none, or one has no text, or two share a source id.
    """
    hasher, count, seen = hashlib.sha256(), 0, set[str]()
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
        for label in document.labels:
            check_name("label", label)
        try:
            document.text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"the text of document {document.source_id!r} of {source} is no Unicode: "
                f"half a surrogate pair at character {error.start:,}; mend the text"
            ) from None
        facts = [document.source_id, document.text, sorted(document.labels.items())]
        hasher.update(json.dumps(facts).encode())
        count += 1
    if count == 0:
        raise CorpusError(f"{source} has no documents; a corpus needs at least one")
    return CorpusFacts(hasher.hexdigest()[:32], count)


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
    """Commit the corpus in one transaction, unless it is there; memory holds 10,000 documents.

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
        if len(texts) == PIECE_DOCUMENTS:
            stage()
        yield document
    stage()


def _values(value: Value) -> dict[str, object]:
    """A label's text, and its number where it is one."""
    if isinstance(value, bool | str):
        return {"value_text": str(value)}
    return {"value_text": str(value), "value_real": None if value is None else float(value)}
