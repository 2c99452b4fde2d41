"""Memory of a forward pass: what running out of it looks like, and how many tokens have room."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from actlake.flows.extraction.forward import forward, text_inputs
from actlake.flows.extraction.models import LoadedModel
from actlake.storage.errors import RoomError

__all__ = ["probe", "room_for", "told_of_memory"]

# torch has a class for accelerators; its allocator on the CPU says so in words alone.
_WORDS = ("out of memory", "not enough memory", "can't allocate memory")
_SHARE = 0.5
"""Of the memory that is free when a tensor is planned: batches of later shards differ, and
allocators leave gaps."""
LARGEST_BUDGET = 1 << 16
"""Padded tokens: by then a pass is long against what launching it costs."""


@contextmanager
def told_of_memory(what: str) -> Iterator[None]:
    """RoomError, naming ``what``, where torch runs out of memory inside."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        if isinstance(error, torch.OutOfMemoryError) or any(word in text for word in _WORDS):
            raise RoomError(f"{what} does not fit the memory") from error
        raise


def probe(loaded: LoadedModel, length: int) -> int | None:
    """Padded tokens a pass that have room on the device of ``loaded``; None where none are counted.

    From the peaks of two passes of one and of four windows of ``length`` tokens. Only CUDA counts
    its memory.
    """
    if torch.device(loaded.device).type != "cuda":
        return None

    def peak(windows: int) -> int:
        torch.cuda.synchronize(loaded.device)
        torch.cuda.reset_peak_memory_stats(loaded.device)
        before = torch.cuda.memory_allocated(loaded.device)
        inputs = _inputs(loaded, windows, length)
        with torch.inference_mode():
            forward(loaded.module, inputs, {}, lambda _site, _value: None)
        torch.cuda.synchronize(loaded.device)
        return int(torch.cuda.max_memory_allocated(loaded.device) - before)

    with told_of_memory(f"a pass of one window of {length} tokens"):
        peak(1)  # libraries take workspaces at their first call
    try:
        with told_of_memory(f"a pass of four windows of {length} tokens"):
            return room_for(peak, length, torch.cuda.mem_get_info(loaded.device)[0])
    except RoomError:
        return length


def _inputs(loaded: LoadedModel, windows: int, length: int) -> dict[str, torch.Tensor]:
    if (patches := loaded.facts.patches) is not None:
        size = windows, 3, patches.height, patches.width
        module = loaded.module
        return {"pixel_values": torch.zeros(size, dtype=module.dtype, device=loaded.device)}
    ids = torch.zeros(windows, length, dtype=torch.long, device=loaded.device)
    return text_inputs(loaded.module, ids, torch.ones_like(ids))


def room_for(peak: Callable[[int], int], length: int, free: int) -> int:
    """The largest power of two of padded tokens whose pass takes half of ``free`` bytes at most.

    ``peak`` says how many bytes a pass of so many windows of ``length`` tokens takes. A power of
    two, so that small differences in what is free do not change the budget; at least one window,
    at most ``LARGEST_BUDGET``.
    """
    one, four = peak(1), peak(4)
    a_token = max(1, four - one) / (3 * length)
    fixed = max(0.0, one - a_token * length)
    tokens = int((_SHARE * free - fixed) / a_token)
    budget = 1 << (max(1, tokens).bit_length() - 1)
    return max(min(budget, LARGEST_BUDGET), length)
