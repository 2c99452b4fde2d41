"""Commands that read: none of them starts Prefect or changes the lake."""

from pathlib import Path
from typing import Any

import click

from actlake.flows.command import COUNT, NATURAL, SECONDS, LakeCommand, lake_option, open_lake

__all__ = ["READ_COMMANDS"]

LISTS = {
    "corpora": "SELECT corpus, documents, source, fingerprint FROM corpora ORDER BY corpus",
    "models": "SELECT model, architecture, layers, width, source FROM models ORDER BY model",
    "rowsets": 'SELECT rowset, kind, "window", rows, shard_rows FROM rowsets ORDER BY rowset',
    "tensors": "SELECT tensor, rows, width, dtype, state FROM tensors ORDER BY tensor",
    "dictionaries": "SELECT dictionary, method, n_features, width, tensor FROM dictionaries "
    "ORDER BY dictionary",
    "codes": "SELECT codes, rows, n_features, nnz, state FROM codes ORDER BY codes",
    "labels": "SELECT corpus, label, count(DISTINCT document) AS documents, "
    "count(*) FILTER (char_start IS NULL OR char_stop > char_start) AS rows, "
    'count(DISTINCT coalesce(value_text, value_real::VARCHAR)) AS "values" FROM labels '
    "GROUP BY corpus, label ORDER BY corpus, label",
    "masks": "SELECT mask, predicate FROM masks ORDER BY mask",
    "summaries": "SELECT codes, mask, count(*) AS features, any_value(n_rows) AS n_rows "
    "FROM feature_statistics GROUP BY codes, mask ORDER BY codes, mask",
    "sets": "SELECT codes, mask, list(member ORDER BY place) AS members FROM codes_sets "
    "GROUP BY codes, mask ORDER BY codes, mask",
    "hypotheses": "SELECT target, codes, mask, count(*) AS hypotheses, run FROM hypotheses "
    "GROUP BY target, codes, mask, run ORDER BY run, target, codes, mask",
    "withdrawals": 'SELECT corpus, document, source_id, "at", reason, stale, purged '
    'FROM withdrawals ORDER BY "at", corpus, document',
}


@click.command("ls", cls=LakeCommand)
@click.argument("kind", required=False, type=click.Choice([*LISTS]))
@lake_option
def list_(path: Path, kind: str | None) -> None:
    """List what the lake holds, all kinds or one."""
    from actlake.flows.terminal import print_table

    lake = open_lake(path)
    for name in [kind] if kind else LISTS:
        rows = lake.sql(LISTS[name]).arrow()
        if kind or len(rows):
            print_table(rows, title=name)


@click.command(cls=LakeCommand)
@click.argument("codes")
@click.argument("feature", type=NATURAL)
@lake_option
@click.option("--mask", help="Mask of the statistics; by default that of the newest.")
@click.option("--limit", default=8, type=COUNT, show_default=True, help="Contexts to show.")
@click.option(
    "--kind",
    type=click.Choice(["top", "quantile", "random", "silent", "negative"]),
    default="top",
    show_default=True,
    help="Of contexts: strongest, of each tenth by value, any, silent, silent on its own tokens.",
)
def show(path: Path, codes: str, feature: int, mask: str | None, limit: int, kind: str) -> None:
    """Show what FEATURE of CODES does: statistics, flags, tokens, contexts."""
    from actlake.flows.feature_text import print_feature

    print_feature(open_lake(path), codes, feature, mask, limit, kind)


@click.command(cls=LakeCommand)
@lake_option
@click.option("--limit", default=20, type=COUNT, show_default=True, help="Newest entries to show.")
@click.option("--snapshots", is_flag=True, help="Every commit instead of every run.")
@click.option("--pins", is_flag=True, help="Snapshots that are kept, and what for.")
def log(path: Path, limit: int, snapshots: bool, pins: bool) -> None:
    """Show who wrote what: runs, or commits, or pins."""
    from actlake.flows.terminal import print_table

    lake = open_lake(path)
    if pins:
        import pyarrow as pa

        from actlake.storage.claims import Claims

        schema = pa.schema({"snapshot": pa.int64(), "why": pa.string()})
        kept = [{"snapshot": one, "why": why} for one, why in Claims(lake.database).pins()]
        print_table(pa.Table.from_pylist(kept, schema), title="pins")
        return
    if snapshots:
        print_table(lake.snapshots(limit), title="snapshots")
        return
    query = """
        SELECT
            run, author, host, flow, state, started, seconds, snapshot_before, snapshot_after,
            coalesce(names, CASE WHEN flow = 'delete' THEN parameters END) AS wrote,
            error
        FROM run_log ORDER BY started DESC, run DESC LIMIT $limit
    """
    print_table(lake.sql(query, limit=limit).arrow(), title="runs")


@click.command(cls=LakeCommand)
@click.argument("select", required=False)
@lake_option
@click.option("--query", help="Run a query of the project instead; see --list.")
@click.option("--list", "listing", is_flag=True, help="List the queries and what they take.")
@click.option("-p", "--parameter", "given", multiple=True, help="name=value for $name.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="By default a table, or what the suffix of --output says.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File instead of the screen.")
@click.option("--at", "snapshot", type=NATURAL, help="Ask the lake as of this snapshot.")
@click.option(
    "--seconds",
    type=SECONDS,
    default=300.0,
    show_default=True,
    help="Stop the query after this long.",
)
def sql(path: Path, select: str | None, query: str | None, listing: bool, **options: Any) -> None:
    """Ask the lake one SELECT."""
    from actlake import sql as statements
    from actlake.flows.interrupt import interruptible
    from actlake.flows.terminal import parameters, write_result
    from actlake.storage.named_queries import query_parameters

    if listing:
        for name in statements.names("queries"):
            click.echo(statements.text("queries", name).split("\n", 1)[0].removeprefix("-- "))
            if taken := query_parameters(name):
                click.echo(f"    -p: {taken}")
        return
    if (select is None) == (query is None):
        raise click.UsageError("nothing is asked; give one SELECT, or --query NAME, or --list")
    lake = open_lake(path)
    if options["snapshot"] is not None:
        lake = lake.at(options["snapshot"])
    values = parameters(options["given"])
    with interruptible():
        if query is not None:
            result = lake.query(query, seconds=options["seconds"], **values)
        else:
            result = lake.sql(select or "", seconds=options["seconds"], **values)
        write_result(result, options["style"], options["output"])


@click.command(cls=LakeCommand)
@lake_option
def verify(path: Path) -> None:
    """Read every byte of the lake and report what is not as it was committed."""
    from actlake.flows.maintain import remedy
    from actlake.flows.progress import progress
    from actlake.storage.errors import CorruptError, FormatError
    from actlake.storage.verify import FOUNDATIONS, Fault, verify_unopened

    faults: list[Fault] = []
    try:
        lake = open_lake(path)
    except (CorruptError, FormatError) as error:
        if any((path / name).exists() for name in FOUNDATIONS):  # else it is no lake
            faults += verify_unopened(path.resolve())
        for fault in faults:
            click.echo(str(fault))
        if faults:
            raise CorruptError(f"{path} cannot be opened; {remedy(faults)}") from error
        raise
    with progress(f"verify {lake.root}", lake.bytes(), "bytes") as advance:
        for fault in lake.verify(advance, tell=click.echo):
            faults.append(fault)
            click.echo(str(fault))
    if faults:
        raise CorruptError(f"{lake.root} has {len(faults):,} fault(s); {remedy(faults)}")
    click.echo(f"{lake.root} is as it was committed")


@click.command(cls=LakeCommand)
@click.argument("kind")
@lake_option
@click.option("--codes", help="Codes to plot; by default all.")
@click.option("--mask", help="Mask of the statistics.")
@click.option("--feature", type=NATURAL, help="Feature, where one is plotted.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File without suffix; by default the kind. A PNG and an SVG are written.",
)
def plot(
    path: Path,
    kind: str,
    codes: str | None,
    mask: str | None,
    feature: int | None,
    output: Path | None,
) -> None:
    """Draw KIND: density, feature, front, fvu, histogram, hypotheses, l0, labels, layers, matches
    or pairs.
    """
    from actlake.flows.figures import save
    from actlake.flows.plots import plot as draw

    figure = draw(open_lake(path), kind, codes=codes, mask=mask, feature=feature)
    for file in save(figure, output or Path(kind)):
        click.echo(file)


READ_COMMANDS = (list_, show, log, sql, verify, plot)
