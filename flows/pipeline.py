"""pipeline: the whole chain that one TOML file describes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from actlake.flows.execution import call_inline
from actlake.flows.pipeline_file import Dictionary, Model, PipelineFile, read_pipeline
from actlake.flows.pipeline_tables import Summary
from actlake.flows.progress import say
from actlake.flows.token_sets import read_token_sets
from actlake.flows.workers import SHARED
from actlake.storage.lake import Lake

__all__ = ["cutting", "pipeline", "record"]

Call = Callable[[str, Lake, Mapping[str, Any]], Any]
TRAINED = frozenset(
    "method n_features k steps batch_rows mask seed learning_rate dead_after_rows baselines".split()
)


def pipeline(
    lake: Lake,
    *,
    file: Path,
    call: Call = call_inline,
    workers: int | None = None,
    scheduler: str | None = None,
) -> None:
    """Everything that ``file`` asks for is in the lake and exported; what is there stays.

    The file is described in docs/pipeline.md. ``call`` carries out one verb: here as a plain call,
    under Prefect as a subflow. ``workers`` and ``scheduler`` say who extracts, encodes and
    summarizes, as of ``workers.runner_of``.
    """
    call = _shared(call, {"workers": workers, "scheduler": scheduler})
    asked = read_pipeline(Path(file))
    given = asked.summary.token_sets if asked.summary else None
    sets = None if given is None else read_token_sets(Path(given))  # before any work
    for mask in asked.masks:
        lake.create_mask(mask.name, mask.predicate)
    _ingest(lake, asked, call)
    tensors: dict[str, str] = {}
    for model in asked.models:
        names = call("extract", lake, _extraction(asked, model))
        tensors |= dict(zip((f"{model.name}:{site}" for site in model.sites), names, strict=True))
    dictionaries = {
        name: call("train", lake, _training(one, tensors))
        for name, one in _named(asked.dictionaries)
    }
    codes = _encode(lake, asked, call, tensors, dictionaries)
    if asked.summary is not None:
        for name in codes.values():
            _summarize(lake, asked.summary, call, name)
        for one in asked.sets:
            _summarize(lake, asked.summary, call, [codes.get(of, of) for of in one.codes], one.name)
        first = {one.name: codes.get(one.codes[0], one.codes[0]) for one in asked.sets}
        named = asked.summary.records
        told = codes.values() if named is None else [codes.get(name, name) for name in named]
        record(lake, asked.summary, call, {name: first.get(name, name) for name in told}, sets)
    _ask(lake, asked, call, tensors | codes)
    if asked.export is not None:
        folder = Path(asked.export.folder or lake.root / "export")
        call("export", lake, {"folder": folder, "features": asked.export.features})
        say(f"exported to {folder}: open {folder / 'report.html'} first")
    say(f"the lake is {lake.root}: `actlake ls --lake {lake.root}` lists what is in it")


def _shared(call: Call, steps: Mapping[str, Any]) -> Call:
    """``call``, with ``steps`` for the verbs that take them."""

    def carried_out(verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
        return call(verb, lake, {**parameters, **(steps if verb in SHARED else {})})

    return carried_out


def _ingest(lake: Lake, asked: PipelineFile, call: Call) -> None:
    corpus = {"corpus": asked.corpus.name}
    call("ingest", lake, corpus | {"source": asked.corpus.source})
    hint = {"width_hint": asked.corpus.width_hint}
    if asked.documents is not None:
        call("ingest_documents", lake, corpus | hint)
    for model in asked.models:
        if cut := cutting(asked, model):
            call("ingest_tokens", lake, cut | hint)


def cutting(asked: PipelineFile, model: Model) -> dict[str, Any]:
    """How the corpus is cut into rows for the model; empty if it has sites of documents alone."""
    if all(site.startswith("pooled.") for site in model.sites):
        return {}
    return {
        "corpus": asked.corpus.name,
        "source": model.source,
        "model": model.name,
        "revision": model.revision,
        "window": model.window,
        "overlap": model.overlap,
        "windowing": model.windowing,
        "rowset": model.rowset,
        "rows": model.rows,
        "trust_remote_code": model.trust_remote_code,
    }


def _extraction(asked: PipelineFile, model: Model) -> dict[str, Any]:
    return {
        "source": model.source,
        "sites": list(model.sites),
        "corpus": asked.corpus.name,
        "model": model.name,
        **{
            name: getattr(model, name)
            for name in (
                "revision",
                "window",
                "rowset",
                "rows",
                "dtype",
                "compute_dtype",
                "attention",
                "device",
                "token_budget",
                "compiled",
                "random_weights",
                "trust_remote_code",
            )
        },
    }


def _training(one: Dictionary, tensors: Mapping[str, str]) -> dict[str, Any]:
    given = {name: value for name, value in one.model_dump().items() if name in TRAINED}
    return given | {"tensor": tensors.get(one.tensor, one.tensor), "dictionary": one.name}


def _named(dictionaries: tuple[Dictionary, ...]) -> list[tuple[str, Dictionary]]:
    """Each dictionary by its name in the file; one without a name by its place."""
    return [(one.name or f"#{number}", one) for number, one in enumerate(dictionaries)]


def _encode(
    lake: Lake,
    asked: PipelineFile,
    call: Call,
    tensors: Mapping[str, str],
    dictionaries: Mapping[str, str],
) -> dict[str, str]:
    """The names of all codes, by what this file calls them: by their dictionary, or by a name."""
    if asked.codes is None:
        return {
            called: call("encode", lake, {"dictionary": name})
            for called, name in dictionaries.items()
        }
    return {
        codes.name or codes.dictionary: call(
            "encode",
            lake,
            {
                "dictionary": dictionaries.get(codes.dictionary, codes.dictionary),
                "tensor": tensors.get(codes.tensor or "", codes.tensor),
                "codes": codes.name,
                "dtype": codes.dtype,
            },
        )
        for codes in asked.codes
    }


def _ask(lake: Lake, asked: PipelineFile, call: Call, known: Mapping[str, str]) -> None:
    """Comparisons and hypotheses over ``known`` codes and tensors, or those of full names."""
    for pair in asked.comparisons:
        sides = {"a": known.get(pair.a, pair.a), "b": known.get(pair.b, pair.b)}
        call("compare", lake, pair.model_dump() | sides)
    for one in asked.hypotheses:
        call("hypothesize", lake, one.model_dump() | {"codes": known.get(one.codes, one.codes)})


def _summarize(
    lake: Lake, asked: Summary, call: Call, codes: str | list[str], name: str | None = None
) -> None:
    given = {one: getattr(asked, one) for one in ("examples", "tokens", "source")}
    if name is not None:
        given["name"] = name
    for mask in _masks(lake, asked, codes if isinstance(codes, str) else codes[0]):
        call("summarize", lake, {"codes": codes, "mask": mask} | given)


def _masks(lake: Lake, asked: Summary, codes: str) -> tuple[str, ...]:
    # A document has no tokens that a mask could leave out.
    return ("all",) if lake.codes(codes).rowset.kind == "document" else asked.masks


def record(
    lake: Lake,
    asked: Summary,
    call: Call,
    codes: Mapping[str, str],
    token_sets: Mapping[str, Sequence[str]] | None,
) -> None:
    """Weights, pairs and labels of codes, or sets of them, as far as they are asked for; ``codes``
    says of each name which codes it is of, of a set one of them."""
    if asked.weights or token_sets:
        for name in dict.fromkeys(lake.codes(one).dictionary for one in codes.values()):
            call("summarize_weights", lake, {"dictionary": name, "token_sets": token_sets})
    for one, member in codes.items():
        whole = lake.codes(member).rowset.kind == "document"
        for mask in _masks(lake, asked, member):
            of = {"codes": one, "mask": mask}
            for level in dict.fromkeys(asked.pairs):
                if level == "document" or not whole:
                    call("summarize_pairs", lake, of | {"level": level})
            for label in dict.fromkeys(asked.labels):
                given = of | {"label": label, "subset_by": asked.subset_by}
                call("summarize_labels", lake, given)
