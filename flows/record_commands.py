"""Commands that count what features do: alone, together, with labels, from corpus to corpus."""

from pathlib import Path
from typing import Any

import click

from actlake.flows.command import (
    COUNT,
    LakeCommand,
    lake_option,
    open_lake,
    runner_option,
    workers_options,
)

__all__ = ["diff_corpora", "summarize", "summarize_labels", "summarize_pairs"]

_mask = click.option("--mask", default="no_special", show_default=True, help="Rows that count.")
_level = click.Choice(["token", "document"])


@click.command(cls=LakeCommand)
@click.argument("codes", nargs=-1, required=True)
@lake_option
@runner_option
@workers_options
@click.option("--name", help="Of the set that several CODES make.")
@click.option("--mask", default="all", show_default=True, help="Rows that count.")
@click.option(
    "--examples", type=COUNT, default=20, show_default=True, help="Strongest rows a feature."
)
@click.option(
    "--tokens", type=COUNT, default=20, show_default=True, help="Tokens a feature and ranking."
)
@click.option(
    "--source", help="Label of documents to say over which of its values a feature fires."
)
@click.option("--weights", is_flag=True, help="Also of the dictionary's weights and logit effects.")
@click.option(
    "--token-sets",
    type=click.Path(path_type=Path),
    help="With --weights: file of token sets that features may raise, beside the usual ones.",
)
def summarize(
    path: Path, runner: str, weights: bool, token_sets: Path | None, **options: Any
) -> None:
    """Compute the statistics of every feature of CODES.

    Several CODES, of one dictionary over several corpora, are told of together, as a set: give its
    --name. What was computed of each before is not computed again.
    """
    from actlake.flows.codes_sets import members_of
    from actlake.flows.execution import execute
    from actlake.flows.token_sets import read_token_sets

    lake = open_lake(path)
    first, *_ = members_of(lake, options["codes"], options["name"])  # before anything is written
    options["codes"] = [*options["codes"]] if options["name"] is not None else first.name
    if weights or token_sets is not None:
        sets = {} if token_sets is None else {"token_sets": read_token_sets(token_sets)}
        asked: dict[str, Any] = {"dictionary": first.dictionary}
        execute(runner, "summarize_weights", lake, asked | sets)
    execute(runner, "summarize", lake, options)


@click.command(cls=LakeCommand)
@click.argument("codes")
@lake_option
@runner_option
@_mask
@click.option("--level", type=_level, default="token", show_default=True, help="What is counted.")
@click.option(
    "--top", type=COUNT, default=20, show_default=True, help="Partners to keep a feature."
)
@click.option(
    "--min-fires", type=COUNT, default=20, show_default=True, help="Least firings of a feature."
)
@click.option(
    "--min-joint", type=COUNT, default=5, show_default=True, help="Least joint firings of a pair."
)
@click.option(
    "--redundancy",
    "with_redundancy",
    is_flag=True,
    help="Also predict each feature from all others; above 4,096, by blocks.",
)
def summarize_pairs(path: Path, runner: str, **options: Any) -> None:
    """Count which features of CODES fire together, and find families.

    CODES may be a set that was summarized under the mask.
    """
    from actlake.flows.execution import execute

    execute(runner, "summarize_pairs", open_lake(path), options)


@click.command(cls=LakeCommand)
@click.argument("codes")
@lake_option
@runner_option
@click.option("--label", required=True, help="Label of documents or spans, of up to 50 values.")
@click.option("--subset-by", help="Another label: the same again within each of its values.")
@_mask
@click.option(
    "--level", type=_level, help="What is ranked: by default documents, of a label of spans rows."
)
@click.option(
    "--pooling", default="max", show_default=True, help="Of documents: max, mean, sum or any."
)
@click.option(
    "--min-fires", type=COUNT, default=5, show_default=True, help="Least firings of a feature."
)
def summarize_labels(path: Path, runner: str, **options: Any) -> None:
    """Score each feature of CODES against each value of a label.

    CODES may be a set that was summarized under the mask, and whose corpora have the label.
    """
    from actlake.flows.execution import execute

    execute(runner, "summarize_labels", open_lake(path), options)


@click.command(cls=LakeCommand)
@click.argument("a")
@click.argument("b")
@lake_option
@runner_option
@_mask
def diff_corpora(path: Path, runner: str, **options: Any) -> None:
    """Compare how often features fire in A and in B.

    A and B are codes of one dictionary over different corpora.
    """
    from actlake.flows.execution import execute

    execute(runner, "diff_corpora", open_lake(path), options)
