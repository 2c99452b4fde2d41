"""extract: run a model over the rows of a rowset and keep what it computes at chosen sites."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from actlake.flows.batch_plan import (
    choose_budget,
    choose_threads,
    with_batch_plan,
    within_memory,
)
from actlake.flows.extract_request import Request, requests
from actlake.flows.loaded_model import forget_model, load_model_of
from actlake.flows.progress import say
from actlake.flows.runners import Runner, Threads, carry_out, refuse_device_of_one
from actlake.flows.undo import undo_extraction
from actlake.storage.errors import InputError, NotFoundError
from actlake.storage.fields import arrow_schema
from actlake.storage.lake import Lake
from actlake.storage.names import is_made
from actlake.storage.run import Run
from actlake.storage.shards import Receipt, shards_told
from actlake.storage.tensor_writer import (
    TensorPlan,
    commit_shards,
    plan_tensors,
    seal,
    tensor_fingerprint,
)

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["extract"]


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
    rows: str | None = None,
    dtype: str = "float16",
    compute_dtype: str = "float32",
    attention: str = "auto",
    device: str = "auto",
    token_budget: int | None = None,
    torch_threads: int | None = None,
    random_weights: int | None = None,
    trust_remote_code: bool = False,
    images: str | None = None,
    compiled: bool = False,
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
    sites
        ``mlp_act.3[0:64,100]`` keeps these columns of ``mlp_act.3`` alone.
    rows
        The mask that ``ingest_tokens`` chose rows by, to compute those alone.
    token_budget, torch_threads
        Fixed when the tensors are planned, and recorded; a run that is taken up again keeps them,
        unless it is told others, and each shard records what it was computed with. A pass that
        does not fit the memory halves the budget for what is not committed yet.
    random_weights
        Seed of weights drawn anew instead of the checkpoint's: an untrained twin to compare with.
    images
        Of a corpus of images, the folder that they are below now, if not that of ``ingest``.
    compiled
        Have torch compile the model, all but modules inside which there is a site: which gives
        other low bits, so that such rows are another tensor's.
    """
    refuse_device_of_one(runner, device)
    names: dict[str, str] = {}
    for request in requests(
        lake,
        source=source,
        sites=sites,
        corpus=corpus,
        model=model,
        revision=revision,
        window=window,
        rowset=rowset,
        rows=rows,
        dtype=dtype,
        compute_dtype=compute_dtype,
        attention=attention,
        device=device,
        random_weights=random_weights,
        trust_remote_code=trust_remote_code,
        images=images,
        compiled=compiled,
    ):
        try:
            _run(lake, request, token_budget, torch_threads, runner or Threads())
        finally:
            forget_model(request)
        names |= {plan.site: plan.name for plan in request.plans}
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
    for name, meant in inputs.items():
        is_made(lake.reading.connection(), "tensors", name, meant)
    is_made(lake.reading.connection(), "models", request.facts.name, request.facts.fingerprint)
    threads = choose_threads(lake, request.plans, torch_threads, runner)

    def load() -> "LoadedModel | None":
        return load_model_of(request, threads) if _lacking(lake, request.plans) else None

    # Before a run is recorded: a device or weights that are not there must leave no trace. And
    # not before it is this one's turn: two models may be more than the memory holds.
    with lake.run("extract", {"sites": list(request.sites)}, inputs, prepare=load) as run:
        if run.done:
            say(f"extract: {', '.join(names)} found complete")
            return
        budget = choose_budget(
            lake, request.plans, token_budget, request.device, lambda: _probe(load(), request)
        )
        facts = request.facts
        plans = tuple(with_batch_plan(plan, facts, budget, threads) for plan in request.plans)
        _record_model(run, request.facts)
        ids = plan_tensors(run, plans)
        try:
            if _lacking(lake, plans):
                compute = partial(_compute, lake, run, request, plans, ids, threads, runner)
                within_memory(compute, budget, request.longest)
        except InputError as error:
            undo_extraction(lake, run, request.facts.name, ids, error)
            raise
        seal(run, plans, ids)


def _compute(
    lake: Lake,
    run: Run,
    request: Request,
    plans: Sequence[TensorPlan],
    ids: Mapping[str, str],
    threads: int,
    runner: Runner,
    budget: int,
) -> None:
    """Compute and commit every shard that some tensor lacks."""
    from actlake.flows.shard_capture import extract_shard

    if runner.elsewhere:  # what loaded it here was a check
        forget_model(request)
    grid = request.rowset.grid
    committed = {name: lake.committed_shards(tensor_id) for name, tensor_id in ids.items()}
    done = set.intersection(*committed.values())
    todo = [shard for shard in range(len(grid)) if shard not in done]
    step = partial(
        extract_shard,
        lake=lake,
        run=run,
        request=request,
        plans=plans,
        ids=ids,
        committed=committed,
        threads=threads,
        token_budget=budget,
    )

    def commit(shards: Sequence[int], receipts: Sequence[list[Receipt]]) -> None:
        what = f"{shards_told(shards)} of {', '.join(ids)}"
        commit_shards(run, [*chain.from_iterable(receipts)], what)

    label = f"extract {request.facts.name} {' '.join(request.sites)}"
    carry_out(runner, "extract shard", step, todo, commit, label=label, rows=grid.rows_of)


def _probe(loaded: "LoadedModel | None", request: Request) -> int | None:
    """Tokens a pass that have room; None where nobody can tell, or nothing is left to compute."""
    if loaded is None:
        return None
    from actlake.flows.extraction.memory import probe

    return probe(loaded, request.longest)


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
