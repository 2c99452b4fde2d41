"""Withdrawing documents: their rows stay, and hold nothing, in every snapshot that can be read.

One commit puts new files in the place of every file that holds a document: its text is empty, its
labels are gone, its tokens are none, its activations NaN, its codes empty. What was counted over it
is removed, to be computed again; what was learned from it is listed. Then the snapshots that held
it are forgotten, pinned or not, and what only they named is removed at once. From the commit on
``at`` refuses those snapshots; whatever is killed after it is taken up by the next call.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from actlake.storage.backup import drop_backups
from actlake.storage.deletion import undo_runs
from actlake.storage.errors import BusyError
from actlake.storage.fields import arrow_schema
from actlake.storage.generations import swap
from actlake.storage.lake import Lake
from actlake.storage.retention import (
    end_dead_runs,
    forget_snapshots,
    live_runs,
    remove_named,
    remove_unnamed,
)
from actlake.storage.run import Run
from actlake.storage.shards import receipts_table
from actlake.storage.table_files import swap_files
from actlake.storage.transaction import StagedRows, Transaction
from actlake.storage.unnamed import snapshot_numbers
from actlake.storage.withdrawal_plan import Prepared, Withdrawal, prepare

__all__ = ["Withdrawal", "finish_withdrawals", "withdraw"]

TRIES = 3
"""For a lake that others write to while the new files are made."""


def withdraw(
    run: Run,
    lake: Lake,
    corpus: str,
    documents: Mapping[int, str],
    reason: str,
    progress: Callable[[int], object] = int,
) -> Withdrawal:
    """The documents (their source ids by number) hold nothing from one commit on.

    ``progress`` is called with the rows of each rowset, tensor and codes as it is written.
    Call ``finish_withdrawals`` then. BusyError, and nothing changes, while another run is at work,
    which may be writing what is made of them; DiskError where there is no room for the new files.
    """
    for _ in range(TRIES):
        with ExitStack() as made:
            staged: list[StagedRows] = []
            made.callback(_discard, staged)
            prepared = prepare(run, lake, corpus, sorted(documents), staged, made, progress)
            if _commit(run, prepared, corpus, documents, reason, staged):
                made.pop_all()
                return prepared.withdrawal
    raise BusyError(
        f"others keep writing to {run.root}, so nothing of corpus {corpus} was withdrawn; "
        "try again when they are done"
    )


def finish_withdrawals(run: Run) -> list[str]:
    """What was withdrawn is in no file any more; reasons of pins that were let go for it.

    Forgets the snapshots that held it, removes at once what no snapshot names, checkpoints of
    training on it, and backups, which name files that are gone. BusyError while another run is at
    work. Nothing is done where nothing is left to do.
    """
    query = """
        SELECT corpus, first_snapshot, last_snapshot FROM withdrawals WHERE purged IS NULL
    """
    open_ = run.examine(lambda now: now.rows(query))
    if not open_:
        return []
    ranges = [(int(str(first)), int(str(last))) for _, first, last in open_]
    corpora = sorted({str(corpus) for corpus, _, _ in open_})
    _register_names(run, corpora)

    def held(snapshot: int) -> bool:
        return any(first <= snapshot <= last for first, last in ranges)

    def forget(transaction: Transaction) -> list[str]:
        _refuse_live(run, transaction, "is withdrawn, and its files go")
        doomed = [one for one in snapshot_numbers(transaction.rows) if held(one)]
        return forget_snapshots(run, transaction, doomed)

    folders = run.commit(forget, "forgot the snapshots that held what was withdrawn")
    let_go = [why for snapshot, why in run.claims.pins() if held(snapshot)]
    for why in let_go:
        run.claims.unpin(why)
    drop_backups(run.root, run.claims, through=max(last for _, last in ranges))
    remove_named(run, folders)
    end_dead_runs(run)  # one that was only asleep would commit shards that go here
    remove_unnamed(run, grace=timedelta(0))
    for corpus in corpora:
        _remove_checkpoints(run, corpus)
    statement = "UPDATE withdrawals SET purged = $now WHERE purged IS NULL"
    run.commit(lambda now: now.execute(statement, now=_now()), "removed what was withdrawn")
    return let_go


def _commit(
    run: Run,
    prepared: Prepared,
    corpus: str,
    documents: Mapping[int, str],
    reason: str,
    staged: list[StagedRows],
) -> bool:
    receipts = [one for generation in prepared.generations for one in generation.receipts]
    facts = {
        "corpus": corpus,
        "at": _now(),
        "reason": reason,
        "first_snapshot": prepared.first,
        "last_snapshot": prepared.snapshot,
        "removed": json.dumps(prepared.withdrawal.removed, sort_keys=True),
        "stale": json.dumps(prepared.withdrawal.stale, sort_keys=True),
        "run": run.run,
    }
    record = [facts | {"document": one, "source_id": documents[one]} for one in sorted(documents)]
    rows = pa.Table.from_pylist(record, arrow_schema("withdrawals"))
    added = [run.catalog.stage("withdrawals", rows)]
    if receipts:
        added.append(run.catalog.stage("shards", receipts_table(receipts)))
    staged += added

    def change(transaction: Transaction) -> bool:
        _refuse_live(run, transaction, "is withdrawn")
        if snapshot_numbers(transaction.rows)[-1] != prepared.snapshot:
            return False
        summarized = _runs_of_summaries(transaction, prepared)
        for one in prepared.tables:
            new = [file for file in one.new if file is not None]
            swap_files(run.store, transaction, one.table, one.old, new, one.left)
        for generation in prepared.generations:
            swap(transaction, generation)
        for file in added:
            transaction.register(file)
        undo_runs(transaction, summarized, ())
        return True

    files = {path: one for made in prepared.generations for path, one in made.files.items()}
    message = f"withdrew {len(documents):,} documents of {corpus}"
    return run.commit(change, message, files, staged=staged)


def _runs_of_summaries(transaction: Transaction, prepared: Prepared) -> set[str]:
    names = [one.name for one in prepared.generations if one.kind == "codes"]
    query = """
        WITH of_sets AS (
            SELECT codes FROM codes_sets WHERE member IN (SELECT unnest($names))
        )
        SELECT run FROM feature_statistics WHERE codes IN (SELECT unnest($names))
        UNION SELECT run FROM codes_sets WHERE member IN (SELECT unnest($names))
        -- What is pooled is made on the way to something else, which the tables below tell.
        UNION SELECT run FROM partials
        WHERE codes IN (SELECT unnest($names)) AND statistic <> 'document_pool'
        UNION SELECT run FROM feature_pairs
        WHERE codes IN (SELECT unnest($names)) OR codes IN (FROM of_sets)
        UNION SELECT run FROM feature_labels
        WHERE codes IN (SELECT unnest($names)) OR codes IN (FROM of_sets)
        UNION SELECT run FROM feature_changes
        WHERE codes_a IN (SELECT unnest($names)) OR codes_b IN (SELECT unnest($names))
    """
    return {str(run) for (run,) in transaction.rows(query, names=names)}


def _refuse_live(run: Run, transaction: Transaction, what: str) -> None:
    for other, flow, _ in live_runs(transaction, run.claims, but=run.run):
        raise BusyError(
            f"run {other} ({flow}) is at work and may write what is made of the document; "
            f"run this again when that has ended, and it {what}"
        )


def _register_names(run: Run, corpora: Sequence[str]) -> None:
    """Names mean the generations that the tables have now."""
    query = """
        WITH named AS (
            SELECT 'rowset' AS kind, rowset AS name, fingerprint, id, rowset FROM rowsets
            UNION ALL SELECT 'tensor', tensor, fingerprint, id, rowset FROM tensors
            UNION ALL SELECT 'codes', codes, fingerprint, id, rowset FROM codes
        )
        SELECT n.kind, n.name, n.fingerprint, n.id FROM named AS n
        INNER JOIN rowsets AS r USING (rowset) WHERE r.corpus IN (SELECT unnest($corpora))
    """
    for facts in run.examine(lambda now: now.rows(query, corpora=corpora)):
        run.claims.register_name(*map(str, facts))


def _remove_checkpoints(run: Run, corpus: str) -> None:
    """Weights of training that was cut short, on tensors of the corpus."""
    query = """
        SELECT DISTINCT r.key FROM runs AS r, tensors AS t INNER JOIN rowsets AS o USING (rowset)
        WHERE o.corpus = $corpus AND r.flow = 'train' AND contains(r.inputs, t.fingerprint)
    """
    for (key,) in run.examine(lambda now: now.rows(query, corpus=corpus)):
        (run.root / "checkpoints" / f"{key}.safetensors").unlink(missing_ok=True)


def _discard(staged: Sequence[StagedRows]) -> None:
    for one in staged:
        one.discard()


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
