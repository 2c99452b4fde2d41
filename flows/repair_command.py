"""The command that puts damaged files back."""

from pathlib import Path

import click

from actlake.flows.command import LakeCommand, lake_option, open_lake, runner_option

__all__ = ["repair"]


@click.command(cls=LakeCommand)
@lake_option
@runner_option
@click.option("--dry-run", is_flag=True, help="Only say what would be tried.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME=SOURCE",
    help="Where a model is now, if not where it was (repeatable).",
)
@click.option(
    "--images",
    multiple=True,
    metavar="CORPUS=FOLDER",
    help="Where the images of a corpus are now, if not where they were (repeatable).",
)
@click.option("--device", default="auto", show_default=True, help="Device to extract on again.")
def repair(
    path: Path,
    runner: str,
    dry_run: bool,
    models: tuple[str, ...],
    images: tuple[str, ...],
    device: str,
) -> None:
    """Put back, byte for byte, what verify finds damaged.

    Shards are extracted or encoded again, exactly those that are damaged; other files are made of
    what the lake has twice. Nothing is replaced by anything but what was committed.
    """
    from actlake.flows.execution import execute
    from actlake.storage.errors import CorruptError, FormatError
    from actlake.storage.repair import mend_settings
    from actlake.storage.verify import FOUNDATIONS

    try:
        lake = open_lake(path)
    except FormatError:
        there = (path / FOUNDATIONS[-1]).is_file()
        if dry_run or not there or not mend_settings(path.resolve()):
            raise
        click.echo(f"{FOUNDATIONS[0]} (lake): put back, copied from a backup")
        lake = open_lake(path)
    options = {"dry_run": dry_run, "models": models, "images": images, "device": device}
    found = execute(runner, "repair", lake, options)
    for one in found:
        click.echo(str(one))
    left = sum(not one.done for one in found)
    if left:
        raise CorruptError(f"{path} has {left:,} fault(s) that nothing in it can mend; see above")
    done = f"{len(found):,} files can be put back" if dry_run else f"{path} is as it was committed"
    click.echo(done if found else f"{path} is as it was committed")
