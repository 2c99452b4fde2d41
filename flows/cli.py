"""The command line: parse, call, print. Heavy imports wait until a command runs."""

from importlib.metadata import version
from typing import Any

import click

from actlake.flows.command import OneLine
from actlake.flows.flow_commands import FLOW_COMMANDS
from actlake.flows.read_commands import READ_COMMANDS
from actlake.flows.upkeep_commands import UPKEEP_COMMANDS

__all__ = ["main"]

SECTIONS = {
    "Writing": FLOW_COMMANDS,
    "Reading": READ_COMMANDS,
    "Upkeep": UPKEEP_COMMANDS,
}
COMMANDS = tuple(one for commands in SECTIONS.values() for one in commands)


class Sections(OneLine, click.Group):
    """A group whose help lists its commands in sections, in the order of use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return [*(one.name or "" for one in COMMANDS)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(one.name or "", one.get_short_help_str(70)) for one in commands]
                )


@click.group(
    cls=Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="The lake is --lake, else $ACTLAKE_LAKE, else ./lake.",
)
@click.version_option(version("actlake"), prog_name="actlake")
def main(**_: Any) -> None:
    """A data lake for neural-network activations: write with flows, ask with SQL."""


for command in COMMANDS:
    main.add_command(command)
