"""The models that this process is at work with: each loaded once, for all shards of a run."""

import sys
from typing import TYPE_CHECKING

from actlake.flows.extract_request import Request
from actlake.flows.held import held, let_go, let_go_of_all
from actlake.storage.errors import ModelError

if TYPE_CHECKING:  # torch takes seconds to import, so only a run that computes pays for it
    from actlake.flows.extraction.models import LoadedModel, ModelFacts

__all__ = ["forget_all", "forget_model", "load_model_of"]


def load_model_of(request: Request, threads: int, *, check: bool = False) -> "LoadedModel":
    """The model of a request, ready to run with so many threads of torch.

    ``check`` is for a worker, which did not make the request and may be sent another one next: as
    it loads a model it forgets all else, and ModelError if the files are not those that the request
    was made of.
    """
    from actlake.flows.extraction import models
    from actlake.flows.extraction.devices import set_threads

    def load() -> "LoadedModel":
        facts = request.facts
        if check:
            forget_all()
            facts = _same(facts)
        loaded = models.load_model(
            facts,
            device=request.device,
            compute_dtype=request.compute_dtype,
            attention=request.attention,
            last_layer=request.last_layer,
        )
        if request.compiled:
            from actlake.flows.extraction.compiled import compile_around

            compile_around(loaded.module, [plan.module for plan in request.plans])
        return loaded

    set_threads(threads)
    return held(_key(request), load)


def forget_model(request: Request) -> None:
    """Give the memory of the model of a request back."""
    if let_go(_key(request)):
        _release()


def forget_all() -> None:
    """The same of whatever this process holds."""
    let_go_of_all()
    if "torch" in sys.modules:  # steps without a model need none
        _release()


def _release() -> None:
    from actlake.flows.extraction.devices import release

    release()


def _key(request: Request) -> tuple[object, ...]:
    model = request.facts, request.device, request.compute_dtype
    around = tuple(plan.module for plan in request.plans) if request.compiled else None
    return *model, request.attention, request.last_layer, around


def _same(facts: "ModelFacts") -> "ModelFacts":
    """The same model as this machine has it, whose cache may be elsewhere."""
    from actlake.flows.extraction import models

    found = models.inspect_model(
        facts.source,
        name=facts.name,
        revision=facts.revision,
        trust_remote_code=facts.trust_remote_code,
        random_weights=facts.random_weights,
    )
    if found.fingerprint != facts.fingerprint:
        raise ModelError(
            f"{facts.source} is another model for this worker than where the run was started; "
            "give all of them the same files"
        )
    return found
