"""Models whose parts are compiled, all but those in which something is looked at."""

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from actlake.flows.extraction.forward import forward, probe
from actlake.storage.errors import LakeError, ModelError, first_line

__all__ = ["compile_around"]


def compile_around(model: PreTrainedModel, looked_at: Sequence[str]) -> None:
    """Have torch compile the largest modules of ``model`` inside which none of ``looked_at`` is.

    A module that is looked at itself is compiled, as its inputs and outputs stay; what is compiled
    sees no hook of a module inside. For tokens or images of any number, at the first pass, which is
    made here: that takes from seconds to minutes. ModelError where it cannot be done, as without a
    compiler.
    """
    _visit(model, "", looked_at)
    try:
        with torch.inference_mode():
            forward(model, probe(model), {}, lambda _site, _value: None)
    except (LakeError, MemoryError):
        raise
    except Exception as error:  # of dynamo, inductor, or a C++ compiler that is not there
        raise ModelError(
            f"torch cannot compile {type(model).__name__}: {first_line(error)[:200]}; leave "
            "--compile out"
        ) from error


def _visit(module: nn.Module, path: str, looked_at: Sequence[str]) -> None:
    inside = not path or any(one.startswith(f"{path}.") for one in looked_at)
    if inside or isinstance(module, nn.ModuleList):
        for name, child in module.named_children():
            _visit(child, f"{path}.{name}".lstrip("."), looked_at)
    elif not isinstance(module, nn.Embedding) and next(module.parameters(), None) is not None:
        module.forward = torch.compile(module.forward, dynamic=True)
