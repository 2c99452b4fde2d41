"""What the tables hold of some documents, and the files that take their place without it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from actlake.storage.arrays import Chunk
from actlake.storage.codes import Codes
from actlake.storage.codes_writer import NOTHING
from actlake.storage.durable import Digest
from actlake.storage.fields import arrow_schema
from actlake.storage.handle import Connection
from actlake.storage.postings import encode_postings
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.table_files import DataFile, check_unchanged, live_files
from actlake.storage.transaction import StagedRows

__all__ = ["Emptied", "Rule", "emptied", "postings_receipts", "rules"]

SUMMARIES = (
    "feature_statistics",
    "feature_profiles",
    "feature_histograms",
    "feature_positions",
    "feature_examples",
    "feature_tokens",
    "feature_pairs",
    "feature_families",
    "feature_labels",
    "codes_sets",
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which rows of a table are of the documents, and what becomes of them."""

    table: str
    condition: str
    parameters: Mapping[str, object]
    columns: Mapping[str, str] | None = None
    """What columns become; None: the rows go."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """Files of one table that wait for the commit that puts them in the place of others."""

    table: str
    old: tuple[DataFile, ...]
    new: tuple[StagedRows | None, ...]
    """One for each of ``old``; None if no row is left of it."""
    rows: int
    """Rows that went, or became empty."""
    left: int
    """Rows that ``new`` holds."""


def rules(
    corpus: str,
    documents: Sequence[int],
    rowsets: Sequence[str],
    codes: Mapping[str, tuple[NDArray[np.int64], Sequence[int]]],
    sets: Sequence[str],
) -> list[Rule]:
    """Every table that shows documents of a corpus, or counts them.

    codes
        Rows, and the shards that hold them, by the name of codes over one of ``rowsets``.
    sets
        Names of sets that some of the codes are in.
    """
    of_corpus = "corpus = $corpus AND document IN (SELECT unnest($documents))"
    of_codes = "codes IN (SELECT unnest($codes))"
    numbers = {"corpus": corpus, "documents": list(documents)}
    names = {"codes": [*codes, *sets]}
    posted, parted = [], []
    of_postings: dict[str, object] = {}
    of_partials: dict[str, object] = {}
    for at, (name, (rows, shards)) in enumerate(codes.items()):
        posted.append(f'(codes = $codes{at} AND "row" IN (SELECT unnest($rows{at})))')
        of_postings |= {f"codes{at}": name, f"rows{at}": rows.tolist()}
        parted.append(f"(codes = $codes{at} AND shard IN (SELECT unnest($shards{at})))")
        of_partials |= {f"codes{at}": name, f"shards{at}": list(shards)}
    found = [
        Rule("documents", of_corpus, numbers, {"text": "''"}),
        Rule("labels", of_corpus, numbers),
        Rule(
            "tokens",
            "rowset IN (SELECT unnest($rowsets)) AND document IN (SELECT unnest($documents))",
            {"rowsets": list(rowsets), "documents": list(documents)},
            {"token_id": "NULL::INTEGER", "char_start": "0::INTEGER", "char_stop": "0::INTEGER"},
        ),
    ]
    if codes:
        found += [
            Rule("postings", " OR ".join(posted), of_postings),
            Rule("partials", " OR ".join(parted), of_partials),
            *(Rule(table, of_codes, names) for table in SUMMARIES),
            Rule(
                "feature_changes",
                "codes_a IN (SELECT unnest($codes)) OR codes_b IN (SELECT unnest($codes))",
                names,
            ),
            Rule("hypothesis_phrases", of_codes, names),  # words of all documents together
            Rule(
                "hypotheses",
                f"{of_codes} AND contains(statement, '“')",
                names,
                {"statement": "regexp_replace(statement, '“[^”]*”', '“…”', 'g')"},
            ),
            Rule(
                "hypothesis_exemplars",
                f"{of_codes} AND document IN (SELECT unnest($documents))",
                names | {"documents": list(documents)},
            ),
        ]
    return found


def emptied(
    run: Run, connection: Connection, rule: Rule, keep: Callable[[StagedRows], Any]
) -> Emptied | None:
    """New files for those of the newest snapshot in which a row is, deleted or not, by the rule.

    None if there is no such file. ``keep`` is told of each file as soon as it is written.
    CorruptError, before that, if one is not what was committed.
    """

    def rows(query: str, **parameters: object) -> list[tuple[Any, ...]]:
        return connection.execute(query, parameters or None).fetchall()

    live = {run.store.uri(run.root / one.path): one for one in live_files(rows, rule.table)}
    if not live:
        return None
    hits = f"""
        SELECT DISTINCT filename
        FROM read_parquet($paths, filename = true, hive_partitioning = false)
        WHERE {rule.condition}
    """  # noqa: S608 ours
    paths = sorted(path for (path,) in rows(hits, paths=list(live), **rule.parameters))
    if not paths:
        return None
    old = [live[path] for path in paths]
    check_unchanged(run, old)
    gone = "false" if rule.columns else rule.condition
    columns = ", ".join(
        f'CASE WHEN {rule.condition} THEN {rule.columns[field.name]} ELSE "{field.name}" END '
        f'AS "{field.name}"'
        if rule.columns and field.name in rule.columns
        else f'"{field.name}"'
        for field in arrow_schema(rule.table)
    )
    count = f"SELECT count(*) FROM {rule.table} WHERE filename = $path AND ({rule.condition})"  # noqa: S608
    select = f"""
        SELECT {columns} FROM {rule.table}
        WHERE filename = $path AND NOT coalesce({gone}, false) ORDER BY rowid
    """  # noqa: S608 ours
    new: list[StagedRows | None] = []
    changed = left = 0
    for path in paths:
        [(number,)] = rows(count, path=path, **rule.parameters)
        table = connection.execute(select, {"path": path, **_used(rule, select)}).to_arrow_table()
        changed, left = changed + int(number), left + len(table)
        staged = None
        if len(table) and rule.table == "postings":
            staged = run.catalog.stage_parquet(rule.table, encode_postings(table))
        elif len(table):
            staged = run.catalog.stage(rule.table, table)
        if staged is not None:
            keep(staged)
        new.append(staged)
    return Emptied(rule.table, tuple(old), tuple(new), changed, left)


def postings_receipts(
    run: Run, one: Emptied, codes: Codes, generation: str, receipts: Mapping[str, int]
) -> list[Receipt]:
    """The receipts of postings of a new generation of ``codes``, whose files are rewritten.

    receipts
        Shard by the hash of the file that was committed with it: those that compaction has not
        gathered.
    """
    recorded = run.claims.files()
    found = []
    for old, new in zip(one.old, one.new, strict=True):
        hash_ = recorded[old.path].xxh3_128 if old.path in recorded else ""
        if hash_ not in receipts:
            continue
        chunk = NOTHING
        if new is not None:
            written: Digest = new.digest
            chunk = Chunk(written, google_crc32c.value(run.store.local(new.path).read_bytes()))
        shard = receipts[hash_]
        span = codes.grid.span(shard)
        found.append(Receipt.of_chunk(generation, "postings", shard, span, chunk, run.run))
    return found


def _used(rule: Rule, query: str) -> dict[str, object]:
    return {name: value for name, value in rule.parameters.items() if f"${name}" in query}
