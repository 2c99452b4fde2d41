"""What every command has: where the lake is, and errors as one line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actlake.storage.lake import Lake

__all__ = ["LakeCommand", "lake_option", "open_lake", "open_or_create", "runner_option"]


class LakeCommand(click.Command):
    """Prints a LakeError as one line and ends with 1; any other exception is a bug and shows."""

    def invoke(self, ctx: click.Context) -> Any:
        from actlake.flows.visible import visible
        from actlake.storage.errors import LakeError

        try:
            return super().invoke(ctx)
        except LakeError as error:
            raise click.ClickException(visible(str(error))) from error


lake_option = click.option(
    "--lake",
    "path",
    envvar="ACTLAKE_LAKE",
    default="lake",
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Folder of the lake.",
)

runner_option = click.option(
    "--runner",
    envvar="ACTLAKE_RUNNER",
    default="prefect",
    show_default=True,
    show_envvar=True,
    type=click.Choice(["prefect", "inline"]),
    help="Carry it out as a Prefect flow, or as plain calls.",
)


def open_lake(path: Path) -> "Lake":
    """The lake at ``path``."""
    from actlake.storage.lake import Lake

    return Lake.open(path)


def open_or_create(path: Path) -> "Lake":
    """The lake at ``path``, made there first if nothing is."""
    from actlake.storage.lake import Lake

    if (path / "lake.toml").exists():
        return Lake.open(path)
    lake = Lake.create(path)
    click.echo(f"made a lake at {path}", err=True)
    return lake
