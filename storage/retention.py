"""Retention: which snapshots a lake keeps, and removing the files that none of them names.

Removal has two phases. Expiring a snapshot only schedules its files; they are removed when they
have been scheduled for as long as the grace period, so that whoever reads an old snapshot without
a pin has that long to end. A file that no snapshot ever named is what a crash left, or is about to
be committed: it goes when it is older than the grace period and than every live run.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actlake.storage.errors import BusyError, InputError
from actlake.storage.run import Run, pin_of
from actlake.storage.transaction import Transaction

__all__ = ["Removed", "end_dead_runs", "expire_snapshots", "remove_unnamed"]

NAMING = ("tensors", "codes", "rowsets", "dictionaries", "partials")
"""Tables whose column ``path`` names something in the folder of the same name."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that no snapshot named any more: a file, or a folder with all that is in it."""

    path: str
    bytes: int


def end_dead_runs(run: Run) -> list[str]:
    """Runs that say running and whose process is gone: now crashed, and without a pin.

    A run is marked by the next one with its key, which for work that nobody repeats never comes.
    """
    query = "SELECT run, key FROM runs WHERE state = 'running' AND run <> $own"

    def change(transaction: Transaction) -> list[str]:
        with ExitStack() as taken:
            dead = []
            for one, key in transaction.rows(query, own=run.run):
                if not _lives(run, str(key)):
                    # Taken over, so that an owner who was only asleep can commit nothing more.
                    taken.enter_context(run.claims.held(f"run:{key}"))
                    dead.append(str(one))
            if dead:
                transaction.execute(
                    "UPDATE runs SET state = 'crashed' WHERE run IN (SELECT unnest($dead))",
                    dead=dead,
                )
            return dead

    dead = run.commit(change, "ended dead runs")
    for one in dead:
        run.claims.unpin(pin_of(one))
    return dead


def expire_snapshots(run: Run, *, older_than: timedelta, keep: int) -> list[int]:
    """Forget snapshots that are older than ``older_than``, not pinned, and not the ``keep`` newest.

    Never the newest. Their files stay until ``remove_unnamed``. Returns the numbers.
    """
    if keep < 1:
        raise InputError(f"a lake keeps at least its newest snapshot, not {keep}")
    cutoff = datetime.now(UTC).replace(tzinfo=None) - older_than
    query = """
        SELECT snapshot_id, snapshot_time::TIMESTAMP FROM ducklake_snapshots('lake')
        ORDER BY snapshot_id DESC
    """

    def change(transaction: Transaction) -> list[int]:
        pinned = {snapshot for snapshot, _ in run.claims.pins()}
        found = [(int(str(one)), time) for one, time in transaction.rows(query)[keep:]]
        doomed = [
            one
            for one, time in found
            if isinstance(time, datetime) and time < cutoff and one not in pinned
        ]
        if doomed:
            expire = "CALL ducklake_expire_snapshots('lake', versions => $doomed)"
            transaction.execute(expire, doomed=doomed)
        return sorted(doomed)

    return run.commit(change, "expired snapshots")


def remove_unnamed(run: Run, *, grace: timedelta) -> list[Removed]:
    """Remove, under the commit lock, what no snapshot names and no live run can be about to commit.

    Parquet files, and folders of tensors, codes, rowsets and dictionaries, and partials; the
    hashes of what is gone are forgotten. ``grace`` counts from when a file was scheduled, or last
    written.
    """
    before = datetime.now(UTC).replace(tzinfo=None) - grace

    def change(transaction: Transaction) -> list[Removed]:
        horizon = min([before, *_live_since(run, transaction)])
        removed = [
            *_remove_expired(run.root, transaction, before),
            *_remove_tables_orphans(run.root, transaction, horizon),
            *_remove_folder_orphans(run.root, transaction, horizon),
        ]
        _forget(run, transaction, removed)
        return removed

    return run.commit(change, "removed what no snapshot names")


def _lives(run: Run, key: str) -> bool:
    try:
        return not run.claims.is_free(f"run:{key}")
    except BusyError:  # this very thread is at it
        return True


def _live_since(run: Run, transaction: Transaction) -> Iterator[datetime]:
    query = "SELECT key, started FROM runs WHERE state = 'running' AND run <> $own"
    for key, started in transaction.rows(query, own=run.run):
        if isinstance(started, datetime) and _lives(run, str(key)):
            yield started


def _remove_expired(root: Path, transaction: Transaction, before: datetime) -> Iterator[Removed]:
    """Remove the files whose snapshots have expired for long enough."""
    query = """
        SELECT path FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
        WHERE schedule_start::TIMESTAMPTZ < $before ORDER BY path
    """
    for (name,) in transaction.rows(query, before=before.replace(tzinfo=UTC)):
        yield from _remove(root, root / "tables" / str(name))
    # DuckLake's own removal compares days: with ``before`` it would take what was scheduled on
    # that day after it. So it only forgets here, days later, what is gone already.
    transaction.execute(
        "CALL ducklake_cleanup_old_files('lake', older_than => $before)",
        before=before.replace(tzinfo=UTC) - timedelta(days=2),
    )


def _remove_tables_orphans(
    root: Path, transaction: Transaction, horizon: datetime
) -> Iterator[Removed]:
    named = set(_named_parquet(transaction))
    for path in _files_below(root / "tables"):
        # By name, which is random and never used again.
        if path.name not in named and _is_older(path, horizon):
            yield from _remove(root, path)


def _remove_folder_orphans(
    root: Path, transaction: Transaction, horizon: datetime
) -> Iterator[Removed]:
    for table in NAMING:
        # Every row that a file still holds, deleted or not: whatever any snapshot may name.
        query = """
            SELECT t.path || f.path FROM __ducklake_metadata_lake.ducklake_data_file AS f
            INNER JOIN __ducklake_metadata_lake.ducklake_table AS t USING (table_id)
            WHERE t.table_name = $table
        """
        files = [f"{root}/tables/main/{path}" for (path,) in transaction.rows(query, table=table)]
        paths = "SELECT DISTINCT path FROM read_parquet($files)"
        named = {str(path) for (path,) in transaction.rows(paths, files=files)} if files else set()
        for path in sorted((root / table).iterdir()):
            if path.relative_to(root).as_posix() not in named and _is_older(path, horizon):
                yield from _remove(root, path)


def _named_parquet(transaction: Transaction) -> Iterator[str]:
    query = """
        SELECT parse_filename(path) FROM __ducklake_metadata_lake.ducklake_data_file
        UNION ALL
        SELECT parse_filename(path) FROM __ducklake_metadata_lake.ducklake_delete_file
        UNION ALL
        SELECT parse_filename(path)
        FROM __ducklake_metadata_lake.ducklake_files_scheduled_for_deletion
    """
    return (str(name) for (name,) in transaction.rows(query))


def _forget(run: Run, transaction: Transaction, removed: Sequence[Removed]) -> None:
    """Drop the hashes of what was removed, now or by a call that was killed before it came here."""
    named = set(_named_parquet(transaction))
    gone = {one.path for one in removed}
    run.claims.forget_files(
        path
        for path in run.claims.files()
        if path in gone
        or "/".join(path.split("/", 2)[:2]) in gone
        or (
            path.startswith("tables/")
            and path.rpartition("/")[2] not in named
            and not (run.root / path).exists()
        )
    )


# Writers publish without the commit lock: what they wrote aside may go at any moment.


def _remove(root: Path, path: Path) -> Iterator[Removed]:
    """Remove a file or folder; nothing is yielded of one that somebody else removes."""
    try:
        size = sum(one.stat().st_size for one in (path, *_files_below(path)) if one.is_file())
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return
    yield Removed(path.relative_to(root).as_posix(), size)


def _is_older(path: Path, horizon: datetime) -> bool:
    """Whether ``path`` and all below it were last written before ``horizon``.

    What vanishes meanwhile was there for a writer who is at work, so it is not.
    """
    try:
        return all(_written(one) < horizon for one in (path, *path.rglob("*")))
    except FileNotFoundError:
        return False


def _files_below(folder: Path) -> list[Path]:
    """Every file below ``folder`` in order; of a folder that vanishes, none."""
    return sorted(Path(at, name) for at, _, names in os.walk(folder) for name in names)


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None)
