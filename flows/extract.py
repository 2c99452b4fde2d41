"""extract: run a model over the rows of a rowset and keep what it computes at chosen sites."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from actlake.flows.default_names import documents_name, rowset_name, tensor_name
from actlake.flows.progress import progress, say
from actlake.flows.runners import Inline, Runner
from actlake.storage.errors import InputError, NotFoundError, PrecisionError
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.rowset_writer import RowsetPlan
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.tensor_writer import (
    TensorPlan,
    abandon_tensors,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
    tensor_fingerprint,
)

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["extract"]

TOKEN_BUDGET = {"cpu": 2048, "mps": 8192, "cuda": 16384}
"""Padded tokens a forward pass. On two cores 2,048 sorted by length were 2.2 times as fast as
batches in corpus order."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one extraction computes: some sites of one model over one rowset."""

    facts: "ModelFacts"
    rowset: Rowset
    sites: tuple[str, ...]
    plans: tuple[TensorPlan, ...]
    """One for each site."""
    device: str
    compute_dtype: str
    attention: str
    window: int
    """Tokens of a window, for pooled sites, which cut the documents themselves."""
    last_layer: int | None
    """The last block that has to run; None for the whole model."""


def extract(
    lake: Lake,
    *,
    source: str,
    sites: Sequence[str],
    corpus: str,
    model: str | None = None,
    window: int | None = None,
    rowset: str | None = None,
    dtype: str = "float16",
    compute_dtype: str = "float32",
    attention: str = "sdpa",
    device: str = "auto",
    token_budget: int | None = None,
    torch_threads: int | None = None,
    trust_remote_code: bool = False,
    runner: Runner | None = None,
) -> list[str]:
    """Names of the tensors, one for each of ``sites``, complete when this returns.

    All token sites are captured in one forward pass over the rowset, which is stopped after the
    last layer needed; pooled sites take a pass of their own over the documents. What is committed
    already is not computed again.

    source
        Hub id, directory, ``.gguf`` file, or ``package:NAME/path``.
    model, rowset
        Default to the last part of the source, and to the rowset that ``ingest`` makes for it.
    token_budget, torch_threads
        Fixed when the tensors are planned, and recorded; a run that is taken up again keeps them.
    """
    from actlake.flows.extraction import models
    from actlake.flows.extraction import sites as site_table

    facts = models.inspect_model(source, name=model, trust_remote_code=trust_remote_code)
    skeleton = models.skeleton(facts)
    resolved = site_table.resolve_sites(skeleton, list(dict.fromkeys(sites)))
    if not resolved:
        raise InputError(f"no site of {facts.name} was named; try --site resid_post.0")
    cut = window or facts.default_window
    shown_window = None if cut == facts.default_window else cut
    tokens_rowset = rowset or rowset_name(corpus, facts.tokenizer, shown_window)
    names = []
    # Pooled and token sites have different row axes, so they are different runs.
    for pooled in (False, True):
        group = [site for site in resolved if site_table.is_pooled(site.alias) == pooled]
        if not group:
            continue
        rows = lake.rowset(documents_name(corpus) if pooled else tokens_rowset)
        if not pooled:
            _refuse_other_tokenizer(lake, rows, facts, cut)
        provenance: tuple[tuple[str, int | str], ...] = (("attention", attention),)
        if pooled:
            provenance += (("window", cut), ("tokenizer_fingerprint", facts.tokenizer_fingerprint))
        plans = tuple(
            TensorPlan(
                name=tensor_name(facts.name, site.alias, corpus, shown_window),
                model=facts.name,
                model_fingerprint=facts.fingerprint,
                site=site.alias,
                module=site.module,
                side="pooled" if pooled else site.side,
                rowset=rows,
                dtype=dtype,
                compute_dtype=compute_dtype,
                width=site.width,
                provenance=provenance,
            )
            for site in group
        )
        request = Request(
            facts=facts,
            rowset=rows,
            sites=tuple(site.alias for site in group),
            plans=plans,
            device=device,
            compute_dtype=compute_dtype,
            attention=attention,
            window=cut,
            last_layer=site_table.last_layer(group),
        )
        _run(lake, request, token_budget, torch_threads, runner or Inline())
        names += [plan.name for plan in plans]
    return names


def _run(
    lake: Lake,
    request: Request,
    token_budget: int | None,
    torch_threads: int | None,
    runner: Runner,
) -> None:
    names = [plan.name for plan in request.plans]
    inputs = {plan.name: tensor_fingerprint(plan) for plan in request.plans}
    with lake.run("extract", {"sites": list(request.sites)}, inputs) as run:
        if run.done:
            say(f"extract: {', '.join(names)} found complete")
            return
        budget, threads = _batch_plan(lake, request, token_budget, torch_threads)
        plans = tuple(_with_batch_plan(plan, budget, threads) for plan in request.plans)
        _record_model(run, request.facts)
        ids = plan_tensors(run, plans)
        try:
            _compute(lake, run, request, plans, ids, budget, threads, runner)
        except PrecisionError:
            abandon_tensors(run, ids)
            raise
        seal(run, plans, ids)


def _compute(
    lake: Lake,
    run: Run,
    request: Request,
    plans: Sequence[TensorPlan],
    ids: Mapping[str, str],
    budget: int,
    threads: int,
    runner: Runner,
) -> None:
    """Compute and commit every shard that some tensor lacks."""
    from actlake.flows.extraction import models

    grid = request.rowset.grid
    committed = {name: lake.committed_shards(tensor_id) for name, tensor_id in ids.items()}
    missing = {
        shard: [plan for plan in plans if shard not in committed[plan.name]]
        for shard in range(len(grid))
    }
    todo = [shard for shard, lacking in missing.items() if lacking]
    if not todo:
        return
    models.set_threads(threads)
    loaded = models.load_model(
        request.facts,
        device=request.device,
        compute_dtype=request.compute_dtype,
        attention=request.attention,
        last_layer=request.last_layer,
    )

    def step(shard: int) -> list[Receipt]:
        captured = _capture(lake, loaded, request, shard, budget)
        return [
            publish_shard(
                run,
                plan,
                ids[plan.name],
                shard,
                captured[plan.site],
                token_budget=budget,
                torch_threads=threads,
            )
            for plan in missing[shard]
        ]

    rows = sum(grid.span(shard)[1] - grid.span(shard)[0] for shard in todo)
    label = f"extract {request.facts.name} {' '.join(request.sites)}"
    with progress(label, rows) as advance:
        for shard, receipts in zip(todo, runner.map("extract shard", step, todo), strict=True):
            commit_shards(run, receipts, f"shard {shard} of {', '.join(ids)}")
            advance(receipts[0].row_stop - receipts[0].row_start)


def _capture(
    lake: Lake, loaded: "LoadedModel", request: Request, shard: int, budget: int
) -> dict[str, NDArray[Any]]:
    """Each site's rows of one shard, computed from its row range alone."""
    from actlake.flows.extraction import capture, tokens, windows

    start, stop = request.rowset.grid.span(shard)
    rowset = request.rowset
    if rowset.kind == "document":
        texts = _texts(lake, rowset.corpus, start, stop)
        documents = tokens.tokenize_documents(loaded.tokenizer, texts, window=request.window)
        cut = [windows.windows_of_document(document) for document in documents]
        return capture.pool(loaded, cut, request.sites, token_budget=budget)
    found = windows.windows_of_rows(
        rowset.column, rowset.rows, start, stop, windowing=rowset.windowing or "document"
    )
    return capture.capture(
        loaded, request.sites, found, row_start=start, row_stop=stop, token_budget=budget
    )


def _texts(lake: Lake, corpus: str, start: int, stop: int) -> Iterator[str]:
    query = """
        SELECT text FROM documents
        WHERE corpus = $corpus AND document >= $start AND document < $stop ORDER BY document
    """
    rows = lake.sql(query, corpus=corpus, start=start, stop=stop)
    return iter(rows.arrow()["text"].to_pylist())


def _batch_plan(
    lake: Lake, request: Request, token_budget: int | None, torch_threads: int | None
) -> tuple[int, int]:
    """Token budget and threads: as asked for, else as planned before, else this machine's."""
    from actlake.flows.extraction import models

    planned: dict[str, Any] = {}
    for plan in request.plans:
        try:
            planned |= lake.tensor(plan.name).attributes()
        except NotFoundError:
            continue
    kind = models.choose_device(request.device)
    budget = token_budget or planned.get("token_budget") or TOKEN_BUDGET[kind]
    threads = torch_threads or planned.get("torch_threads") or os.cpu_count() or 1
    return int(budget), int(threads)


def _with_batch_plan(plan: TensorPlan, budget: int, threads: int) -> TensorPlan:
    return replace(plan, batch_plan=(("token_budget", budget), ("torch_threads", threads)))


def _record_model(run: Run, facts: "ModelFacts") -> None:
    if run.exists("models", "model", facts.name, facts.fingerprint):
        return
    row = {
        "model": facts.name,
        "fingerprint": facts.fingerprint,
        "source": facts.source,
        "path": str(facts.path),
        "architecture": facts.architecture,
        "layers": facts.layers,
        "width": facts.width,
        "vocabulary": facts.vocabulary,
        "run": run.run,
    }
    table = pa.Table.from_pylist([row], arrow_schema("models"))
    run.append({"models": table}, f"model {facts.name}")


def _refuse_other_tokenizer(lake: Lake, rowset: Rowset, facts: "ModelFacts", window: int) -> None:
    if rowset.kind != "token":
        raise InputError(f"rowset {rowset.name} has no tokens; name one that ingest made")
    cut = RowsetPlan(
        name=rowset.name,
        corpus=rowset.corpus,
        corpus_fingerprint=lake.corpus_fingerprint(rowset.corpus),
        kind=rowset.kind,
        tokenizer=rowset.tokenizer,
        tokenizer_fingerprint=facts.tokenizer_fingerprint,
        windowing=rowset.windowing,
        window=rowset.window,
        overlap=rowset.overlap,
    )
    if cut.fingerprint() != rowset.fingerprint:
        raise InputError(
            f"rowset {rowset.name} was cut with another tokenizer than that of {facts.name}; "
            f"make one with `actlake ingest … --model {facts.source}`"
        )
    if facts.window_limit is not None and (rowset.window or window) > facts.window_limit:
        raise InputError(
            f"rowset {rowset.name} has windows of {rowset.window} tokens and {facts.name} takes "
            f"{facts.window_limit}; ingest it again with a smaller --window"
        )
