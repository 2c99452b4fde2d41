"""ingest: documents and labels into a corpus, and its rows for a model or for whole documents."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from actlake.flows.default_names import chosen_name, documents_name, rowset_name
from actlake.flows.image_corpora import images_in, refuse_other_kind
from actlake.flows.progress import progress, say
from actlake.flows.row_blocks import document_blocks, write_rows
from actlake.flows.rowset_checks import (
    refuse_long_window,
    refuse_taken_tokenizer,
    refuse_windows_of_images,
    refuse_withdrawn_text,
)
from actlake.flows.sources import Source, SourceReport, place_of, read
from actlake.storage.corpora import Document, examine_documents, write_corpus
from actlake.storage.errors import InputError, NameTakenError, NotFoundError
from actlake.storage.fields import ROW_COLUMNS
from actlake.storage.guard import check_predicate
from actlake.storage.keys import Json, check_name
from actlake.storage.lake import Lake
from actlake.storage.masks import Mask, rows_where
from actlake.storage.names import is_made
from actlake.storage.rowset_writer import RowsetPlan, write_rowset
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import WIDTH_HINT

if TYPE_CHECKING:
    from actlake.flows.extraction.models import ModelFacts

__all__ = ["ingest", "ingest_documents", "ingest_tokens", "mask_asked", "token_plan"]

SAID = ("token_id", "char_start", "char_stop")
"""Columns that are emptied when a document is taken back."""


def ingest(lake: Lake, *, corpus: str, source: Source) -> None:
    """The documents of ``source`` are in the lake as ``corpus``, with their labels.

    The source is read twice, once to check and fingerprint it and once to store it, so that a
    faulty one changes nothing. CorpusError if it is empty, or has a document without text.
    """
    check_name("corpus", corpus)
    name = source.path
    found: list[SourceReport] = []
    facts = examine_documents(read(source, report=found.append), source=name)
    is_made(lake.reading.connection(), "corpora", corpus, facts.fingerprint)
    with lake.run("ingest", {"corpus": corpus, "source": name}, {corpus: facts.fingerprint}) as run:
        if run.done:
            say(f"ingest: corpus {corpus} found complete, {facts.documents:,} documents")
            return
        with progress(f"ingest {corpus}", facts.documents, "documents") as advance:
            place = place_of(source)
            write_corpus(run, corpus, place, facts, lambda: _counted(read(source), advance))
        say(f"ingest: {found[0]}")


def ingest_documents(lake: Lake, *, corpus: str, width_hint: int = WIDTH_HINT) -> str:
    """Name of the corpus's document rowset: one row a document."""
    plan = RowsetPlan(
        name=documents_name(corpus),
        corpus=corpus,
        corpus_fingerprint=lake.corpus_fingerprint(corpus),
        kind="document",
        width_hint=width_hint,
    )
    with _rowset_run(lake, plan) as run:
        if not run.done:
            write_rowset(run, plan, partial(document_blocks, lake, corpus))
    return plan.name


def ingest_tokens(
    lake: Lake,
    *,
    corpus: str,
    source: str,
    model: str | None = None,
    revision: str | None = None,
    window: int | None = None,
    overlap: int = 0,
    windowing: str = "document",
    rowset: str | None = None,
    rows: str | None = None,
    width_hint: int = WIDTH_HINT,
    trust_remote_code: bool = False,
) -> str:
    """Name of the rowset that the tokenizer of the model at ``source`` makes of the corpus.

    Of a corpus of images the rows are patches, an image is a window, and the window is not chosen.

    window
        Tokens of a window at most, by default the smaller of 1,024 and the model's limit.
    overlap
        Tokens that a window carries from the one before.
    windowing
        document (windows never cross documents) or packed (cut from the joined corpus).
    rows
        A mask: the name is then that of a second rowset, of the rows under it alone. One that the
        lake does not have is made of ``NAME=CONDITION``, such as ``fourth=position % 4 = 0``.
    """
    from actlake.flows.extraction import models

    facts = models.inspect_model(
        source, name=model, revision=revision, trust_remote_code=trust_remote_code
    )
    plan = token_plan(
        lake,
        facts,
        corpus=corpus,
        corpus_fingerprint=lake.corpus_fingerprint(corpus),
        window=window,
        overlap=overlap,
        windowing=windowing,
        rowset=rowset,
        width_hint=width_hint,
    )
    refuse_withdrawn_text(lake, plan.name, corpus)
    refuse_other_kind(corpus, facts, images=images_in(lake, corpus) is not None)
    chosen = None if rows is None else mask_asked(lake, rows)
    with _rowset_run(lake, plan) as run:
        if not run.done:
            write_rows(lake, run, plan, facts)
    return plan.name if chosen is None else _choose_rows(lake, plan, chosen)


def token_plan(
    lake: Lake,
    facts: "ModelFacts",
    *,
    corpus: str,
    corpus_fingerprint: str,
    window: int | None,
    overlap: int,
    windowing: str,
    rowset: str | None,
    width_hint: int = WIDTH_HINT,
) -> RowsetPlan:
    """The rows that the model's tokenizer makes of a corpus.

    InputError for windows that the model cannot take, NameTakenError if its tokenizer has the name
    of another one.
    """
    refuse_windows_of_images(facts, window, overlap, windowing)
    cut = facts.default_window if window is None else window
    shown = None if cut == facts.default_window else cut
    name = rowset_name(corpus, facts.tokenizer, shown) if rowset is None else rowset
    refuse_long_window(check_name("rowset", name), cut, facts)
    refuse_taken_tokenizer(lake, facts)
    return RowsetPlan(
        name=name,
        corpus=corpus,
        corpus_fingerprint=corpus_fingerprint,
        kind="token" if facts.patches is None else "patch",
        tokenizer=facts.tokenizer,
        tokenizer_fingerprint=facts.tokenizer_fingerprint,
        windowing=windowing,
        window=cut,
        overlap=overlap,
        width_hint=width_hint,
    )


def mask_asked(lake: Lake, rows: str) -> Mask:
    """The mask NAME, or NAME=CONDITION, which need not be in the lake yet.

    NotFoundError for a name alone that is not there, NameTakenError for one of another condition,
    InputError for a condition on what documents say.
    """
    name, equals, condition = rows.partition("=")
    try:
        known = lake.mask(name)
    except NotFoundError:
        if not equals:
            raise
        check_predicate(condition, "tokens", con=lake.reading.connection().raw)
        known = Mask(check_name("mask", name), condition)
    if said := next((one for one in SAID if one in known.predicate.lower()), None):
        raise InputError(
            f"the mask {name} asks for {said}, and rows that are chosen by what a document says "
            "would tell it when the document is taken back; choose by where they stand"
        )
    if equals and condition != known.predicate:
        raise NameTakenError(
            f"the mask {name} means {known.predicate}, not {condition}; choose another name"
        )
    return known


def _choose_rows(lake: Lake, whole: RowsetPlan, mask: Mask) -> str:
    """Name of the rowset of those rows of another one that are under the mask."""
    plan = replace(
        whole,
        name=chosen_name(whole.name, mask.name),
        parent=whole.name,
        parent_fingerprint=whole.fingerprint(),
        mask=mask.name,
        mask_fingerprint=mask.fingerprint,
    )
    check_name("rowset", plan.name)
    lake.create_mask(mask.name, mask.predicate)
    with _rowset_run(lake, plan) as run:
        if not run.done:
            write_rowset(run, plan, partial(_chosen_blocks, lake, lake.rowset(whole.name), mask))
    return plan.name


def _chosen_blocks(
    lake: Lake, whole: Rowset, mask: Mask, done: int, _rows: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Of each shard after the first ``done``."""
    for shard in range(done, len(whole.grid)):
        span = whole.grid.span(shard)
        # Also of documents that were taken back: which rows these are must not depend on when.
        kept = rows_where(lake.reading, mask, whole, *span)
        yield {name: whole.column(name, *span)[kept] for name in ROW_COLUMNS}


def _rowset_run(lake: Lake, plan: RowsetPlan) -> AbstractContextManager[Run]:
    check_name("rowset", plan.name)
    parameters: dict[str, Json] = {"rowset": plan.name, "width_hint": plan.width_hint}
    return lake.run("ingest", parameters, {plan.name: plan.fingerprint()})


def _counted(documents: Iterable[Document], advance: Callable[[int], None]) -> Iterator[Document]:
    for document in documents:
        advance(1)
        yield document
