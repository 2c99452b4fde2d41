"""maintain: what a lake needs every night: verify, compact, merge, expire, remove, back up."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta

from actlake.flows.artifacts import show_table, shown_progress
from actlake.flows.export_record import release_pins
from actlake.flows.gc import check_numbers, finish
from actlake.flows.progress import say
from actlake.storage.backup import back_up
from actlake.storage.compaction import compact as compact_group
from actlake.storage.compaction import uncompacted
from actlake.storage.databases import DATABASES
from actlake.storage.errors import CorruptError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.merging import merge_small_files
from actlake.storage.migrations import tune_catalog
from actlake.storage.retention import end_dead_runs, expire_snapshots, remove_unnamed
from actlake.storage.run import Run
from actlake.storage.verify import Fault, Part

__all__ = ["Work", "maintain", "remedy"]

CHECK = "check "
"""What the path of a fault starts with that a check found, and no file."""
REMEDIES = (
    "run `actlake repair`, which makes again what the lake can tell, and says what to do with "
    "the rest",
    "restore a backup of the catalog from before that, with `actlake restore`, or "
    "with `pg_restore` where it is in Postgres",
    "remove the damaged backup, and make another with `actlake backup`",
)


@dataclass(frozen=True, slots=True)
class Work:
    """What one step of maintenance did."""

    step: str
    what: str
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0


def maintain(
    lake: Lake,
    *,
    verify_parts: int = 7,
    compact: bool = True,
    merge: bool = True,
    expire_days: float | None = 30.0,
    keep_snapshots: int = 100,
    grace_hours: float | None = 24.0,
    backups: int = 7,
) -> list[Work]:
    """Verify a part of the lake and, if it is sound, tidy it and back its catalog up.

    verify_parts
        Read one part of so many, the next one each time that one was sound; 1 reads all of it, 0
        nothing.
    compact
        Postings of sealed codes into files of feature ranges.
    merge
        Many small files of a table into few.
    expire_days, keep_snapshots
        Forget snapshots that are older, not pinned, and not among the newest so many; None: none.
        The pin of an export that is not there any more goes first.
    grace_hours
        Remove files that no snapshot has named for so long; None: none. 0 only while nobody reads
        old snapshots.
    backups
        Backups of the catalog to keep, with the one that is made; 0 makes none.

    Each step can be killed and finds next time what is left to do. CorruptError, before anything
    is changed, if a fault is found.
    """
    _check(verify_parts, expire_days, keep_snapshots, grace_hours, backups)
    parameters: dict[str, Json] = {
        "verify_parts": verify_parts,
        "compact": compact,
        "merge": merge,
        "expire_days": expire_days,
        "keep_snapshots": keep_snapshots,
        "grace_hours": grace_hours,
        "backups": backups,
    }
    done: list[Work] = []
    # Each maintenance makes snapshots, so the next is another piece of work; two that start at
    # one snapshot are the same, and the second finds it done.
    with lake.run("maintain", parameters, {"snapshot": str(lake.newest_snapshot())}) as run:
        if run.done:
            say("maintain: another process has just done the same")
            return done
        run.hold("maintain")
        steps: list[Callable[[], Work]] = [lambda: _end_dead_runs(run)]
        if verify_parts:
            steps.insert(0, lambda: _verify(lake, run, verify_parts))
        if compact:
            steps.append(lambda: _compact(run))
        if merge:
            steps.append(lambda: _merge(run))
        if expire_days is not None:
            age = timedelta(days=expire_days)
            steps.append(lambda: _expire(lake, run, age, keep_snapshots))
        if grace_hours is not None:
            grace = timedelta(hours=grace_hours)
            steps.append(lambda: _remove(run, grace))
        if backups:
            steps.append(lambda: _back_up(run, backups))
        try:
            for step in steps:
                started = time.monotonic()
                work = replace(step(), seconds=round(time.monotonic() - started, 3))
                say(f"{work.step}: {work.what} in {work.seconds:.1f} s")
                done.append(work)
        finally:
            show_table("maintenance", [asdict(one) for one in done], f"Upkeep of {lake.root}")
    return done


def _check(
    verify_parts: int,
    expire_days: float | None,
    keep_snapshots: int,
    grace_hours: float | None,
    backups: int,
) -> None:
    check_numbers(
        {
            "verify_parts": (verify_parts, 0),
            "expire_days": (expire_days, 0),
            "keep_snapshots": (keep_snapshots, 1),
            "grace_hours": (grace_hours, 0),
            "backups": (backups, 0),
        }
    )


def remedy(faults: Sequence[Fault]) -> str:
    """What can be done about ``faults``, of which there is at least one."""
    wrong = {_remedy(one.path) for one in faults}
    return "; ".join(step for step in REMEDIES if step in wrong)


def _remedy(path: str) -> str:
    files, catalog, backup = REMEDIES
    if path.startswith("backups/"):
        return backup
    return catalog if path.startswith((CHECK, *DATABASES)) else files


def _verify(lake: Lake, run: Run, parts: int) -> Work:
    # Completed ones only: a part with a fault is read until it is sound, and the rest waits.
    query = """
        SELECT count(*) FROM runs WHERE flow = 'maintain' AND state = 'completed'
            AND (parameters ->> '$.verify_parts')::BIGINT = $parts
    """
    [(earlier,)] = run.examine(lambda now: now.rows(query, parts=parts))
    part = Part(int(str(earlier)) % parts, parts)
    size = lake.bytes(part)
    with shown_progress(f"verify part {part.index + 1} of {parts}", size, "bytes") as advance:
        faults = [*lake.verify(advance, part, say)]
    if faults:
        for one in faults:
            say(str(one))
        show_table("faults", [{"fault": str(one)} for one in faults], f"Faults of {lake.root}")
        raise CorruptError(
            f"{lake.root} has {len(faults):,} fault(s), so nothing else was done; {remedy(faults)}"
        )
    return Work("verify", f"part {part.index + 1} of {parts} is as it was committed", bytes=size)


def _end_dead_runs(run: Run) -> Work:
    dead = end_dead_runs(run)
    return Work("runs", f"{len(dead)} runs of dead processes ended", rows=len(dead))


def _compact(run: Run) -> Work:
    groups = uncompacted(run)
    total = sum(one.postings for one in groups)
    old = new = rows = size = 0
    with shown_progress("compact", total, "postings") as advance:
        for group in groups:
            written = compact_group(run, group, advance)
            if written:
                old, new = old + len(group.files), new + len(written)
                rows += group.postings
                size += sum(one.digest.bytes for one in written)
    what = f"{old} files of postings became {new}"
    return Work("compact", what, rows, size)


def _merge(run: Run) -> Work:
    tune_catalog(run.catalog)
    merged = [*merge_small_files(run)]
    files, rows = sum(one.files for one in merged), sum(one.rows for one in merged)
    what = f"{files} small files became {len(merged)}"
    return Work("merge", what, rows, sum(one.bytes for one in merged))


def _expire(lake: Lake, run: Run, age: timedelta, keep: int) -> Work:
    release_pins(lake)
    expired = expire_snapshots(run, older_than=age, keep=keep)
    return Work("expire", f"{len(expired)} snapshots forgotten", rows=len(expired))


def _remove(run: Run, grace: timedelta) -> Work:
    finish(run)
    removed = remove_unnamed(run, grace=grace)
    what = f"{len(removed)} files and folders that no snapshot names removed"
    return Work("remove", what, bytes=sum(one.bytes for one in removed))


def _back_up(run: Run, keep: int) -> Work:
    if elsewhere := run.claims.database.backup_elsewhere():
        return Work("back up", f"left to who keeps the server: {elsewhere}")
    backup = back_up(run.root, run.catalog, run.claims, keep=keep)
    what = f"catalog of snapshot {backup.snapshot} copied to {backup.folder}"
    return Work("back up", what, bytes=backup.bytes)
