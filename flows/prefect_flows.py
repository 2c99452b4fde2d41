"""Every verb as a Prefect flow: the same plain functions, with shards as Prefect tasks.

Deployments name them as ``actlake.flows.prefect_flows:extract`` and so on; their parameters are
those of the functions, with the lake as a path.
"""

import inspect
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import polars as pl
from prefect import Flow
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.tasks import Task

from actlake.flows.artifacts import flow_run_id, show_link, show_table
from actlake.flows.compare import compare as compare_body
from actlake.flows.diff_corpora import diff_corpora as diff_corpora_body
from actlake.flows.encode import encode as encode_body
from actlake.flows.export import export as export_body
from actlake.flows.extract import extract as extract_body
from actlake.flows.hypothesize import hypothesize as hypothesize_body
from actlake.flows.ingest import ingest as ingest_body
from actlake.flows.ingest import ingest_documents as ingest_documents_body
from actlake.flows.ingest import ingest_tokens as ingest_tokens_body
from actlake.flows.maintain import maintain as maintain_body
from actlake.flows.pipeline import pipeline as pipeline_body
from actlake.flows.progress import say
from actlake.flows.repair import repair as repair_body
from actlake.flows.runners import Later, Runner, Step, finished, in_order, settled
from actlake.flows.summarize import summarize as summarize_body
from actlake.flows.summarize_labels import summarize_labels as summarize_labels_body
from actlake.flows.summarize_pairs import summarize_pairs as summarize_pairs_body
from actlake.flows.summarize_weights import summarize_weights as summarize_weights_body
from actlake.flows.train import train as train_body
from actlake.flows.workers import OTHERS, SHARED, runner_of
from actlake.storage.errors import DiskError, LakeError, UnreachableError
from actlake.storage.lake import Lake

__all__ = [
    "FLOWS",
    "PrefectTasks",
    "compare",
    "diff_corpora",
    "encode",
    "export",
    "extract",
    "hypothesize",
    "ingest",
    "ingest_documents",
    "ingest_tokens",
    "maintain",
    "pipeline",
    "repair",
    "summarize",
    "summarize_labels",
    "summarize_pairs",
    "summarize_weights",
    "train",
]

T = TypeVar("T")
R = TypeVar("R")
RETRIES = 2
RETRY_SECONDS = 5


class PrefectTasks(Runner):
    """Carries steps out as task runs of the flow that is running, tried again when they fail.

    They compute in the flow's thread, one after the other, while another thread writes what the one
    before has made, as ``runners.Threads`` says why. Where that fails, a task run says so, whose
    next try does the step again.
    """

    def map(self, name: str, step: Step[T, R], items: Sequence[T]) -> Generator[R]:
        """What ``step`` comes to for each item, in order, as soon as it is there."""
        # Not returned by the tasks: until the flow ends Prefect keeps all that they return.
        made: list[R | Later[R]] = []

        def compute(item: T) -> None:
            made.append(step(item))

        def mend(item: T, failed: list[Future[R]]) -> None:
            made.append(failed.pop().result() if failed else finished(step(item)))

        computing, mending = (
            _insistent(run, name, task_run_name=f"{name} {{item}}") for run in (compute, mend)
        )

        def written(item: T, future: Future[R]) -> R:
            if future.exception() is None:
                return future.result()
            mending(item, [future])
            return finished(made.pop())

        with ThreadPoolExecutor(1, "write") as pool:

            def submit(item: T) -> _Written[R]:
                computing(item)
                future: Future[R] = pool.submit(finished, made.pop())
                return _Written(future, partial(written, item, future))

            def settle(waiting: Iterable[_Written[R]]) -> None:
                settled(one.future for one in waiting)

            yield from in_order(submit, items, ahead=1, settle=settle)


class _Written(NamedTuple, Generic[R]):
    """What another thread writes."""

    future: Future[R]
    result: Callable[[], R]
    """What the step comes to, waited for, or done again."""


def _insistent(step: Callable[..., R], name: str, **options: Any) -> Task[..., R]:
    """``step`` as a task that is tried again where another try can succeed."""
    return Task(
        step,
        name=name,
        retries=RETRIES,
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=_may_pass,
        cache_policy=NO_CACHE,
        persist_result=False,
        **options,
    )


def _may_pass(step: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether another try can succeed: not where the input is wrong."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, LakeError) and not isinstance(error, DiskError | UnreachableError):
        return False
    say(f"{step.name} failed ({type(error).__name__}: {error}); trying again if tries are left")
    return True


def _as_flow(body: Callable[..., Any]) -> Flow[..., Any]:
    """``body`` as a Prefect flow that takes the lake as a path and runs its steps as tasks.

    Or by others, where ``workers`` or ``scheduler`` says so.
    """
    signature = inspect.signature(body)
    has_steps, shared = "runner" in signature.parameters, body.__name__ in SHARED
    extra = {"call": _call} if "call" in signature.parameters else {}

    def run(lake: str, **parameters: Any) -> Any:
        others = runner_of(*(parameters.pop(name) for name in OTHERS)) if shared else None
        ours = {"runner": others or PrefectTasks()} if has_steps else {}
        opened = Lake.open(lake)
        opened.prefect_run = flow_run_id()

        def whole() -> Any:
            return body(opened, **parameters, **ours, **extra)

        try:
            # What has no steps is one: it goes on where it was, or begins anew.
            result: Any = whole() if ours or extra else _insistent(whole, body.__name__)()
            if body is export_body:
                _show_page(result)
            return result
        finally:
            with suppress(LakeError):  # what went wrong before matters more
                _show_runs(opened)
            opened.close()

    given = inspect.signature(runner_of).parameters if shared else {}
    shown = [
        inspect.Parameter("lake", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=str),
        *(
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)  # else Prefect passes by place
            for name, parameter in signature.parameters.items()
            if name not in ("lake", "runner", "call", "progress")
        ),
        *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY, default=None) for one in given.values()),
    ]
    run.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    # This module, where a deployment finds the flow; the body's own has the plain function.
    run.__name__ = run.__qualname__ = body.__name__
    run.__doc__ = body.__doc__
    return Flow(
        run,
        name=body.__name__,
        persist_result=False,
    )


def _show_runs(lake: Lake) -> None:
    """A table of what this flow run has done, if it found something to do."""
    of_this = pl.col("prefect_run") == lake.prefect_run
    if lake.table("runs").filter(of_this).collect().is_empty():
        return  # the log counts the rows of every table, which takes longer
    ours = lake.table("run_log").filter(of_this)
    columns = ("run", "flow", "state", "seconds", "shards", "shard_bytes", "features", "error")
    kept = ours.rename({"feature_statistics": "features"}).select(columns)
    show_table("runs", kept.collect().to_dicts(), f"Runs in {lake.root}")


def _show_page(files: Sequence[Path]) -> None:
    """A link to the page of an export."""
    for page in (one for one in files if one.suffix == ".html"):
        show_link("page", page.as_uri(), page.name, f"Exported to {page.parent}")


def _call(verb: str, lake: Lake, parameters: Mapping[str, Any]) -> Any:
    """One verb of a pipeline as a subflow."""
    # The pipeline's heartbeats tell of the process; to end those of a subflow takes a second.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        return FLOWS[verb](lake=str(lake.root), **parameters)


ingest = _as_flow(ingest_body)
ingest_documents = _as_flow(ingest_documents_body)
ingest_tokens = _as_flow(ingest_tokens_body)
extract = _as_flow(extract_body)
train = _as_flow(train_body)
encode = _as_flow(encode_body)
summarize = _as_flow(summarize_body)
summarize_pairs = _as_flow(summarize_pairs_body)
summarize_labels = _as_flow(summarize_labels_body)
summarize_weights = _as_flow(summarize_weights_body)
compare = _as_flow(compare_body)
diff_corpora = _as_flow(diff_corpora_body)
hypothesize = _as_flow(hypothesize_body)
export = _as_flow(export_body)
maintain = _as_flow(maintain_body)
pipeline = _as_flow(pipeline_body)
repair = _as_flow(repair_body)

FLOWS: dict[str, Flow[..., Any]] = {
    one.name: one
    for one in (
        ingest,
        ingest_documents,
        ingest_tokens,
        extract,
        train,
        encode,
        summarize,
        summarize_pairs,
        summarize_labels,
        summarize_weights,
        compare,
        diff_corpora,
        hypothesize,
        export,
        maintain,
        pipeline,
        repair,
    )
}
