"""Retention: which snapshots a lake keeps, and removing the files that none of them names.

Removal has two phases. Expiring a snapshot only schedules its files; they are removed when they
have been scheduled for as long as the grace period, so that whoever reads an old snapshot without
a pin has that long to end. A file that no snapshot ever named is what a crash left, or is about to
be committed: it goes when it is older than the grace period and than every live run.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.errors import BusyError, InputError
from actlake.storage.leftovers import leftovers, named_parquet
from actlake.storage.run import Run, pin_of
from actlake.storage.store import Store
from actlake.storage.transaction import Transaction
from actlake.storage.unnamed import NAMING, Tables, named_paths, snapshot_numbers, unneeded_parquet

__all__ = [
    "Plan",
    "Removed",
    "end_dead_runs",
    "expire_snapshots",
    "forget_snapshots",
    "live_runs",
    "plan_removal",
    "remove_named",
    "remove_unnamed",
]


@dataclass(frozen=True, slots=True)
class Removed:
    """Something that no snapshot named any more: a file, or a folder with all that is in it."""

    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What keeping fewer snapshots comes to."""

    snapshots: list[int]
    """Those that are forgotten."""
    now: list[Removed]
    """What goes at once."""
    later: list[Removed]
    """What goes when the grace period has passed."""


def end_dead_runs(run: Run) -> list[str]:
    """Runs that say running and whose process is gone: now crashed, and without a pin.

    A run is marked by the next one with its key, which for work that nobody repeats never comes.
    Pins that were left by others, killed as they began or ended, go too.
    """
    query = "SELECT run, key FROM runs WHERE state = 'running' AND run <> $own"

    def change(transaction: Transaction) -> list[str]:
        with ExitStack() as taken:
            dead = []
            for one, key in transaction.rows(query, own=run.run):
                if not _lives(run.claims, str(key)):
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
    for why in run.examine(lambda now: _left_pins(run, now)):
        run.claims.unpin(why)
    return dead


def _left_pins(run: Run, transaction: Transaction) -> list[str]:
    """Pins by runs that do not run. A run pins and is recorded under one holding of the lock."""
    running = transaction.rows("SELECT run FROM runs WHERE state = 'running'")
    kept = {pin_of(str(one)) for (one,) in running}
    pins = {why for _, why in run.claims.pins()}
    return sorted(why for why in pins - kept if why.startswith(pin_of("")))


def expire_snapshots(run: Run, *, older_than: timedelta, keep: int) -> list[int]:
    """Forget snapshots that are older than ``older_than``, not pinned, and not the ``keep`` newest.

    Never the newest. What only they named stays until ``remove_unnamed``, whose grace period begins
    now. Returns the numbers.
    """
    _check_keep(keep)

    def change(transaction: Transaction) -> list[int]:
        pins = {snapshot for snapshot, _ in run.claims.pins()}
        doomed = _expirable(transaction, pins, older_than, keep)
        forget_snapshots(run, transaction, doomed)
        return doomed

    return run.commit(change, "expired snapshots")


def forget_snapshots(run: Run, transaction: Transaction, doomed: Sequence[int]) -> list[str]:
    """Forget the snapshots ``doomed``; the folders, and partials, that only they named.

    The grace period of these begins now.
    """
    tables = _tables(run.store, transaction, run.claims)
    folders = _folders_of(tables, doomed) if doomed else []
    if doomed:
        for path in folders:
            run.store.touch(run.root / path)
        expire = "CALL ducklake_expire_snapshots('lake', versions => $doomed)"
        transaction.execute(expire, doomed=list(doomed))
    return folders


def remove_unnamed(run: Run, *, grace: timedelta) -> list[Removed]:
    """Remove, under the commit lock, what no snapshot names and no live run can be about to commit.

    Parquet files, and folders of tensors, codes, rowsets and dictionaries, and partials, and what
    was written aside and never got its name; the hashes of what is gone are forgotten. ``grace``
    counts from when the last snapshot that named it was forgotten, or it was last written.
    """

    def change(transaction: Transaction) -> list[Removed]:
        found = _removable(run.store, transaction, run.claims, grace, run.run)
        removed = [one for path in found for one in _remove(run.store, path)]
        # DuckLake's own removal compares days: it would take what was scheduled on a day after the
        # moment that it is given. So it only forgets here, days later, what is gone already.
        transaction.execute(
            "CALL ducklake_cleanup_old_files('lake', older_than => $before)",
            before=datetime.now(UTC) - grace - timedelta(days=2),
        )
        _forget(run, transaction, removed)
        return removed

    removed = run.commit(change, "removed what no snapshot names")
    run.store.tidy()
    return removed


def remove_named(run: Run, paths: Sequence[str]) -> list[Removed]:
    """Remove files and folders, by their path in the lake, that no snapshot names."""

    def change(transaction: Transaction) -> list[Removed]:
        removed = [one for path in paths for one in _remove(run.store, run.root / path)]
        _forget(run, transaction, removed)
        return removed

    return run.commit(change, "removed what was named once")


def plan_removal(
    catalog: Catalog,
    claims: Claims,
    *,
    older_than: timedelta,
    keep: int,
    grace: timedelta,
    released: Collection[str] = (),
) -> Plan:
    """What ``expire_snapshots`` and then ``remove_unnamed`` would do now; nothing is changed.

    ``released`` are reasons of pins that would be let go first; those of dead runs are known here.
    """
    _check_keep(keep)
    store = catalog.store

    def look(transaction: Transaction) -> Plan:
        live = {pin_of(run) for run, _, _ in live_runs(transaction, claims)}
        held = {
            snapshot
            for snapshot, why in claims.pins()
            if why not in released and (why in live or not why.startswith(pin_of("")))
        }
        doomed = _expirable(transaction, held, older_than, keep)
        tables = _tables(store, transaction, claims)
        now = [*_sized(store, _removable(store, transaction, claims, grace, ""))]
        kept = [one for one in snapshot_numbers(transaction.rows) if one not in doomed]
        parquet = unneeded_parquet(transaction.rows, kept)
        later = [
            *(Removed(path, size) for path, size in parquet),
            *_sized(store, (store.root / one for one in _folders_of(tables, doomed))),
        ]
        there = {one.path for one in now}
        later = [one for one in later if one.path not in there]
        return Plan(doomed, [*now, *later], []) if not grace else Plan(doomed, now, later)

    return catalog.examine(look)


def live_runs(
    transaction: Transaction, claims: Claims, *, but: str = ""
) -> Iterator[tuple[str, str, datetime]]:
    """Run, flow and start of each run whose process is at work, other than ``but``."""
    query = """
        SELECT run, flow, key, started FROM runs
        WHERE state = 'running' AND run <> $but ORDER BY run
    """
    for run, flow, key, started in transaction.rows(query, but=but):
        if isinstance(started, datetime) and _lives(claims, str(key)):
            yield str(run), str(flow), started


def _lives(claims: Claims, key: str) -> bool:
    try:
        return not claims.is_free(f"run:{key}")
    except BusyError:  # this very thread is at it
        return True


def _check_keep(keep: int) -> None:
    if keep < 1:
        raise InputError(f"a lake cannot keep {keep} snapshots; keep 1 or more")


def _expirable(
    transaction: Transaction, pinned: Collection[int], older_than: timedelta, keep: int
) -> list[int]:
    cutoff = datetime.now(UTC).replace(tzinfo=None) - older_than
    query = """
        SELECT snapshot_id, snapshot_time::TIMESTAMP FROM ducklake_snapshots('lake')
        ORDER BY snapshot_id DESC
    """
    found = [(int(str(one)), time) for one, time in transaction.rows(query)[keep:]]
    return sorted(
        one
        for one, time in found
        if isinstance(time, datetime) and time < cutoff and one not in pinned
    )


def _tables(store: Store, transaction: Transaction, claims: Claims) -> Tables:
    return Tables(store, transaction.rows, claims.files())


def _folders_of(tables: Tables, doomed: Collection[int]) -> list[str]:
    """Folders, and partials, that no snapshot but those of ``doomed`` names."""
    numbers = snapshot_numbers(tables.rows)
    kept = [one for one in numbers if one not in doomed]
    return sorted(
        path
        for table in NAMING
        for path in named_paths(tables, table, numbers) - named_paths(tables, table, kept)
    )


def _removable(
    store: Store, transaction: Transaction, claims: Claims, grace: timedelta, own: str
) -> Iterator[Path]:
    """What may be removed, each as soon as it is found to be old enough."""
    before = datetime.now(UTC).replace(tzinfo=None) - grace
    horizon = min([before, *(started for _, _, started in live_runs(transaction, claims, but=own))])
    yield from leftovers(_tables(store, transaction, claims), before, horizon)


def _forget(run: Run, transaction: Transaction, removed: Sequence[Removed]) -> None:
    """Drop the hashes of what was removed, now or by a call that was killed before it came here."""
    named = set(named_parquet(transaction.rows))
    gone = {one.path for one in removed}
    run.claims.forget_files(
        path
        for path in run.claims.files()
        if path in gone
        or any("/".join(path.split("/")[:parts]) in gone for parts in (2, 3))  # a folder with it
        or (
            path.startswith("tables/")
            and path.rpartition("/")[2] not in named
            and not run.store.exists(run.root / path)
        )
    )


# Writers publish without the commit lock: what they wrote aside may go at any moment.


def _sized(store: Store, paths: Iterable[Path]) -> Iterator[Removed]:
    """Each of ``paths`` that is there, with its size."""
    for path in paths:
        if store.exists(path):
            size = sum(one.bytes for one in store.files(path))
            yield Removed(path.relative_to(store.root).as_posix(), size)


def _remove(store: Store, path: Path) -> Iterator[Removed]:
    """Remove a file or folder; nothing is yielded of one that somebody else removes."""
    size = store.remove(path)
    if size is not None:
        yield Removed(path.relative_to(store.root).as_posix(), size)
