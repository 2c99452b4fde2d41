"""The Parquet files that a table consists of, and putting others in their place.

DuckLake's own ``merge_adjacent_files`` is not used: what it writes gets the snapshot of the oldest
file that it replaces, so that no commit records its hash, and the replaced files are forgotten at
once instead of answering for their snapshots until those expire.

What is written here gets a hash of its own, which would make rot in what it was read from look
like what was committed. So whoever rewrites files calls ``check_unchanged`` before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actlake.storage.errors import CorruptError
from actlake.storage.run import Run
from actlake.storage.store import Store
from actlake.storage.transaction import Replaced, StagedRows, Transaction

__all__ = ["DataFile", "check_unchanged", "live_files", "replace_files", "swap_files"]

FOLDER = "tables/main"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file that the newest snapshot reads."""

    path: str
    """In the lake."""
    rows: int
    """Without those that were deleted from it."""
    bytes: int
    deletes: str | None
    """The file that lists which of its rows are deleted; it has another name after each change.
    In the lake."""


def live_files(rows: Callable[..., Sequence[Sequence[Any]]], table: str) -> list[DataFile]:
    """The files of ``table`` in the order of their rows; ``rows(query, **parameters)`` asks."""
    query = """
        SELECT
            $folder || t.path || f.path,
            f.record_count - coalesce(d.delete_count, 0),
            f.file_size_bytes,
            $folder || t.path || d.path
        FROM __ducklake_metadata_lake.ducklake_data_file AS f
        INNER JOIN __ducklake_metadata_lake.ducklake_table AS t
            ON t.table_id = f.table_id AND t.end_snapshot IS NULL
        LEFT JOIN __ducklake_metadata_lake.ducklake_delete_file AS d
            ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL
        WHERE t.table_name = $table AND f.end_snapshot IS NULL
        ORDER BY f.row_id_start, f.data_file_id
    """
    return [
        DataFile(path, int(count), int(size), deletes)
        for path, count, size, deletes in rows(query, table=table, folder=f"{FOLDER}/")
    ]


def check_unchanged(run: Run, files: Sequence[DataFile]) -> None:
    """CorruptError unless ``files``, and what lists their deleted rows, are as they were committed.

    Reads them once. A file whose hash a crash left unrecorded passes; ``verify`` adopts it.
    """
    recorded = run.claims.files()
    for path in (path for one in files for path in (one.path, one.deletes) if path is not None):
        expected = recorded.get(path)
        try:
            if expected is None or run.store.digest(run.root / path) == expected:
                continue
            wrong = "is not what was committed"
        except FileNotFoundError:
            wrong = "is missing"
        except OSError as error:
            wrong = f"cannot be read ({error.strerror})"
        raise CorruptError(
            f"{run.root / path} {wrong}, so nothing was made of it; run `actlake verify`"
        )


def replace_files(
    run: Run, table: str, old: Sequence[DataFile], new: Sequence[StagedRows], message: str
) -> bool:
    """Put ``new``, which holds the same rows, in the place of ``old``, in one transaction.

    False, and nothing changes, if somebody has changed one of ``old`` meanwhile. Snapshots before
    this one keep reading the old files. CorruptError if the rows are not as many.
    """

    def change(transaction: Transaction) -> bool:
        if not set(old) <= set(live_files(transaction.rows, table)):
            return False
        swap_files(run.store, transaction, table, old, new, sum(one.rows for one in old))
        return True

    return run.commit(change, message, staged=new)


def swap_files(
    store: Store,
    transaction: Transaction,
    table: str,
    old: Sequence[DataFile],
    new: Sequence[StagedRows],
    rows: int,
) -> None:
    """Put ``new``, which must hold ``rows`` rows, in the place of ``old``, which are live.

    CorruptError if they hold more or fewer.
    """
    count = sum(one.rows for one in old)
    if (added := sum(one.facts.rows for one in new)) != rows:
        raise CorruptError(
            f"{count:,} rows of {table} were to be rewritten and {added:,} were written, not "
            f"{rows:,}, so nothing was changed; run `actlake verify`"
        )
    uris = [store.uri(store.root / one.path) for one in old]
    transaction.replace(Replaced(table, uris, count), new)
