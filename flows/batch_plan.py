"""How a tensor is computed: the tokens of a pass and the threads, fixed when it is planned."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actlake.flows.progress import say
from actlake.flows.runners import Runner
from actlake.storage.errors import NotFoundError, RoomError
from actlake.storage.lake import Lake
from actlake.storage.tensor_writer import TensorPlan

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import ModelFacts

__all__ = ["TOKEN_BUDGET", "choose_budget", "choose_threads", "with_batch_plan", "within_memory"]

TOKEN_BUDGET = {"cpu": 2048, "mps": 8192, "cuda": 16384}
"""Padded tokens a forward pass where nothing is probed. On two cores 2,048 sorted by length were
2.2 times as fast as batches in corpus order."""


def choose_threads(
    lake: Lake, plans: Iterable[TensorPlan], asked: int | None, runner: Runner
) -> int:
    """Threads of torch: as asked for, else as planned before, else what ``runner`` has for a
    step."""
    return int(asked or _planned(lake, plans).get("torch_threads") or runner.threads)


def choose_budget(
    lake: Lake,
    plans: Iterable[TensorPlan],
    asked: int | None,
    device: str,
    probe: Callable[[], int | None] | None,
) -> int:
    """Padded tokens a pass: as asked for, else as planned before, else what ``probe`` finds.

    The constant of ``device``, which may be "auto", where there is no probe, or it finds nothing.
    """
    if known := asked or _planned(lake, plans).get("token_budget"):
        return int(known)
    if probe is not None and (found := probe()) is not None:
        return found
    from actlake.flows.extraction.devices import choose_device

    kind = choose_device(device).partition(":")[0]
    return TOKEN_BUDGET.get(kind, TOKEN_BUDGET["cpu"])


def with_batch_plan(plan: TensorPlan, facts: "ModelFacts", budget: int, threads: int) -> TensorPlan:
    """With all that the same bits need beside the fingerprint: ``repair`` computes them again."""
    batch_plan: dict[str, int | str] = {"token_budget": budget, "torch_threads": threads}
    if facts.revision is not None:
        batch_plan["revision"] = facts.revision
    if facts.random_weights is not None:
        batch_plan["random_weights"] = facts.random_weights
    return replace(plan, batch_plan=(*plan.batch_plan, *batch_plan.items()))


def within_memory(compute: Callable[[int], None], budget: int, longest: int) -> None:
    """Run ``compute`` with ``budget``, and with half of it for as long as it has no room.

    ``compute`` does what is not committed yet, so nothing is computed twice but the shard that
    failed, and what could not be committed before it. RoomError once a pass holds a single window
    of ``longest`` tokens.
    """
    while True:
        try:
            return compute(budget)
        except RoomError as error:
            if budget <= longest:
                raise RoomError(
                    f"{error}, and a window cannot be cut; use another device or a smaller compute "
                    "dtype, or make a rowset with a shorter window, then run again"
                ) from error
            budget = max(longest, budget // 2)
            say(f"extract: {error}; going on with passes of {budget:,} tokens")


def _planned(lake: Lake, plans: Iterable[TensorPlan]) -> dict[str, Any]:
    """What the tensors that are planned already say of themselves."""
    planned: dict[str, Any] = {}
    for plan in plans:
        try:
            planned |= lake.tensor(plan.name).attributes()
        except NotFoundError:
            continue
    return planned
