"""gc: forget old snapshots, and remove the files that none names any more."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta

from actlake.flows.export_record import gone_pins, release_pins
from actlake.flows.progress import say
from actlake.storage.catalog import Catalog
from actlake.storage.claims import Claims
from actlake.storage.errors import BusyError, InputError
from actlake.storage.keys import Json
from actlake.storage.lake import Lake
from actlake.storage.retention import (
    Plan,
    end_dead_runs,
    expire_snapshots,
    plan_removal,
    remove_unnamed,
)
from actlake.storage.run import Run
from actlake.storage.withdrawals import finish_withdrawals

__all__ = ["catalog_of", "check_numbers", "finish", "gc", "would_remove"]

MOST = 1_000_000
"""Of any parameter of upkeep: days beyond it are no dates."""


@contextmanager
def catalog_of(lake: Lake) -> Iterator[tuple[Catalog, Claims]]:
    """The catalog and the claims of a lake, for what is no run."""
    claims = Claims(lake.database)
    with closing(Catalog(lake.store, claims)) as catalog:
        yield catalog, claims


def would_remove(
    lake: Lake, *, expire_days: float = 30.0, keep_snapshots: int = 100, grace_hours: float = 24.0
) -> Plan:
    """What ``gc`` would do now, with the same parameters; nothing is changed."""
    _check(expire_days, keep_snapshots, grace_hours)
    with catalog_of(lake) as (catalog, claims):
        return plan_removal(
            catalog,
            claims,
            older_than=timedelta(days=expire_days),
            keep=keep_snapshots,
            grace=timedelta(hours=grace_hours),
            released=gone_pins(lake),
        )


def gc(
    lake: Lake, *, expire_days: float = 30.0, keep_snapshots: int = 100, grace_hours: float = 24.0
) -> Plan:
    """Forget snapshots and remove what none names; what went, and nothing in ``later``.

    expire_days, keep_snapshots
        Forget snapshots that are older, not pinned, and not among the newest so many. Pins of
        runs that died and of exports that are gone are let go first.
    grace_hours
        Remove what was named by snapshots that were forgotten so long ago, or was written so long
        ago and never named. 0 only while nobody reads old snapshots.
    """
    _check(expire_days, keep_snapshots, grace_hours)
    parameters: dict[str, Json] = {
        "expire_days": expire_days,
        "keep_snapshots": keep_snapshots,
        "grace_hours": grace_hours,
    }
    with lake.run("gc", parameters, {"snapshot": str(lake.newest_snapshot())}) as run:
        if run.done:
            say("gc: another process has just done the same")
            return Plan([], [], [])
        run.hold("maintain")
        end_dead_runs(run)
        release_pins(lake)
        finish(run)
        expired = expire_snapshots(run, older_than=timedelta(days=expire_days), keep=keep_snapshots)
        removed = remove_unnamed(run, grace=timedelta(hours=grace_hours))
    return Plan(expired, removed, [])


def finish(run: Run) -> None:
    """What was withdrawn by a call that was killed is in no file any more, unless others work."""
    try:
        finish_withdrawals(run)
    except BusyError as error:
        say(f"gc: {error}")


def check_numbers(numbers: Mapping[str, tuple[float | None, int]]) -> None:
    """InputError unless each number, by its name, is between its least value and a million."""
    for name, (value, least) in numbers.items():
        if value is not None and not least <= value <= MOST:
            raise InputError(f"{name} is {value:g}; give {least} to {MOST:,}")


def _check(expire_days: float, keep_snapshots: int, grace_hours: float) -> None:
    check_numbers(
        {
            "expire_days": (expire_days, 0),
            "keep_snapshots": (keep_snapshots, 1),
            "grace_hours": (grace_hours, 0),
        }
    )
