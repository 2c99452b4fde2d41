"""Commands that ask questions across codes and labels, and keep the answers."""

from pathlib import Path
from typing import Any

import click

from actlake.flows.command import (
    COUNT,
    NATURAL,
    SEED,
    LakeCommand,
    lake_option,
    open_lake,
    runner_option,
)

__all__ = ["compare", "hypothesize"]


@click.command(cls=LakeCommand)
@click.argument("a")
@click.argument("b")
@lake_option
@runner_option
@click.option("--mask", default="no_special", show_default=True, help="Rows that count.")
@click.option(
    "--min-fires", type=NATURAL, default=20, show_default=True, help="Least firings of a feature."
)
@click.option("--permutations", type=COUNT, help="Of documents: 20 for codes, 99 for tensors.")
@click.option("--most-rows", type=COUNT, help="Rows: 1,000,000 of codes, 8,192 of tensors.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Of rows drawn and permutations."
)
def compare(path: Path, runner: str, **options: Any) -> None:
    """Match the features of two codes, or see how alike two tensors are.

    A and B are codes, or tensors, of one corpus; their tokenizers may differ.
    """
    from actlake.flows.execution import execute

    execute(runner, "compare", open_lake(path), options)


@click.command(cls=LakeCommand)
@click.argument("codes")
@lake_option
@runner_option
@click.option("--target", required=True, help="Label that features may go with.")
@click.option("--level", help="Class of the label, against all others.")
@click.option("--group", required=True, help="Label whose values stay on one side of the split.")
@click.option("--unit", help="Finer label over whose values the target is permuted.")
@click.option("--mask", default="no_special", show_default=True, help="Rows that count.")
@click.option("--pooling", default="max", show_default=True, help="max, mean, sum or any.")
@click.option(
    "--top", type=COUNT, default=20, show_default=True, help="Features to select, by each screen."
)
@click.option(
    "--min-documents", type=NATURAL, default=10, show_default=True, help="Firing documents of each."
)
@click.option(
    "--draws", type=COUNT, default=9999, show_default=True, help="Permutations of the target."
)
@click.option(
    "--seed",
    type=SEED,
    default=0,
    show_default=True,
    help="Of split and permutations.",
)
def hypothesize(path: Path, runner: str, **options: Any) -> None:
    """Find features of CODES that may go with a label, tested once on unseen groups."""
    from actlake.flows.execution import execute

    execute(runner, "hypothesize", open_lake(path), options)
