"""Whether rows and a model belong together: the same corpus, tokenizer and positions."""

from dataclasses import replace
from typing import TYPE_CHECKING

from actlake.flows.default_names import documents_name
from actlake.storage.errors import InputError, NameTakenError, NotFoundError
from actlake.storage.lake import Lake
from actlake.storage.rowset_writer import RowsetPlan
from actlake.storage.rowsets import Rowset

if TYPE_CHECKING:
    from actlake.flows.extraction.models import ModelFacts

__all__ = [
    "refuse_long_window",
    "refuse_other_tokenizer",
    "refuse_taken_tokenizer",
    "refuse_windows_of_images",
    "refuse_withdrawn_text",
    "rowset_of",
]


def rowset_of(lake: Lake, name: str, corpus: str, source: str, rows: str | None = None) -> Rowset:
    """The rowset ``name``, which must be of ``corpus``.

    NotFoundError with the command that makes it for the model at ``source``, InputError for rows
    of another corpus.
    """
    try:
        rowset = lake.rowset(name)
    except NotFoundError:
        how = "--documents" if name == documents_name(corpus) else f"--model {source}"
        if rows is not None:
            how += f" --rows {rows}"
        raise NotFoundError(
            f"no rowset {name!r} in {lake.root}; make it with `actlake ingest … --corpus {corpus} "
            f"{how}`, or give --rowset one that `actlake ls rowsets` shows"
        ) from None
    if rowset.corpus != corpus:
        raise InputError(
            f"rowset {name} is of the corpus {rowset.corpus} and not of {corpus}; name rows of "
            "that corpus"
        )
    return rowset


def refuse_other_tokenizer(lake: Lake, rowset: Rowset, facts: "ModelFacts") -> None:
    """InputError unless ``rowset`` was cut with the model's tokenizer, into windows it can take."""
    if rowset.kind == "document":
        raise InputError(f"rowset {rowset.name} has no tokens; name one that ingest made")
    if not _cut_with(lake, rowset, facts):
        raise InputError(
            f"rowset {rowset.name} was cut with another tokenizer than that of {facts.name}; "
            f"make one with `actlake ingest … --model {facts.source}`"
        )
    refuse_long_window(rowset.name, rowset.window or 0, facts)


def refuse_long_window(rowset: str, window: int, facts: "ModelFacts") -> None:
    """InputError where ``window`` tokens are more than the model has positions for."""
    if facts.window_limit is not None and window > facts.window_limit:
        raise InputError(
            f"rowset {rowset} has windows of {window} tokens and {facts.name} takes "
            f"{facts.window_limit}; ingest it with a smaller --window"
        )


def refuse_windows_of_images(
    facts: "ModelFacts", window: int | None, overlap: int, windowing: str
) -> None:
    """InputError where a model that sees images is told how to cut text."""
    if facts.patches is not None and (
        window not in (None, facts.patches.tokens) or overlap or windowing != "document"
    ):
        raise InputError(
            f"{facts.name} sees images, and an image is one window of {facts.patches.tokens} rows; "
            "leave out window, overlap and windowing"
        )


def refuse_withdrawn_text(lake: Lake, rowset: str, corpus: str) -> None:
    """InputError if ``rowset`` has to be cut from documents of which some were withdrawn.

    Rows of what such a document said would not be where other rowsets have them.
    """
    query = """
        SELECT min(document) FROM withdrawals WHERE corpus = $corpus
        AND NOT EXISTS (SELECT 1 FROM rowsets WHERE rowset = $rowset)
    """
    [(document,)] = lake.sql(query, corpus=corpus, rowset=rowset).rows()
    if document is not None:
        raise InputError(
            f"rowset {rowset} cannot be cut: document {document} of corpus {corpus} was withdrawn, "
            "and its text is gone; ingest the others as a corpus of another name"
        )


def refuse_taken_tokenizer(lake: Lake, facts: "ModelFacts") -> None:
    """NameTakenError if rows were cut with another tokenizer of the same name.

    The vocabulary is stored by that name, so their tokens would show as those of the other.
    """
    query = """
        SELECT rowset FROM rowsets
        WHERE tokenizer = $tokenizer AND windowing IS NOT NULL ORDER BY rowset LIMIT 1
    """
    for (name,) in lake.sql(query, tokenizer=facts.tokenizer).rows():
        if not _cut_with(lake, lake.rowset(str(name)), facts):
            raise NameTakenError(
                f"the tokenizer name {facts.tokenizer!r} is taken: rowset {name} was cut with "
                f"another one of that name; give the model {facts.source} another name"
            )


def _cut_with(lake: Lake, rowset: Rowset, facts: "ModelFacts") -> bool:
    """Whether the rowset's fingerprint is the one that the model's tokenizer gives."""
    rowset = rowset.parent or rowset
    plan = RowsetPlan(
        name=rowset.name,
        corpus=rowset.corpus,
        corpus_fingerprint=lake.corpus_fingerprint(rowset.corpus),
        kind=rowset.kind,
        tokenizer=rowset.tokenizer,
        windowing=rowset.windowing,
        window=rowset.window,
        overlap=rowset.overlap,
    )
    ours = replace(plan, tokenizer_fingerprint=facts.tokenizer_fingerprint)
    return ours.fingerprint() == rowset.fingerprint
