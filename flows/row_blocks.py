"""The rows of a corpus as they are cut: of each document, or each image, a block of row columns."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from actlake.flows.progress import progress, say
from actlake.storage.lake import Lake
from actlake.storage.reading import Bounds
from actlake.storage.rowset_writer import RowsetPlan, complete_columns, write_rowset
from actlake.storage.run import Run

if TYPE_CHECKING:  # torch takes seconds to import
    from actlake.flows.extraction.models import ModelFacts
    from actlake.flows.extraction.tokens import DocumentRows

__all__ = ["document_blocks", "write_rows"]

BLOCK_DOCUMENTS = 256


def write_rows(lake: Lake, run: Run, plan: RowsetPlan, facts: "ModelFacts") -> None:
    """Commit the rows that the model's tokenizer, or its patches, make of the corpus."""
    from actlake.flows.extraction import images, models, tokens

    if facts.patches is not None:
        blocks = partial(_blocks, lake, plan, facts, None)
        write_rowset(run, plan, blocks, facts.patches.vocabulary(), images.VERSION)
        return
    tokenizer = models.load_tokenizer(facts)
    blocks = partial(_blocks, lake, plan, facts, tokenizer)
    write_rowset(run, plan, blocks, tokens.vocabulary(tokenizer), tokens.VERSION)


def document_blocks(
    lake: Lake, corpus: str, _done: int, start: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Of the documents after the first ``start``, each a row."""
    query = """
        SELECT coalesce(length(text), 0) AS chars FROM documents
        WHERE corpus = $corpus AND document >= $start ORDER BY document
    """
    for batch in lake.sql(query, corpus=corpus, start=start).batches():
        chars = batch["chars"].to_numpy(zero_copy_only=False)
        document = np.arange(start, start + len(chars))
        columns = {"document": document, "char_stop": chars, "token_id": np.full(len(chars), -1)}
        yield complete_columns(columns)
        start += len(chars)


def _blocks(
    lake: Lake, plan: RowsetPlan, facts: "ModelFacts", tokenizer: Any, done: int, before: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Of each document after the first ``done``, which have ``before`` rows."""
    documents = _documents(lake, plan.corpus)
    rows = (
        _tokens(lake, plan, tokenizer, done, before)
        if facts.patches is None
        else map(facts.patches.rows, range(done, documents))
    )
    label = f"tokenize {plan.name}"
    if done:
        say(f"{label}: goes on after {done:,} documents")
    with progress(label, documents - done, "documents") as advance:
        for document in rows:
            block: dict[str, NDArray[Any]] = {
                "document": np.full(document.rows, document.document, np.int64),
                "window": document.window,
                "position": document.position,
                "window_position": document.window_position,
                "token_id": document.token_id,
                "char_start": document.char_start,
                "char_stop": document.char_stop,
                "is_special": document.is_special,
            }
            yield block
            advance(1)


def _tokens(
    lake: Lake, plan: RowsetPlan, tokenizer: Any, done: int, before: int
) -> "Iterator[DocumentRows]":
    from actlake.flows.extraction.tokens import tokenize_documents

    return tokenize_documents(
        tokenizer,
        _texts(lake, plan.corpus, done),
        windowing=plan.windowing or "document",
        window=plan.window or 0,
        overlap=plan.overlap or 0,
        document=done,
        row=before,
    )


def _texts(lake: Lake, corpus: str, start: int) -> Iterator[str]:
    # A query of its own for each block: to put all in order would hold all.
    for first in range(start, _documents(lake, corpus), BLOCK_DOCUMENTS):
        last = first + BLOCK_DOCUMENTS - 1
        within: dict[str, Bounds] = {"corpus": (corpus, corpus), "document": (first, last)}
        query = f"""
            SELECT text FROM {lake.reading.source("documents", "text", **within)}
            WHERE corpus = $corpus AND document BETWEEN $first AND $last ORDER BY document
        """  # noqa: S608 - ours
        asked = {"corpus": corpus, "first": first, "last": last}
        for (text,) in lake.reading.connection().execute(query, asked).fetchall():
            yield text


def _documents(lake: Lake, corpus: str) -> int:
    query = "SELECT documents FROM corpora WHERE corpus = $corpus"
    return int(lake.sql(query, corpus=corpus).arrow()["documents"][0].as_py())
