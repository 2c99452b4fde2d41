"""A line of each command that would do something, of which tests make one part bad.

They may name ``{folder}``, where ``bad_files`` lie, ``{model}`` and ``{tensor}``.
"""

from collections.abc import Iterator, Mapping, Sequence

import click

from actlake.flows.cli import main
from actlake.flows.command import Real, Whole

LINES: Mapping[str, Sequence[str]] = {
    "init": (),
    "ingest": ("{folder}/good.jsonl", "--corpus", "new"),
    "extract": ("{model}", "--corpus", "c", "--site", "resid_post.0"),
    "train": ("{tensor}", "--steps", "5", "--features", "32", "-k", "4", "--dictionary", "new"),
    "encode": ("d", "--codes", "new"),
    "summarize": ("d@c", "--mask", "no_special"),
    "summarize-pairs": ("d@c", "--min-fires", "2"),
    "summarize-labels": ("d@c", "--label", "side"),
    "compare": ("{tensor}", "wide@c"),
    "diff-corpora": ("d@c", "nothing"),
    "hypothesize": ("d@c", "--target", "side", "--group", "year"),
    "export": ("{folder}/export",),
    "pipeline": ("{folder}/good.toml",),
    "repair": (),
    "maintain": (),
    "ls": (),
    "show": ("d@c", "0"),
    "log": (),
    "sql": ("SELECT 1",),
    "verify": (),
    "plot": ("density", "-o", "{folder}/plot"),
    "gc": (),
    "compact": (),
    "backup": (),
    "restore": (),
    "pin": ("1", "--why", "test"),
    "unpin": ("nothing",),
    "delete": ("codes", "d@c"),
    "withdraw": ("c", "0", "--reason", "test"),
}
"""A line of each command that would do something: one of its parameters is then made bad."""

ADDED: Mapping[tuple[str, str], Sequence[str]] = {
    ("extract", "rowset"): ("--site", "resid_post.1"),
    ("ingest", "rows"): ("--model", "{model}"),
    ("ingest", "window"): ("--model", "{model}"),
    ("ingest", "overlap"): ("--model", "{model}", "--window", "32"),
}
"""What else stands in the line for a parameter that does nothing without."""
OF_EVERY = ("path", "runner")
"""Parameters that most commands have; tests of their own are about them."""


def commands() -> dict[str, click.Command]:
    return {name: main.commands[name] for name in main.list_commands(click.Context(main))}


def parameters(name: str) -> Iterator[click.Parameter]:
    """What a command takes besides the lake and the runner."""
    return (one for one in commands()[name].params if one.name not in OF_EVERY)


def line(command: str, parameter: click.Parameter, value: str) -> list[str]:
    """The good line of ``command`` with ``value`` for that parameter."""
    words = [*LINES[command], *ADDED.get((command, str(parameter.name)), ())]
    if (command, parameter.name) == ("sql", "query"):
        words = []  # either a SELECT or the name of one
    if isinstance(parameter, click.Option):
        words = without(words, parameter)
        long = parameter.opts[-1]
        words += [f"{long}={value}"] if long.startswith("--") else [long, value]
    else:
        arguments = [one for one in parameters(command) if isinstance(one, click.Argument)]
        at = [one.name for one in arguments].index(parameter.name)
        words[at : at + 1] = [value]
        if value.startswith("-"):
            words.insert(0, "--")
    return [command, *words]


def without(words: Sequence[str], option: click.Option) -> list[str]:
    left = [*words]
    for name in option.opts:
        while name in left:
            at = left.index(name)
            left[at : at + 2] = []
    return left


def lacking(command: str, parameter: click.Parameter) -> list[str]:
    """The good line of ``command`` without a parameter that it needs."""
    if isinstance(parameter, click.Option):
        return [command, *without(LINES[command], parameter)]
    words = [*LINES[command]]
    needed = [one.name for one in parameters(command) if isinstance(one, click.Argument)]
    return [command, *words[: needed.index(parameter.name)], *words[len(needed) :]]


def usable(parameter: click.Parameter) -> str:
    """A value that click takes."""
    kind = parameter.type
    if isinstance(kind, Whole | Real):
        return str(int(kind.min or 0) + 1)
    return str(kind.choices[0]) if isinstance(kind, click.Choice) else "x"
