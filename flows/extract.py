"""extract: run a model over the rows of a rowset and keep what it computes at chosen sites."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from actlake.flows.batch_plan import (
    choose_budget,
    choose_threads,
    with_batch_plan,
    within_memory,
)
from actlake.flows.default_names import documents_name, rowset_name, tensor_name
from actlake.flows.progress import progress, say
from actlake.flows.rowset_checks import refuse_other_tokenizer, rowset_of
from actlake.flows.runners import Inline, Runner
from actlake.flows.undo import undo_extraction
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.keys import check_name
from actlake.storage.lake import Lake
from actlake.storage.precision import stored_dtype
from actlake.storage.rowsets import Rowset
from actlake.storage.run import Run
from actlake.storage.shards import Receipt
from actlake.storage.tensor_writer import (
    TensorPlan,
    commit_shards,
    plan_tensors,
    publish_shard,
    seal,
    tensor_fingerprint,
)

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["extract"]


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
    revision: str | None = None,
    window: int | None = None,
    rowset: str | None = None,
    dtype: str = "float16",
    compute_dtype: str = "float32",
    attention: str = "auto",
    device: str = "auto",
    token_budget: int | None = None,
    torch_threads: int | None = None,
    random_weights: int | None = None,
    trust_remote_code: bool = False,
    runner: Runner | None = None,
) -> list[str]:
    """Names of the tensors, one for each of ``sites`` in that order, complete when this returns.

    All token sites are captured in one forward pass over the rowset, which is stopped after the
    last layer needed; pooled sites take a pass of their own over the documents. What is committed
    already is not computed again.

    source
        Hub id, directory, ``.gguf`` file, or ``package:NAME/path``.
    model, rowset
        Default to the last part of the source, and to the rowset that ``ingest`` makes for it.
    token_budget, torch_threads
        Fixed when the tensors are planned, and recorded; a run that is taken up again keeps them,
        unless it is told others, and each shard records what it was computed with. A pass that
        does not fit the memory halves the budget for what is not committed yet.
    random_weights
        Seed of weights drawn anew instead of the checkpoint's: an untrained twin to compare with.
    """
    from actlake.flows.extraction import models
    from actlake.flows.extraction import sites as site_table

    facts = models.inspect_model(
        source,
        name=model,
        revision=revision,
        trust_remote_code=trust_remote_code,
        random_weights=random_weights,
    )
    skeleton = models.skeleton(facts)
    # gpt2 and others look for padding among the tokens, which the meta device does not have.
    skeleton.config.pad_token_id = None
    if attention == "auto":  # what the model would choose is part of what it computes
        attention = str(skeleton.config._attn_implementation)
    resolved = site_table.resolve_sites(skeleton, list(dict.fromkeys(sites)))
    if not resolved:
        raise InputError(f"no site of {facts.name} was named; try --site resid_post.0")
    stored_dtype(dtype)
    cut = facts.default_window if window is None else window
    shown_window = None if cut == facts.default_window else cut
    tokens_rowset = rowset or rowset_name(corpus, facts.tokenizer, shown_window)
    names: dict[str, str] = {}
    # Pooled and token sites have different row axes, so they are different runs.
    for pooled in (False, True):
        group = [site for site in resolved if site_table.is_pooled(site.alias) == pooled]
        if not group:
            continue
        rows = rowset_of(lake, documents_name(corpus) if pooled else tokens_rowset, corpus, source)
        if not pooled:
            refuse_other_tokenizer(lake, rows, facts)
        provenance: tuple[tuple[str, int | str], ...] = (("attention", attention),)
        if pooled:
            provenance += (("window", cut), ("tokenizer_fingerprint", facts.tokenizer_fingerprint))
        plans = tuple(
            TensorPlan(
                name=check_name(
                    "tensor", tensor_name(facts.name, site.alias, corpus, shown_window)
                ),
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
        names |= {plan.site: plan.name for plan in plans}
    return [names[site] for site in sites]


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
        threads = choose_threads(lake, request.plans, torch_threads)
        # Before anything is planned: a device or dtype that is not there must leave no trace.
        loaded = _load(request, threads) if _lacking(lake, request.plans) else None
        longest = request.rowset.window or request.window
        budget = choose_budget(lake, request.plans, token_budget, loaded, longest)
        facts = request.facts
        plans = tuple(with_batch_plan(plan, facts, budget, threads) for plan in request.plans)
        _record_model(run, request.facts)
        ids = plan_tensors(run, plans)
        try:
            if loaded is not None:
                compute = partial(_compute, lake, run, request, loaded, plans, ids, threads, runner)
                within_memory(compute, budget, longest)
        except InputError as error:
            undo_extraction(lake, run, request.facts.name, ids, error)
            raise
        seal(run, plans, ids)


def _compute(
    lake: Lake,
    run: Run,
    request: Request,
    loaded: "LoadedModel",
    plans: Sequence[TensorPlan],
    ids: Mapping[str, str],
    threads: int,
    runner: Runner,
    budget: int,
) -> None:
    """Compute and commit every shard that some tensor lacks."""
    from actlake.flows.shard_capture import capture_shard

    grid = request.rowset.grid
    committed = {name: lake.committed_shards(tensor_id) for name, tensor_id in ids.items()}
    missing = {
        shard: [plan for plan in plans if shard not in committed[plan.name]]
        for shard in range(len(grid))
    }
    todo = [shard for shard, lacking in missing.items() if lacking]

    def step(shard: int) -> list[Receipt]:
        captured = capture_shard(
            lake,
            loaded,
            request.rowset,
            request.sites,
            shard,
            window=request.window,
            token_budget=budget,
        )
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


def _load(request: Request, threads: int) -> "LoadedModel":
    from actlake.flows.extraction import models

    models.set_threads(threads)
    return models.load_model(
        request.facts,
        device=request.device,
        compute_dtype=request.compute_dtype,
        attention=request.attention,
        last_layer=request.last_layer,
    )


def _lacking(lake: Lake, plans: Sequence[TensorPlan]) -> bool:
    """Whether some shard of some tensor is not committed."""
    for plan in plans:
        try:
            if lake.tensor(plan.name).missing():
                return True
        except NotFoundError:
            return True
    return False


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
