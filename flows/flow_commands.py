"""Commands that write: one for each flow, with the flow's own parameters as options."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actlake.flows.analysis_commands import compare, hypothesize
from actlake.flows.command import (
    COUNT,
    NATURAL,
    PRICE,
    RATE,
    SEED,
    LakeCommand,
    catalog_option,
    lake_option,
    open_lake,
    open_or_create,
    runner_option,
    store_option,
    workers_options,
)
from actlake.flows.record_commands import (
    diff_corpora,
    summarize,
    summarize_labels,
    summarize_pairs,
)

if TYPE_CHECKING:
    from actlake.storage.lake import Lake

__all__ = ["FLOW_COMMANDS"]


@click.command(cls=LakeCommand)
@lake_option
@catalog_option
@store_option
def init(path: Path, catalog: str, store: str) -> None:
    """Make an empty lake.

    For several machines: a --catalog in Postgres, and a --store in S3 unless they mount one folder.
    Each other machine then needs the file lake.toml, in a folder of its own, and credentials.
    """
    from actlake.storage.lake import Lake

    lake = Lake.create(path, catalog=catalog, store=store)
    click.echo(f"made a lake at {lake.root}")


@click.command(cls=LakeCommand)
@click.argument("source")
@lake_option
@runner_option
@click.option("--corpus", required=True, help="Name of the corpus.")
@click.option("--format", help="Format of the files, where their suffix does not tell it.")
@click.option("--text", default="text", show_default=True, help="Column that holds the text.")
@click.option("--id", "id_", help="Column of unique ids.")
@click.option("--label", "labels", multiple=True, help="Column to keep as a label (repeatable).")
@click.option("--spans", multiple=True, help="Column of lists of spans, a label (repeatable).")
@click.option("--metadata", help="Table with more columns, a row a document.")
@click.option("--metadata-key", help="Column of the metadata that holds the documents' ids.")
@click.option(
    "--unit",
    type=click.Choice(["document", "paragraph", "line"]),
    default="document",
    show_default=True,
    help="What becomes a document.",
)
@click.option(
    "--min-words", type=NATURAL, default=0, show_default=True, help="Leave out shorter documents."
)
@click.option("--where", help='SQL condition over labels, such as "year >= 1901".')
@click.option("--sample", type=COUNT, help="Documents to keep at most.")
@click.option("--stratify", help="Label whose values share the sample in proportion.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the sample.")
@click.option("--model", "models", multiple=True, help="Make rows of its tokens (repeatable).")
@click.option("--window", type=COUNT, help="Tokens of a window at most.")
@click.option(
    "--overlap", type=NATURAL, default=0, show_default=True, help="Tokens carried between windows."
)
@click.option(
    "--windowing",
    type=click.Choice(["document", "packed"]),
    default="document",
    show_default=True,
    help="Whether windows end with their document.",
)
@click.option(
    "--rows", help="Also make rows of those tokens alone that are under a mask: NAME[=CONDITION]."
)
@click.option("--documents", is_flag=True, help="Make a row a document, for pooled sites.")
@click.option(
    "--width-hint", type=COUNT, default=4096, show_default=True, help="Width of the widest tensor."
)
def ingest(path: Path, runner: str, source: str, **options: Any) -> None:
    """Bring documents and labels in, and cut them into rows.

    SOURCE is a file, folder or glob of text, JSON Lines, CSV, Parquet or Arrow, of images, or of
    arrays of images (.npy). Images stay where they are: the lake keeps their paths and hashes.
    """
    from actlake.flows.execution import execute
    from actlake.flows.first_checks import check_corpus, check_cuts
    from actlake.flows.sources import Source, holds_images

    reading = Source(
        path=source,
        id=options["id_"],
        labels=options["labels"] or None,
        **{
            name: options[name]
            for name in (
                "format",
                "text",
                "spans",
                "metadata",
                "metadata_key",
                "unit",
                "min_words",
                "where",
                "sample",
                "stratify",
                "seed",
            )
        },
    )
    shared = {"corpus": options["corpus"]}
    cutting = {name: options[name] for name in ("window", "overlap", "windowing", "rows")}

    def check(lake: "Lake", new: bool) -> None:
        if new:  # of another one the flow itself refuses what is faulty
            check_corpus(options["corpus"], reading, documents=options["documents"])
        cuts = [shared | {"source": model} | cutting for model in options["models"]]
        check_cuts(lake, cuts, images=bool(cuts) and holds_images(reading))

    lake = open_or_create(path, check)
    execute(runner, "ingest", lake, shared | {"source": reading})
    for model in options["models"]:
        cut = cutting | {"width_hint": options["width_hint"]}
        execute(runner, "ingest_tokens", lake, shared | {"source": model} | cut)
    if options["documents"]:
        hint = {"width_hint": options["width_hint"]}
        execute(runner, "ingest_documents", lake, shared | hint)


@click.command(cls=LakeCommand)
@click.argument("source")
@lake_option
@runner_option
@workers_options
@click.option("--corpus", required=True, help="Corpus to run the model over.")
@click.option("--site", "sites", multiple=True, required=True, help="Where to look (repeatable).")
@click.option("--model", help="Name of the model; by default the last part of SOURCE.")
@click.option("--revision", help="Branch, tag or commit of a hub model.")
@click.option("--window", type=COUNT, help="As given to ingest.")
@click.option("--rowset", help="Name of the rowset, where it is not the default one.")
@click.option("--rows", help="Mask of the rows to compute, as given to ingest.")
@click.option(
    "--dtype",
    default="float16",
    show_default=True,
    help="To store: float16, bfloat16, float32 or int8.",
)
@click.option("--compute-dtype", default="float32", show_default=True, help="Of the forward pass.")
@click.option("--attention", default="auto", show_default=True, help="Attention implementation.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
@click.option("--token-budget", type=COUNT, help="Padded tokens a forward pass.")
@click.option("--torch-threads", type=COUNT, help="Threads of torch; by default one a core.")
@click.option("--compile", "compiled", is_flag=True, help="Have torch compile the model.")
@click.option("--random-weights", type=SEED, help="Seed of an untrained twin, to compare with.")
@click.option("--trust-remote-code", is_flag=True, help="Run code that comes with the model.")
@click.option("--images", help="Folder that the images are below now, if not that of ingest.")
@click.option("--plan", is_flag=True, help="Print what would be written and stop.")
@click.option(
    "--price", type=PRICE, default=0.02, show_default=True, help="Euros a GB and month, for --plan."
)
def extract(path: Path, runner: str, *, plan: bool, price: float, **options: Any) -> None:
    """Run a model over a corpus and keep its activations.

    SOURCE is a hub id, a folder, a .gguf file, or package:NAME/path. A site is an alias such as
    resid_post.9, mlp_act.3 or pooled.mean, or a module path with its side; mlp_act.3[0:64,100]
    keeps these columns alone.
    """
    from actlake.flows.execution import execute

    options["sites"] = list(options["sites"])
    if plan:
        from actlake.flows.extract_plan import forecast
        from actlake.flows.terminal import print_forecast

        for one in ("torch_threads", "workers", "scheduler"):  # which change nothing here
            del options[one]
        print_forecast(forecast(open_lake(path), price=price, **options))
        return
    for name in execute(runner, "extract", open_lake(path), options):
        click.echo(name)


@click.command(cls=LakeCommand)
@click.argument("tensor")
@lake_option
@runner_option
@click.option(
    "--method", default="topk", show_default=True, help="topk, batchtopk, pca, random, identity."
)
@click.option("--features", "n_features", type=COUNT, help="By default four times the width.")
@click.option("-k", "k", type=COUNT, default=32, show_default=True, help="Features a row.")
@click.option("--steps", type=COUNT, default=2000, show_default=True, help="Optimiser steps.")
@click.option("--batch-rows", type=COUNT, default=1024, show_default=True, help="Rows a step.")
@click.option("--mask", default="no_special", show_default=True, help="Rows to learn from.")
@click.option(
    "--seed", type=SEED, default=0, show_default=True, help="Of the start and the shuffles."
)
@click.option("--learning-rate", type=RATE, help="By default it follows from the size.")
@click.option("--dictionary", help="Name of the dictionary.")
@click.option("--torch-threads", type=COUNT, help="Threads of torch; by default one a core.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def train(path: Path, runner: str, **options: Any) -> None:
    """Learn a dictionary of TENSOR and measure it on held-out documents."""
    from actlake.flows.execution import execute

    click.echo(execute(runner, "train", open_lake(path), options))


@click.command(cls=LakeCommand)
@click.argument("dictionary")
@lake_option
@runner_option
@workers_options
@click.option("--tensor", help="By default the one that the dictionary was trained on.")
@click.option("--codes", help="Name of the codes.")
@click.option("--dtype", default="float16", show_default=True, help="Of the values: or float32.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def encode(path: Path, runner: str, **options: Any) -> None:
    """Encode a tensor with DICTIONARY into codes and postings."""
    from actlake.flows.execution import execute

    click.echo(execute(runner, "encode", open_lake(path), options))


@click.command(cls=LakeCommand)
@click.argument("folder", type=click.Path(path_type=Path))
@lake_option
@runner_option
@click.option("--features", type=COUNT, default=20, show_default=True, help="Features on the page.")
@click.option("--mask", help="Mask of the statistics that are shown.")
def export(path: Path, runner: str, **options: Any) -> None:
    """Write every table, plots and a page of features into FOLDER."""
    from actlake.flows.execution import execute

    files = execute(runner, "export", open_lake(path), options)
    folder = options["folder"].expanduser().resolve()
    click.echo(f"{len(files):,} files in {folder}")
    for file in (one for one in files if one.parent == folder):  # others have folders of their own
        click.echo(file)


@click.command(cls=LakeCommand)
@click.argument("file", type=click.Path(path_type=Path))
@lake_option
@runner_option
@workers_options
def pipeline(path: Path, runner: str, file: Path, **steps: Any) -> None:
    """Run the whole chain that FILE describes; see docs/pipeline.md."""
    from actlake.flows.execution import execute
    from actlake.flows.first_checks import check_pipeline
    from actlake.flows.pipeline_file import read_pipeline
    from actlake.flows.workers import runner_of

    asked = read_pipeline(file)
    runner_of(**steps)
    lake = open_or_create(path, lambda lake, new: check_pipeline(lake, asked, new=new))
    execute(runner, "pipeline", lake, {"file": file} | steps)


FLOW_COMMANDS = (
    init,
    ingest,
    extract,
    train,
    encode,
    summarize,
    summarize_pairs,
    summarize_labels,
    compare,
    diff_corpora,
    hypothesize,
    export,
    pipeline,
)
