"""withdraw: documents are taken back, whatever pins and snapshots hold them."""

from collections.abc import Sequence
from dataclasses import dataclass

from actlake.flows.export_record import exports_of
from actlake.flows.progress import progress, say
from actlake.storage.backup import back_up, backups
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.withdrawals import Withdrawal, finish_withdrawals
from actlake.storage.withdrawals import withdraw as withdraw_documents

__all__ = ["Withdrawn", "withdraw"]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What came of it."""

    documents: dict[int, str]
    """Source ids of those that this call withdrew, by number."""
    withdrawal: Withdrawal | None
    """None where they were withdrawn before."""
    exports: list[str]
    """Made before, ``machine:folder`` each: no part of the lake, they hold what they hold."""


def withdraw(
    lake: Lake,
    *,
    corpus: str,
    documents: Sequence[int | str],
    reason: str,
    source_ids: bool = False,
) -> Withdrawn:
    """The documents hold nothing, at any snapshot that can be read, and are in no file of the lake.

    documents
        Numbers in the corpus, or with ``source_ids`` their ids in the source.
    reason
        For the record, which does not say what the documents said.

    Row numbers stay: texts are empty, labels gone, tensor rows NaN, codes rows empty, tokens none.
    Summaries that counted a document are removed, so that ``summarize`` makes them anew; what else
    was computed with it is listed in the record. Backups go, and one is made if there was one. A
    call that was killed is finished by the next. BusyError while another run is at work.
    """
    if not reason.strip():
        raise InputError("a withdrawal needs a reason, for the record; give --reason")
    found = _resolved(lake, corpus, documents, source_ids=source_ids)
    earlier = _earlier(lake, corpus)
    fresh = {one: found[one] for one in found if one not in earlier}
    parameters: dict[str, Json] = {"corpus": corpus, "documents": sorted(found), "reason": reason}
    inputs = {corpus: lake.corpus_fingerprint(corpus), "snapshot": str(lake.newest_snapshot())}
    had_backup = bool(backups(lake.root))
    withdrawal = None
    with lake.run("withdraw", parameters, inputs) as run:
        if fresh:
            with progress(f"withdraw from {corpus}", _rows(lake, corpus)) as advance:
                withdrawal = withdraw_documents(run, lake, corpus, fresh, reason, advance)
            say(f"withdraw: {len(fresh):,} documents of {corpus} hold nothing any more")
        let_go = finish_withdrawals(run)
        if had_backup:
            back_up(run.root, run.catalog, run.claims, keep=1)
    return Withdrawn(fresh, withdrawal, exports_of(let_go))


def _resolved(
    lake: Lake, corpus: str, documents: Sequence[int | str], *, source_ids: bool
) -> dict[int, str]:
    lake.corpus_fingerprint(corpus)
    if not documents:
        raise InputError("no document is named; name one or more to withdraw")
    column = "source_id" if source_ids else "document"
    query = f"""
        SELECT document, source_id FROM documents
        WHERE corpus = $corpus AND {column} IN (SELECT unnest($documents)) ORDER BY document
    """  # noqa: S608 ours
    wanted = list(dict.fromkeys(documents))
    found = [*lake.sql(query, corpus=corpus, documents=wanted).rows()]
    known = {row[1 if source_ids else 0] for row in found}
    for one in wanted:
        if one not in known:
            what = "the source id" if source_ids else "the number"
            raise NotFoundError(
                f"no document of corpus {corpus} has {what} {one!r}; see the table documents"
            )
    return {int(str(document)): str(source_id) for document, source_id in found}


def _rows(lake: Lake, corpus: str) -> int:
    """Of all rowsets, tensors and codes of the corpus together."""
    query = """
        WITH made AS (
            SELECT rowset, rows FROM rowsets
            UNION ALL SELECT rowset, rows FROM tensors UNION ALL SELECT rowset, rows FROM codes
        )
        SELECT coalesce(sum(m.rows), 0)::BIGINT FROM made AS m INNER JOIN rowsets USING (rowset)
        WHERE corpus = $corpus
    """
    [(rows,)] = lake.sql(query, corpus=corpus).rows()
    return int(str(rows))


def _earlier(lake: Lake, corpus: str) -> set[int]:
    query = """
        SELECT w.document FROM withdrawals AS w INNER JOIN corpora AS c USING (corpus)
        WHERE w.corpus = $corpus AND w.run > c.run
    """
    return {int(str(document)) for (document,) in lake.sql(query, corpus=corpus).rows()}
