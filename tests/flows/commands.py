"""What tests of the command line share: a call, and the two ways in which it may end."""

from collections.abc import Callable

from click.testing import Result

Cli = Callable[..., Result]
"""Runs a command in this process: the lake, then the arguments."""


def ok(result: Result) -> str:
    """What a command that must succeed printed on standard output."""
    assert result.exception is None, result.output
    assert result.exit_code == 0
    return result.stdout


def refused(result: Result) -> str:
    """The one line of a command that must be refused."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]
