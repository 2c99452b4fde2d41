"""Commands of upkeep: what a lake keeps, what it gives up, and how it is put back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from actlake.flows.command import (
    DAYS,
    HOURS,
    NATURAL,
    LakeCommand,
    lake_option,
    open_lake,
    runner_option,
)
from actlake.flows.repair_command import repair

__all__ = ["UPKEEP_COMMANDS"]

Command = TypeVar("Command", bound=Callable[..., Any])

KINDS = ("model", "corpus", "rowset", "tensor", "dictionary", "codes", "mask")
"""Those of ``storage.names``, which would be slow to import for a line of help."""


def retention_options(command: Command) -> Command:
    """What is kept, and for how long."""
    for option in (
        click.option(
            "--grace-hours",
            type=HOURS,
            default=24.0,
            show_default=True,
            help="Remove files that no snapshot has named for so long.",
        ),
        click.option(
            "--keep-snapshots",
            type=NATURAL,
            default=100,
            show_default=True,
            help="The newest so many are kept, however old.",
        ),
        click.option(
            "--expire-days",
            type=DAYS,
            default=30.0,
            show_default=True,
            help="Forget snapshots that are older and not pinned.",
        ),
    ):
        command = option(command)
    return command


@click.command(cls=LakeCommand)
@lake_option
@runner_option
@click.option(
    "--verify-parts",
    type=NATURAL,
    default=7,
    show_default=True,
    help="Read one of so many parts, the next one each time; 1 reads all, 0 nothing.",
)
@click.option(
    "--compact/--no-compact",
    default=True,
    show_default=True,
    help="Gather the postings of a feature, which encoding leaves one file a shard.",
)
@click.option(
    "--merge/--no-merge", default=True, show_default=True, help="Small files of a table into few."
)
@retention_options
@click.option("--no-expire", is_flag=True, help="Forget no snapshot.")
@click.option("--no-remove", is_flag=True, help="Remove no file.")
@click.option(
    "--backups",
    type=NATURAL,
    default=7,
    show_default=True,
    help="Backups of the catalog to keep; 0 makes none.",
)
def maintain(path: Path, runner: str, no_expire: bool, no_remove: bool, **options: Any) -> None:
    """Verify a part of the lake, tidy it, and back its catalog up.

    Every step may be killed, and is taken up by the next call.
    """
    from actlake.flows.execution import execute

    if no_expire:
        options["expire_days"] = None
    if no_remove:
        options["grace_hours"] = None
    execute(runner, "maintain", open_lake(path), options)


@click.command(cls=LakeCommand)
@lake_option
@click.option("--remove", is_flag=True, help="Do it; else only say what would go.")
@retention_options
@click.option("--list", "listing", is_flag=True, help="Name every file and folder.")
def gc(path: Path, remove: bool, listing: bool, **options: Any) -> None:
    """Forget old snapshots and remove files that none names.

    In two steps: a file goes when the last snapshot that named it has been forgotten for the grace
    period. Without --remove nothing is changed.
    """
    from actlake.flows import gc as flow
    from actlake.flows.terminal import print_removal

    lake = open_lake(path)
    plan = flow.gc(lake, **options) if remove else flow.would_remove(lake, **options)
    print_removal(plan, done=remove, listing=listing)


@click.command(cls=LakeCommand)
@lake_option
@click.option(
    "--merge/--no-merge", default=True, show_default=True, help="Also small files of tables."
)
def compact(path: Path, merge: bool) -> None:
    """Gather the postings of each feature, and small files of tables.

    Encoding leaves a file of postings a shard. Older snapshots keep the old files until gc.
    """
    from actlake.flows.maintain import maintain

    nothing: dict[str, Any] = {"expire_days": None, "grace_hours": None, "backups": 0}
    maintain(open_lake(path), verify_parts=0, compact=True, merge=merge, **nothing)


@click.command(cls=LakeCommand)
@lake_option
@click.option(
    "--keep", type=NATURAL, default=7, show_default=True, help="Backups to keep, with this one."
)
@click.option("--list", "listing", is_flag=True, help="List the backups that there are.")
def backup(path: Path, keep: int, listing: bool) -> None:
    """Copy the catalog of the lake, which others may use meanwhile.

    Data files are immutable, so a backup pins its snapshot instead of copying them. It is in the
    lake's folder; against the loss of the disk, copy that folder.
    """
    from actlake.flows.gc import catalog_of
    from actlake.flows.terminal import print_backups
    from actlake.storage.backup import back_up, backups

    if listing:  # also of a lake whose catalog is damaged
        print_backups(backups(path.expanduser().resolve()))
        return
    lake = open_lake(path)
    with catalog_of(lake) as (catalog, claims):
        made = back_up(lake.root, catalog, claims, keep=keep)
    click.echo(f"{made.folder} has the catalog of snapshot {made.snapshot}, {made.bytes:,} bytes")


@click.command(cls=LakeCommand)
@click.argument("snapshot", type=NATURAL, required=False)
@lake_option
@click.option("--yes", is_flag=True, help="Do it; else only say what would be put back.")
def restore(path: Path, snapshot: int | None, yes: bool) -> None:
    """Put back the catalog of a backup, of SNAPSHOT or the newest.

    For a lake whose catalog is damaged, while nothing else has it open. What it replaces is kept
    beside the backups; what was committed after the backup is not in the lake any more.
    """
    from actlake.storage.backup import chosen_backup, restore

    root = path.expanduser().resolve()
    found = chosen_backup(root, snapshot)
    if not yes:
        click.echo(f"{found.folder}, made {found.made}, would be put back; add --yes to do it")
        return
    restore(root, found.snapshot)
    click.echo(f"{root} is as it was at snapshot {found.snapshot}; now run `actlake verify`")


@click.command(cls=LakeCommand)
@click.argument("snapshot", type=NATURAL, required=False)
@lake_option
@click.option("--why", required=True, help="What it is kept for; unpin by the same words.")
def pin(path: Path, snapshot: int | None, why: str) -> None:
    """Keep SNAPSHOT, by default the newest, whatever gc forgets.

    Exports and backups pin theirs by themselves; log --pins lists all.
    """
    lake = open_lake(path)
    number = (lake if snapshot is None else lake.at(snapshot)).pin(why)
    click.echo(f"snapshot {number} is kept: {why}")


@click.command(cls=LakeCommand)
@click.argument("why")
@lake_option
def unpin(path: Path, why: str) -> None:
    """Let go of what is kept for the reason WHY."""
    from actlake.flows.gc import catalog_of
    from actlake.storage.errors import NotFoundError

    with catalog_of(open_lake(path)) as (_, claims):
        numbers = [str(number) for number, reason in claims.pins() if reason == why]
        if not numbers:
            raise NotFoundError(f"no snapshot is kept for {why!r}; see `actlake log --pins`")
        claims.unpin(why)
    click.echo(f"let go of snapshot {', '.join(numbers)}")


@click.command(cls=LakeCommand)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@lake_option
@click.option("--cascade", is_flag=True, help="Delete what was made of it as well.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def delete(path: Path, kind: str, name: str, cascade: bool, dry_run: bool) -> None:
    """Delete the KIND of NAME, which must have nothing made of it.

    Older snapshots still show it, until gc forgets them and removes its files. The name is free.
    """
    from actlake.flows import delete as flow
    from actlake.flows.terminal import print_deletion

    lake = open_lake(path)
    if dry_run:
        print_deletion(flow.would_delete(lake, kind=kind, name=name))
        return
    print_deletion(flow.delete(lake, kind=kind, name=name, cascade=cascade))


@click.command(cls=LakeCommand)
@click.argument("corpus")
@click.argument("document", nargs=-1, required=True)
@lake_option
@click.option("--reason", required=True, help="Why, for the record.")
@click.option("--source-id", is_flag=True, help="DOCUMENT is its id in the source, not its number.")
def withdraw(
    path: Path, corpus: str, document: tuple[str, ...], reason: str, source_id: bool
) -> None:
    """Take back each DOCUMENT of CORPUS for good, at every snapshot.

    Its text, labels, activations and codes are emptied and removed from every file, and with them
    the snapshots that held it, whatever pins them. Row numbers stay.
    """
    from actlake.flows.terminal import print_withdrawal
    from actlake.flows.withdraw import withdraw

    numbers = document if source_id else [_number(one) for one in document]
    lake = open_lake(path)
    done = withdraw(lake, corpus=corpus, documents=numbers, reason=reason, source_ids=source_id)
    print_withdrawal(done)


def _number(document: str) -> int:
    if not document.isascii() or not document.isdigit():
        raise click.BadParameter(f"{document!r} is no number; for an id add --source-id")
    return int(document)


UPKEEP_COMMANDS = (maintain, repair, gc, compact, backup, restore, pin, unpin, delete, withdraw)
