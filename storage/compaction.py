"""Compaction: the postings of sealed codes by ranges of features instead of by shard.

Encoding leaves one Parquet file a shard, each with every feature, so a feature is looked up in as
many places as there are shards. Here a group of those files becomes files of consecutive features,
sorted by (feature, row): a feature is then in one file, in as few row groups as its postings fill.

A file was written with its shard if its hash is in that shard's receipt; those are compacted once
and the result never again, so that a second call finds nothing to do. All of a group is replaced
in one transaction, since each of its files holds all features; its size bounds how long that takes
(20 s and 0.7 GB, see ``table_files``). Codes that are larger than a group have as many runs of
features as groups.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actlake.storage.duck import connect
from actlake.storage.postings import encode_postings
from actlake.storage.run import Run
from actlake.storage.table_files import DataFile, check_unchanged, live_files, replace_files
from actlake.storage.transaction import StagedRows

__all__ = ["Group", "Range", "compact", "cut", "postings_in", "uncompacted"]

GROUP_POSTINGS = 1 << 26
RANGE_POSTINGS = 1 << 22
"""Of a new file at most, about 15 MB; while it is written, its postings are in memory several times
(read, sorted, as Arrow, encoded): 0.5 GB at the peak, however many postings there are."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one codes, of consecutive shards, that are compacted together."""

    codes: str
    files: tuple[DataFile, ...]

    @property
    def postings(self) -> int:
        return sum(one.rows for one in self.files)


@dataclass(frozen=True, slots=True)
class Range:
    """What one new file holds: features and rows, both half open."""

    feature_start: int
    feature_stop: int
    row_start: int
    row_stop: int


def uncompacted(run: Run) -> list[Group]:
    """What there is to compact, by codes and shard; nothing of codes that are not sealed."""
    recorded = run.claims.files()
    with closing(run.catalog.attached()) as connection:

        def rows(query: str, **parameters: object) -> list[Any]:
            return connection.execute(query, parameters or None).fetchall()

        receipts = rows(
            """
            SELECT s.xxh3_128, c.codes, s.shard FROM shards AS s
            INNER JOIN codes AS c ON c.id = s.owner
            WHERE s."array" = 'postings' AND s.bytes > 0 AND c.state = 'sealed'
            """
        )
        files = live_files(rows, "postings")
    shard_of_hash = {hash_: (codes, shard) for hash_, codes, shard in receipts}
    found = sorted(
        (*shard_of_hash[recorded[one.path].xxh3_128], one)
        for one in files
        if one.deletes is None
        and one.path in recorded
        and recorded[one.path].xxh3_128 in shard_of_hash
    )
    return [group for group in _groups(found) if len(group.files) > 1]


def _groups(found: Sequence[tuple[str, int, DataFile]]) -> Iterator[Group]:
    files: list[DataFile] = []
    name, postings = "", 0
    for codes, _, one in found:
        if files and (codes != name or postings + one.rows > GROUP_POSTINGS):
            yield Group(name, tuple(files))
            files, postings = [], 0
        name = codes
        files.append(one)
        postings += one.rows
    if files:
        yield Group(name, tuple(files))


def compact(run: Run, group: Group, progress: Callable[[int], object] = int) -> list[StagedRows]:
    """Replace the files of ``group`` by files of feature ranges; the new ones.

    None, if somebody has changed the postings meanwhile. ``progress`` is called with the postings
    of each file as it is written. Killed before the commit, it leaves files that nothing names.
    CorruptError, before anything is written, if a file is not what was committed.
    """
    check_unchanged(run, group.files)
    paths = [run.store.uri(run.root / one.path) for one in group.files]
    new: list[StagedRows] = []
    try:
        with closing(connect(extensions=run.store.extensions)) as connection:
            run.store.admit(connection)
            for one in cut(*_counts(connection, paths), RANGE_POSTINGS):
                table = postings_in(connection, paths, group.codes, one)
                if len(table):
                    new.append(run.catalog.stage_parquet("postings", encode_postings(table)))
                    progress(len(table))
    except BaseException:
        for staged in new:
            staged.discard()
        raise
    what = f"compacted {len(paths)} files of {group.codes} into {len(new)}"
    return new if replace_files(run, "postings", group.files, new, what) else []


def cut(counts: NDArray[np.int64], rows: tuple[int, int], most: int) -> Iterator[Range]:
    """Ranges that hold every posting once and at most ``most`` each, by feature, then row.

    counts
        Postings of each feature from 0 on.
    rows
        First row and row after the last. A feature with too many postings is cut by rows, of which
        none has two of them.
    """
    start = total = 0
    for feature, n in enumerate(counts.tolist()):
        if total and total + n > most:
            yield Range(start, feature, *rows)
            start, total = feature, 0
        if n > most:
            for row in range(*rows, most):
                yield Range(feature, feature + 1, row, min(row + most, rows[1]))
            start = feature + 1
        else:
            total += n
    if total:
        yield Range(start, len(counts), *rows)


def _counts(
    connection: duckdb.DuckDBPyConnection, paths: list[str]
) -> tuple[NDArray[np.int64], tuple[int, int]]:
    query = """
        SELECT feature, count(*) AS n, min("row") AS first, max("row") AS last
        FROM read_parquet($paths, hive_partitioning = false) GROUP BY feature
    """
    found = connection.execute(query, {"paths": paths}).fetchnumpy()
    counts = np.zeros(int(found["feature"].max()) + 1, np.int64)
    counts[found["feature"]] = found["n"]
    return counts, (int(found["first"].min()), int(found["last"].max()) + 1)


def postings_in(
    connection: duckdb.DuckDBPyConnection, paths: list[str], codes: str, one: Range
) -> pa.Table:
    """The postings of a range in the files at ``paths``, by feature, then row."""
    query = """
        SELECT feature, "row", value FROM read_parquet($paths, hive_partitioning = false)
        WHERE feature >= $feature_start AND feature < $feature_stop
            AND "row" >= $row_start AND "row" < $row_stop
        ORDER BY feature, "row"
    """
    found = connection.execute(query, {"paths": paths, **asdict(one)}).to_arrow_table()
    return found.add_column(0, "codes", pa.repeat(pa.scalar(codes), len(found)))
