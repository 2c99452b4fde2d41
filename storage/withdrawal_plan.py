"""Preparing a withdrawal: the files that will hold nothing of some documents, and what is stale."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actlake.storage.codes import Codes
from actlake.storage.emptying import Emptied, emptied, postings_receipts, rules
from actlake.storage.generations import (
    Generation,
    codes_without,
    rowset_without,
    tensor_without,
)
from actlake.storage.lake import Lake
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.snapshots import current_snapshot
from actlake.storage.store import Store
from actlake.storage.transaction import StagedRows

__all__ = ["Prepared", "Withdrawal", "prepare"]

Rows = Callable[..., Sequence[tuple[Any, ...]]]
"""Asks the catalog: ``rows(query, **parameters)``."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What became of what was made of some documents."""

    removed: Mapping[str, Any]
    """Rows that went or became empty, by table; rows of tensors; summaries by name."""
    stale: Mapping[str, list[str]]
    """What was computed with the documents and is still there, by kind."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a withdrawal commits: files that wait, and what its record says."""

    snapshot: int
    """The newest, of which they were made."""
    first: int
    """The oldest that held one of the documents."""
    tables: list[Emptied]
    generations: list[Generation]
    withdrawal: Withdrawal


def prepare(
    run: Run,
    lake: Lake,
    corpus: str,
    documents: Sequence[int],
    staged: list[StagedRows],
    made: ExitStack,
    progress: Callable[[int], object],
) -> Prepared:
    """Everything that is made of ``documents``, again without them, as of the newest snapshot.

    Files of tables are told to ``staged``, and folders are removed with ``made``, unless it is
    emptied.
    """
    with closing(run.catalog.attached()) as connection:

        def rows(query: str, **parameters: object) -> list[tuple[Any, ...]]:
            return connection.execute(query, parameters or None).fetchall()

        snapshot = current_snapshot(connection)
        first = _first(run.store, rows, corpus, documents)
        generations: list[Generation] = []
        of_codes: dict[str, tuple[NDArray[np.int64], Sequence[int]]] = {}
        removed: dict[str, Any] = {}

        def add(one: Generation, rowset: Rowset) -> None:
            generations.append(one)
            made.callback(run.store.discard, one.folder)
            progress(rowset.rows)

        rowsets = _names(rows, "rowset", "rowsets", "corpus", [corpus])
        tensors = _names(rows, "tensor", "tensors", "rowset", rowsets)
        places = {name: _rows_of(lake.rowset(name), documents) for name in rowsets}
        for name in rowsets:
            if len(places[name]):
                rowset = lake.rowset(name)
                add(rowset_without(run, rowset, places[name]), rowset)
        for name in tensors:
            tensor = lake.tensor(name)
            if len(places[tensor.rowset.name]):
                query = "SELECT shard, token_budget, torch_threads FROM shards WHERE owner = $id"
                plans = {shard: (budget, n) for shard, budget, n in rows(query, id=tensor.id)}
                rows_here = places[tensor.rowset.name]
                add(tensor_without(run, tensor, rows_here, plans), tensor.rowset)
        readers = [lake.codes(name) for name in _names(rows, "codes", "codes", "rowset", rowsets)]
        for codes in readers:
            here = places[codes.rowset.name]
            if len(here):
                shards = np.unique(here // codes.grid.shard_rows).tolist()
                of_codes[codes.name] = here, shards
                add(codes_without(run, codes, here), codes.rowset)
        of_sets = "SELECT DISTINCT codes FROM codes_sets WHERE member IN (SELECT unnest($codes))"
        sets = sorted(str(name) for (name,) in rows(of_sets, codes=list(of_codes)))
        summaries = _summaries(rows, [*of_codes, *sets])
        tables: list[Emptied] = []
        for rule in rules(corpus, documents, rowsets, of_codes, sets):
            one = emptied(run, connection, rule, staged.append)
            if one is None:
                continue
            tables.append(one)
            removed[one.table] = one.rows
            if one.table == "postings":
                generations[:] = _with_postings(run, rows, one, readers, generations)
        removed["summaries"] = summaries
        stale = _stale(rows, tensors, list(of_codes))
    return Prepared(snapshot, first, tables, generations, Withdrawal(removed, stale))


def _rows_of(rowset: Rowset, documents: Sequence[int]) -> NDArray[np.int64]:
    """The rows of some documents, ascending."""
    found = [np.zeros(0, np.int64)]
    for shard in range(len(rowset.grid)):
        start, stop = rowset.grid.span(shard)
        found.append(
            start + np.flatnonzero(np.isin(rowset.column("document", start, stop), documents))
        )
    return np.concatenate(found)


def _with_postings(
    run: Run,
    rows: Rows,
    one: Emptied,
    readers: Sequence[Codes],
    generations: Sequence[Generation],
) -> list[Generation]:
    """The generations, those of codes with the receipts of their postings."""
    query = """
        SELECT xxh3_128, shard FROM shards
        WHERE owner = $owner AND "array" = 'postings' AND bytes > 0
    """
    by_id = {codes.id: codes for codes in readers}
    found = []
    for generation in generations:
        if generation.kind == "codes":
            of_hash: dict[str, int] = dict(rows(query, owner=generation.old_id))
            codes = by_id[generation.old_id]
            more = postings_receipts(run, one, codes, generation.new_id, of_hash)
            generation = replace(generation, receipts=(*generation.receipts, *more))
        found.append(generation)
    return found


def _first(store: Store, rows: Rows, corpus: str, documents: Sequence[int]) -> int:
    """The oldest snapshot, of those that there may be, that held one of the documents."""
    query = """
        SELECT $folder || t.path || f.path, f.begin_snapshot
        FROM __ducklake_metadata_lake.ducklake_data_file AS f
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
        WHERE t.table_name = 'documents'
    """
    folder = store.uri(store.root / "tables" / "main")
    begins: dict[str, int] = dict(rows(query, folder=f"{folder}/"))
    hits = """
        SELECT DISTINCT filename
        FROM read_parquet($paths, filename = true, hive_partitioning = false)
        WHERE corpus = $corpus AND document IN (SELECT unnest($documents))
    """
    found = rows(hits, paths=list(begins), corpus=corpus, documents=list(documents))
    return min(int(begins[path]) for (path,) in found)


def _summaries(rows: Rows, codes: list[str]) -> list[str]:
    query = """
        SELECT DISTINCT codes || ' under ' || mask AS name FROM feature_statistics
        WHERE codes IN (SELECT unnest($codes)) ORDER BY name
    """
    return [str(name) for (name,) in rows(query, codes=codes)]


def _stale(rows: Rows, tensors: list[str], codes: list[str]) -> dict[str, list[str]]:
    """What was computed with rows of the documents and stays."""
    queries = {
        # Their rows beside a document were computed with it in view.
        "tensors of packed windows": """
            SELECT t.tensor FROM tensors AS t INNER JOIN rowsets AS r USING (rowset)
            WHERE r.windowing = 'packed' AND t.tensor IN (SELECT unnest($tensors))
        """,
        "dictionaries": """
            SELECT dictionary FROM dictionaries WHERE tensor IN (SELECT unnest($tensors))
        """,
        "evaluations": """
            SELECT DISTINCT dictionary || ' on ' || tensor FROM evaluations
            WHERE tensor IN (SELECT unnest($tensors))
        """,
        "similarities": """
            SELECT DISTINCT tensor_a || ' with ' || tensor_b || ' under ' || mask
            FROM similarities
            WHERE tensor_a IN (SELECT unnest($tensors)) OR tensor_b IN (SELECT unnest($tensors))
        """,
        "comparisons": """
            SELECT DISTINCT codes_a || ' with ' || codes_b || ' under ' || mask FROM comparisons
            WHERE codes_a IN (SELECT unnest($codes)) OR codes_b IN (SELECT unnest($codes))
        """,
        "hypotheses": """
            SELECT DISTINCT target || ' in ' || codes || ' by run ' || run FROM hypotheses
            WHERE codes IN (SELECT unnest($codes))
        """,
    }
    stale = {}
    for kind, query in queries.items():
        names = {"tensors": tensors} if "$tensors" in query else {"codes": codes}
        if found := sorted(str(name) for (name,) in rows(query, **names)):
            stale[kind] = found
    return stale


def _names(rows: Rows, kind: str, table: str, column: str, wanted: list[str]) -> list[str]:
    query = f"""
        SELECT {kind} FROM {table} WHERE {column} IN (SELECT unnest($wanted)) ORDER BY {kind}
    """  # noqa: S608 ours
    return [str(name) for (name,) in rows(query, wanted=wanted)]
